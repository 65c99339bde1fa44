//! What one block hands down to the blocks in it, and the directives that change it.
//!
//! Two kinds: single values, which a block may replace, and lists, which a block replaces as a whole by having one of
//! its own. Not here: what belongs to a location alone (`location`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::compression::CompressionLevel;
use super::family::Family;
use super::files::FileLevel;
use super::guard::GuardLevel;
use super::heads::HeadLevel;
use super::limits::LimitLevel;
use super::names::NamesLevel;
use super::proxy::ProxyLevel;
use super::referers::RefererLevel;
use super::replace::ReplaceLevel;
use super::spool::BodyLevel;
use super::subrequest::SubLevel;
use super::tls::TlsLevel;
use super::{Builder, arg, is_on};
use crate::config::model::{
    AddedHeader, Charset, ErrorPage, ErrorTarget, Expires, Http2Rules, Kinds, LogUse, RealIp,
    RedirectStyle, Signature, Timeouts,
};
use crate::config::values::network;
use crate::headers::{FieldNames, via};
use crate::template::Template;

/// What HTTP/2 clients may send of a body unasked, by the protocol.
const PREREAD: u32 = 65_535;

/// nginx's default of 1 MiB.
const MAX_BODY: u64 = 1 << 20;

/// nginx's 1 MiB is what every other upload stumbles over; bodies are streamed, so more costs nothing here.
const HOUSE_MAX_BODY: u64 = 100 << 20;

#[derive(Clone)]
pub(super) struct Level {
    /// Somebody said which folder is served, or nginx's default holds.
    pub(super) has_root: bool,
    pub(super) root: Template,
    pub(super) index: Vec<Template>,
    pub(super) max_body: u64,
    pub(super) bodies: BodyLevel,
    pub(super) error_pages: Vec<ErrorPage>,
    pub(super) recursive_errors: bool,
    pub(super) headers: Vec<AddedHeader>,
    pub(super) merge_headers: bool,
    pub(super) trailers: Vec<AddedHeader>,
    merge_trailers: bool,
    pub(super) early_hints: Option<Vec<Template>>,
    pub(super) expires: Option<Expires>,
    pub(super) compression: CompressionLevel,
    pub(super) replace: ReplaceLevel,
    pub(super) files: FileLevel,
    pub(super) guard: GuardLevel,
    pub(super) sub: SubLevel,
    pub(super) referers: RefererLevel,
    pub(super) limits: LimitLevel,
    pub(super) via: Option<Arc<str>>,
    pub(super) signature: Signature,
    pub(super) logs: Vec<LogUse>,
    pub(super) log_not_found: bool,
    pub(super) redirects: RedirectStyle,
    pub(super) types: Option<HashMap<String, String>>,
    pub(super) default_type: String,
    pub(super) charset: Charset,
    charset_given: bool,
    /// A variable names it.
    pub(super) charset_from: Option<Template>,
    charset_types: Option<Vec<String>>,
    pub(super) timeouts: Timeouts,
    pub(super) heads: HeadLevel,
    pub(super) field_names: FieldNames,
    pub(super) chunks: bool,
    pub(super) merge_slashes: bool,
    pub(super) real_ip: RealIp,
    /// By protocol.
    pub(super) passes: [ProxyLevel; 4],
    pub(super) tls: TlsLevel,
    pub(super) names: NamesLevel,
    pub(super) http2: Http2Rules,
}

impl Level {
    /// nginx's defaults.
    pub(super) fn new(prefix: &Path) -> Self {
        let minute = Duration::from_secs(60);
        let html = prefix.join("html").to_string_lossy().into_owned();
        let known = [
            ("html", "text/html"),
            ("gif", "image/gif"),
            ("jpg", "image/jpeg"),
        ];
        let types = known.map(|(ending, kind)| (ending.to_owned(), kind.to_owned()));
        Self {
            has_root: true,
            root: Template::literal(html),
            index: vec![Template::literal("index.html")],
            max_body: MAX_BODY,
            bodies: BodyLevel::new(),
            error_pages: Vec::new(),
            recursive_errors: false,
            headers: Vec::new(),
            merge_headers: false,
            trailers: Vec::new(),
            merge_trailers: false,
            early_hints: Some(Vec::new()),
            expires: None,
            compression: CompressionLevel::new(),
            replace: ReplaceLevel::new(),
            files: FileLevel::new(),
            guard: GuardLevel::default(),
            sub: SubLevel::new(),
            referers: RefererLevel::default(),
            limits: LimitLevel::new(),
            via: None,
            signature: Signature::name(),
            logs: Vec::new(),
            log_not_found: true,
            redirects: RedirectStyle {
                absolute: true,
                port: true,
                server_name: false,
            },
            types: Some(types.into_iter().collect()),
            default_type: "text/plain".to_owned(),
            charset: Charset::None,
            charset_given: false,
            charset_from: None,
            charset_types: None,
            timeouts: Timeouts {
                header: minute,
                body: minute,
                send: minute,
                keepalive: Duration::from_secs(75),
                total: None,
                shutdown: minute,
                lifetime: Timeouts::LIFETIME,
                requests: Timeouts::REQUESTS,
                keepalive_min: Duration::ZERO,
                resets: false,
                lingers: true,
                linger: Timeouts::LINGER,
                linger_silence: Timeouts::LINGER_SILENCE,
                body_rate: 0,
                send_rate: 0,
            },
            heads: HeadLevel::new(),
            field_names: FieldNames {
                drops: true,
                ..FieldNames::default()
            },
            chunks: true,
            merge_slashes: true,
            real_ip: RealIp::nobody(),
            passes: Family::ALL.map(ProxyLevel::new),
            tls: TlsLevel::new(),
            names: NamesLevel::default(),
            http2: Http2Rules::default(),
        }
    }

    /// Our own.
    pub(super) fn house(prefix: &Path, timeouts: Timeouts) -> Self {
        Self {
            has_root: false,
            max_body: HOUSE_MAX_BODY,
            bodies: BodyLevel::house(),
            merge_headers: true,
            merge_trailers: true,
            early_hints: None,
            redirects: RedirectStyle {
                absolute: false,
                port: false,
                server_name: false,
            },
            field_names: FieldNames::default(),
            types: None,
            default_type: "application/octet-stream".to_owned(),
            charset: Charset::Named("utf-8".to_owned()),
            files: FileLevel::house(),
            heads: HeadLevel::house(),
            passes: Family::ALL.map(ProxyLevel::house),
            timeouts,
            ..Self::new(prefix)
        }
    }

    pub(super) fn kinds(&self) -> Arc<Kinds> {
        let kinds = Kinds::new(
            self.types.clone(),
            self.default_type.clone(),
            self.charset.clone(),
            self.charset_types.clone(),
        );
        Arc::new(Kinds {
            for_upstreams: self.charset_given,
            ..kinds
        })
    }

    /// What is handed down about one protocol.
    pub(super) fn pass(&self, family: Family) -> &ProxyLevel {
        &self.passes[family as usize]
    }
}

/// Lists that a block has of its own, in place of those it was handed.
#[derive(Default)]
struct Own {
    error_pages: Option<Vec<ErrorPage>>,
    headers: Option<Vec<AddedHeader>>,
    trailers: Option<Vec<AddedHeader>>,
    logs: Option<Vec<LogUse>>,
    trusted: bool,
}

impl Builder<'_> {
    /// Applies the directives of a block to what it was handed.
    pub(super) fn apply(&mut self, level: &mut Level, block: &[Directive]) {
        let mut own = Own::default();
        for directive in block {
            self.apply_one(level, &mut own, directive);
        }
        self.apply_compression(&mut level.compression, block);
        self.apply_replace(&mut level.replace, block);
        self.apply_files(&mut level.files, block);
        self.apply_guard(&mut level.guard, block);
        self.apply_sub(&mut level.sub, block);
        self.apply_referers(&mut level.referers, block);
        self.apply_limits(&mut level.limits, block);
        self.apply_timeouts(&mut level.timeouts, block);
        self.apply_heads(&mut level.heads, block);
        self.apply_bodies(&mut level.bodies, block);
        for pass in &mut level.passes {
            self.apply_proxy(pass, block);
        }
        self.apply_tls(&mut level.tls, block);
        self.apply_names(&mut level.names, block);
        if let Some(pages) = own.error_pages {
            level.error_pages = pages;
        }
        if let Some(mut headers) = own.headers {
            if level.merge_headers {
                headers.splice(0..0, level.headers.drain(..));
            }
            level.headers = headers;
        }
        if let Some(mut trailers) = own.trailers {
            if level.merge_trailers {
                trailers.splice(0..0, level.trailers.drain(..));
            }
            level.trailers = trailers;
        }
        if let Some(logs) = own.logs {
            level.logs = logs;
        }
    }

    fn apply_one(&mut self, level: &mut Level, own: &mut Own, directive: &Directive) {
        let first = arg(directive, 0);
        match directive.name.text.as_str() {
            "root" => {
                level.has_root = true;
                level.root = self.path_template(directive, first);
            }
            "index" => {
                let names = directive.args.iter().map(|word| word.text.clone());
                let names: Vec<_> = names.collect();
                level.index = names
                    .iter()
                    .map(|name| self.template(directive, name))
                    .collect();
            }
            "client_max_body_size" => match units::size(first) {
                Some(0) => level.max_body = u64::MAX,
                Some(size) => level.max_body = size,
                None => self.invalid(directive),
            },
            "error_page" => {
                if let Some(page) = self.error_page(directive) {
                    own.error_pages.get_or_insert_default().push(page);
                }
            }
            "recursive_error_pages" => level.recursive_errors = is_on(directive),
            "add_header" => {
                let header = self.added_header(directive);
                own.headers.get_or_insert_default().extend(header);
            }
            "add_trailer" => {
                let trailer = self.added_header(directive);
                own.trailers.get_or_insert_default().extend(trailer);
            }
            "add_trailer_inherit" => match first {
                "on" => level.merge_trailers = false,
                "merge" => level.merge_trailers = true,
                "off" => level.trailers.clear(),
                _ => self.invalid(directive),
            },
            "add_header_inherit" => match first {
                "on" => level.merge_headers = false,
                "merge" => level.merge_headers = true,
                "off" => level.headers.clear(),
                _ => self.invalid(directive),
            },
            "early_hints" => {
                let words = directive.args.iter().map(|word| word.text.clone());
                let words: Vec<_> = words.collect();
                let values = words.iter().map(|word| self.template(directive, word));
                level.early_hints = Some(values.collect());
            }
            "expires" => level.expires = self.expires(directive),
            "access_log" => {
                let logs = own.logs.get_or_insert_default();
                let found = self.access_log(directive);
                logs.extend(found);
            }
            "server_tokens" => {
                level.signature = match first {
                    "on" => Signature::version(),
                    "off" => Signature::name(),
                    "build" => Signature::build(),
                    text => {
                        let text = text.to_owned();
                        Signature::new(self.template(directive, &text))
                    }
                }
            }
            "via" if first == "off" => level.via = None,
            "via" if via::is_name(first) => level.via = Some(first.into()),
            "via" => {
                let message = format!("\"{first}\" cannot be a proxy's name in Via");
                self.wrong(directive, message, "write a word such as edge-1, or a host");
            }
            "log_not_found" => level.log_not_found = is_on(directive),
            "absolute_redirect" => level.redirects.absolute = is_on(directive),
            "port_in_redirect" => level.redirects.port = is_on(directive),
            "server_name_in_redirect" => level.redirects.server_name = is_on(directive),
            "default_type" => level.default_type = first.to_owned(),
            "types" => level.types = Some(self.types(directive)),
            "charset_types" => {
                let types = directive.args.iter().map(|word| word.text.clone());
                level.charset_types = Some(types.collect());
            }
            "charset" if first.contains('$') => {
                level.charset_given = true;
                level.charset = Charset::None;
                level.charset_from = Some(self.template(directive, first));
            }
            "charset" => {
                level.charset_given = true;
                level.charset_from = None;
                level.charset = if first == "off" {
                    Charset::None
                } else {
                    Charset::Named(first.to_owned())
                };
            }
            "http2" => level.http2.on = is_on(directive),
            "http2_max_concurrent_streams" => match first.parse() {
                Ok(count @ 1..) => level.http2.streams = count,
                _ => self.invalid(directive),
            },
            "http2_body_preread_size" => match units::size(first).map(u32::try_from) {
                Some(Ok(size)) if size < 1 << 31 => level.http2.window = size.max(PREREAD),
                _ => self.invalid(directive),
            },
            "underscores_in_headers" => level.field_names.underscores = is_on(directive),
            "ignore_invalid_headers" => level.field_names.odd = !is_on(directive),
            "chunked_transfer_encoding" => level.chunks = is_on(directive),
            "merge_slashes" => level.merge_slashes = is_on(directive),
            "set_real_ip_from" => {
                if !std::mem::replace(&mut own.trusted, true) {
                    level.real_ip.trusted = crate::config::Trusted::default();
                }
                match (first, network(first)) {
                    ("unix:", _) => level.real_ip.trusted.unix = true,
                    (_, Some(network)) => level.real_ip.trusted.networks.push(network),
                    (_, None) => {
                        let message = format!("invalid parameter \"{first}\"");
                        self.wrong(directive, message, "write an address or a network");
                    }
                }
            }
            "real_ip_header" => {
                level.real_ip.header = first.to_ascii_lowercase();
            }
            "real_ip_recursive" => level.real_ip.recursive = is_on(directive),
            _ => {}
        }
    }

    /// `error_page 404 500 =200 /page`.
    fn error_page(&mut self, directive: &Directive) -> Option<ErrorPage> {
        let (target, front) = directive.args.split_last()?;
        let mut statuses = Vec::new();
        let mut status = None;
        for word in front {
            if let Some(given) = word.text.strip_prefix('=') {
                status = Some(match given {
                    "" => None,
                    given => match given.parse() {
                        Ok(given) => Some(given),
                        Err(_) => {
                            let message = format!("invalid value \"{}\"", word.text);
                            self.wrong(directive, message, "");
                            None
                        }
                    },
                });
                continue;
            }
            match word.text.parse::<u16>() {
                Ok(code @ 300..=599) if code != 499 => statuses.push(code),
                Ok(_) => {
                    let message = format!("value \"{}\" must be between 300 and 599", word.text);
                    self.wrong(directive, message, "");
                }
                Err(_) => {
                    let message = format!("invalid value \"{}\"", word.text);
                    self.wrong(directive, message, "");
                }
            }
        }
        let text = target.text.as_str();
        let target = if let Some(name) = text.strip_prefix('@') {
            ErrorTarget::Named(name.to_owned())
        } else if text.starts_with('/') || text.starts_with('$') {
            ErrorTarget::Uri(self.template(directive, text))
        } else {
            ErrorTarget::Url(self.template(directive, text))
        };
        Some(ErrorPage {
            statuses,
            status,
            target,
        })
    }

    fn added_header(&mut self, directive: &Directive) -> Option<AddedHeader> {
        let always = match directive.args.get(2).map(|word| word.text.as_str()) {
            None => false,
            Some("always") => true,
            Some(other) => {
                let message = format!("invalid parameter \"{other}\"");
                self.wrong(directive, message, "the only one is `always`");
                false
            }
        };
        let name = arg(directive, 0).to_owned();
        let is_token = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if !is_token {
            self.wrong(directive, format!("\"{name}\" is not a field name"), "");
            return None;
        }
        let value = arg(directive, 1).to_owned();
        Some(AddedHeader {
            name,
            value: self.template(directive, &value),
            always,
        })
    }

    fn expires(&mut self, directive: &Directive) -> Option<Expires> {
        let (text, modified) = match arg(directive, 0) {
            "modified" => (arg(directive, 1), true),
            text => (text, false),
        };
        if text.contains('$') {
            let text = text.to_owned();
            let template = self.template(directive, &text);
            return Some(Expires::Variable(Arc::new(template)));
        }
        match units::expires(text, modified) {
            Ok(expires) => expires,
            Err(message) => {
                self.wrong(directive, message, "");
                None
            }
        }
    }

    fn types(&mut self, directive: &Directive) -> HashMap<String, String> {
        let mut table = HashMap::new();
        for row in directive.block.as_deref().unwrap_or_default() {
            for ending in &row.args {
                table.insert(ending.text.to_ascii_lowercase(), row.name.text.clone());
            }
        }
        table
    }
}
