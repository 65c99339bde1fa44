//! Servers, locations and upstreams to blocks of nginx's tree: what answers where.
//!
//! Not here: words (`lower`), and all that is there once for the whole daemon.

use std::path::PathBuf;
use std::time::Duration;

use trine_config::{ListenAddr, Place};

use super::lower::{block, directive};
use super::raw::{RawLocation, RawServer, RawTls, RawUpstream};
use super::{BACKLOG, Checker, UPSTREAM_KEEPALIVE};
use crate::config::nginx::tree::Directive;
use crate::config::values::{host_pattern, peer};

impl Checker<'_> {
    pub(super) fn server(&mut self, raw: &RawServer, at: &Place) -> Directive {
        let mut inner = Vec::new();
        self.listens(raw, at, &mut inner);
        for (index, text) in raw.names.0.iter().enumerate() {
            let free = self.as_nginx || text.starts_with(['~', '.']) || text.ends_with(".*");
            if !free && host_pattern(text).is_none() {
                self.problems.push(
                    at.key("names").index(index),
                    format!("\"{text}\" is not a host name"),
                    "write one such as example.org or *.example.org, without a port",
                );
            }
        }
        if !raw.names.0.is_empty() {
            let names: Vec<&str> = raw.names.0.iter().map(String::as_str).collect();
            inner.push(directive("server_name", &names, &at.key("names")));
        }
        if let Some(size) = raw.max_body {
            let text = size.0.to_string();
            inner.push(directive(
                "client_max_body_size",
                &[&text],
                &at.key("max_body"),
            ));
        }
        if let Some(size) = raw.spool {
            let text = size.0.to_string();
            inner.push(directive("trine_spool", &[&text], &at.key("spool")));
        }
        self.tls(raw.tls.as_ref(), &at.key("tls"), &mut inner);
        let words = self.words(at);
        if raw.locations.is_empty() && words.is_empty() && !self.as_nginx {
            self.problems.missing(
                at.key("locations"),
                "add one, such as { path: /, proxy: app }",
            );
        }
        inner.extend(words);
        self.locations(&raw.locations, &at.key("locations"), &mut inner);
        block("server", &[], inner, at)
    }

    fn listens(&mut self, raw: &RawServer, at: &Place, out: &mut Vec<Directive>) {
        let at = at.key("listen");
        if raw.listen.0.is_empty() && !self.as_nginx {
            self.problems
                .missing(at.clone(), "say where, such as 127.0.0.1:8000");
        }
        let backlog = format!("backlog={BACKLOG}");
        for (index, listen) in raw.listen.0.iter().enumerate() {
            let full = self.full_address(&listen.0);
            let mut words: Vec<&str> = listen.0.split_whitespace().collect();
            if let Some(full) = &full {
                words[0] = full;
                words.push(&backlog);
            }
            if raw.tls.is_some() && !words.contains(&"ssl") {
                words.push("ssl");
            }
            out.push(directive("listen", &words, &at.index(index)));
        }
    }

    /// The address that a `listen` begins with, with the folder that it is relative to, where files of YAML have such.
    pub(super) fn full_address(&self, listen: &str) -> Option<String> {
        let first = listen.split_whitespace().next()?;
        let addr = first.parse::<ListenAddr>().ok()?;
        (!self.as_nginx).then(|| addr.resolved_in(&self.folder).to_string())
    }

    fn tls(&mut self, raw: Option<&RawTls>, at: &Place, out: &mut Vec<Directive>) {
        let Some(raw) = raw else { return };
        let Some(certificate) = raw.certificate.as_deref() else {
            self.problems
                .missing(at.key("certificate"), "name the file of the chain, PEM");
            return;
        };
        // A file may hold both.
        let key = raw.key.as_deref().unwrap_or(certificate);
        let mut put = |name, path: &str| {
            let path = self.path(path).to_string_lossy().into_owned();
            out.push(directive(name, &[&path], at));
        };
        put("ssl_certificate", certificate);
        put("ssl_certificate_key", key);
        if let Some(authorities) = &raw.client_ca {
            put("ssl_client_certificate", authorities);
            out.push(directive("ssl_verify_client", &["on"], at));
        }
        out.push(directive("http2", &["on"], at));
    }

    fn locations(&mut self, list: &[RawLocation], at: &Place, out: &mut Vec<Directive>) {
        let mut paths = Vec::new();
        for (index, raw) in list.iter().enumerate() {
            let at = at.index(index);
            let Some(location) = self.location(raw, &at) else {
                continue;
            };
            let args: Vec<_> = location.args.iter().map(|word| word.text.clone()).collect();
            if raw.path.is_some() && paths.contains(&args) {
                self.problems.push(
                    at.key("path"),
                    "is the path of two locations",
                    "remove one of them",
                );
                continue;
            }
            paths.push(args);
            out.push(location);
        }
    }

    /// The modifier and the text that say which paths are meant.
    fn matcher<'r>(&mut self, raw: &'r RawLocation, at: &Place) -> Option<(&'static str, &'r str)> {
        let given = [
            ("path", "below", &raw.path),
            ("exact", "=", &raw.exact),
            ("prefix", "", &raw.prefix),
            ("prefix_first", "^~", &raw.prefix_first),
            ("regex", "~", &raw.regex),
            ("regex_caseless", "~*", &raw.regex_caseless),
            ("name", "", &raw.name),
        ];
        let mut found = given
            .into_iter()
            .filter_map(|(key, modifier, text)| Some((key, modifier, text.as_deref()?)));
        let Some((key, modifier, text)) = found.next() else {
            self.problems
                .missing(at.key("path"), "say which paths it is for, such as /");
            return None;
        };
        if let Some((other, ..)) = found.next() {
            let message = format!("has both `{key}` and `{other}`");
            self.problems
                .push(at.clone(), message, "make two locations of it");
        }
        match key {
            "path" if !(text.starts_with('/') && is_normal(text)) => {
                let help = "write it decoded, beginning with /, without //, . and .. in it";
                self.problems
                    .push(at.key("path"), format!("\"{text}\" can never match"), help);
                None
            }
            "name" if !text.starts_with('@') => {
                let message = format!("\"{text}\" is not the name of a location");
                self.problems
                    .push(at.key("name"), message, "write one such as @app");
                None
            }
            _ => Some((modifier, text)),
        }
    }

    fn location(&mut self, raw: &RawLocation, at: &Place) -> Option<Directive> {
        let matcher = self.matcher(raw, at);
        let words = self.words(at);
        let mut inner = Vec::new();
        let with_slash = raw.path.as_ref().filter(|_| raw.files.is_some());
        let with_slash = with_slash.map(|text| format!("{}/", text.trim_end_matches('/')));
        let matcher = matcher.map(|(modifier, text)| match &with_slash {
            Some(slashed) => (modifier, slashed.as_str()),
            None => (modifier, text),
        });
        if let (Some(_), Some(_)) = (&raw.files, &raw.proxy) {
            self.problems.push(
                at.clone(),
                "has both `files` and `proxy`",
                "make two locations of it",
            );
        } else if let Some(files) = &raw.files {
            let root = self.root(files, &at.key("files"));
            let root = root.to_string_lossy().into_owned();
            inner.push(directive("trine_files", &[&root], &at.key("files")));
        } else if let Some(target) = &raw.proxy {
            self.pass(target, &at.key("proxy"), &mut inner);
        } else if raw.path.is_some() && words.is_empty() && raw.locations.is_empty() {
            self.problems.push(
                at.clone(),
                "says neither `files` nor `proxy`",
                "add `files: FOLDER` or `proxy: UPSTREAM`",
            );
        }
        self.index(raw, at, &mut inner);
        inner.extend(words);
        self.locations(&raw.locations, &at.key("locations"), &mut inner);
        let args = match matcher? {
            ("", text) => vec![text],
            (modifier, text) => vec![modifier, text],
        };
        Some(block("location", &args, inner, at))
    }

    fn index(&mut self, raw: &RawLocation, at: &Place, out: &mut Vec<Directive>) {
        let Some(index) = &raw.index else { return };
        let at = at.key("index");
        if raw.proxy.is_some() {
            self.problems.push(
                at.clone(),
                "goes with `files`, not with `proxy`",
                "remove it",
            );
        }
        for (number, name) in index.0.iter().enumerate() {
            let plain = !(name.is_empty() || name.contains('/') || name.starts_with('.'));
            if raw.files.is_some() && !plain {
                self.problems.push(
                    at.index(number),
                    format!("\"{name}\" is not the name of a file"),
                    "write one such as index.html",
                );
            }
        }
        let names: Vec<&str> = index.0.iter().map(String::as_str).collect();
        out.push(directive("index", &names, &at));
    }

    fn root(&mut self, files: &str, at: &Place) -> PathBuf {
        let root = self.path(files);
        if self.folders && !root.is_dir() {
            let message = format!("there is no folder {}", root.display());
            self.problems.push(
                at.clone(),
                message,
                "create it, or correct the path (relative ones start at this file's folder)",
            );
        }
        root
    }

    /// Requests go on to this upstream as they are, with true forwarded fields.
    fn pass(&mut self, target: &str, at: &Place, out: &mut Vec<Directive>) {
        let named = self.patience.iter().position(|(name, _)| name == target);
        let (url, patience) = match (named, peer(target, &self.folder)) {
            (Some(index), _) => (format!("http://{target}"), self.patience[index].1),
            (None, Some(peer)) => (format!("http://{peer}"), Patience::default()),
            (None, None) => return self.no_upstream(target, at),
        };
        let mut put = |name, value: &str| out.push(directive(name, &[value], at));
        let time = |time: Duration| format!("{}ms", time.as_millis());
        put("proxy_pass", &url);
        put("trine_forwarded", "on");
        put("proxy_connect_timeout", &time(patience.connect));
        put("proxy_send_timeout", &time(patience.send));
        put("proxy_read_timeout", &time(patience.read));
        if let Some(total) = patience.total {
            put("trine_total_timeout", &time(total));
        }
    }

    fn no_upstream(&mut self, target: &str, at: &Place) {
        let names: Vec<_> = self
            .patience
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let help = match trine_config::suggest::nearest(target, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if names.is_empty() => {
                "define it under `upstreams`, or write an address such as unix:run/app.sock"
                    .to_owned()
            }
            None => format!(
                "there are {}; an address such as 127.0.0.1:8000 is possible too",
                names.join(", ")
            ),
        };
        self.problems.push(
            at.clone(),
            format!("there is no upstream \"{target}\""),
            help,
        );
    }

    pub(super) fn upstream(&mut self, name: &str, raw: &RawUpstream, at: &Place) -> Directive {
        let servers_at = at.key("servers");
        if raw.servers.0.is_empty() {
            self.problems.missing(
                servers_at.clone(),
                "list the addresses, such as [\"unix:run/app.sock\"]",
            );
        }
        let mut inner = Vec::new();
        for (index, text) in raw.servers.0.iter().enumerate() {
            let at = servers_at.index(index);
            let mut words: Vec<&str> = text.split_whitespace().collect();
            let by_service = words.iter().any(|word| word.starts_with("service="));
            let peer = words.first().and_then(|first| {
                // SRV records say the port.
                let port = if by_service { ":80" } else { "" };
                peer(&format!("{first}{port}"), &self.folder)
            });
            let peer = peer.map(|peer| peer.to_string());
            match &peer {
                _ if self.as_nginx => {}
                Some(_) if by_service => {}
                Some(peer) => words[0] = peer,
                None => {
                    self.bad_peer(text, &at);
                    continue;
                }
            }
            let server = directive("server", &words, &at);
            let same = |other: &Directive| other.args == server.args;
            if !self.as_nginx && inner.iter().any(same) {
                self.problems
                    .push(at, format!("{text} is listed twice"), "remove one of them");
                continue;
            }
            inner.push(server);
        }
        let of_house = Patience::default();
        let patience = Patience {
            connect: self.time(
                raw.connect_timeout,
                of_house.connect,
                &at.key("connect_timeout"),
            ),
            send: self.time(raw.send_timeout, of_house.send, &at.key("send_timeout")),
            read: self.time(raw.read_timeout, of_house.read, &at.key("read_timeout")),
            total: self.limit(raw.total_timeout, &at.key("total_timeout")),
        };
        self.patience.push((name.to_owned(), patience));
        let house = (!self.as_nginx).then_some(UPSTREAM_KEEPALIVE);
        if let Some(count) = raw.keepalive.or(house) {
            inner.push(directive(
                "keepalive",
                &[&count.to_string()],
                &at.key("keepalive"),
            ));
        }
        if let Some(path) = &raw.capacity {
            let path = self.folder.join(path).to_string_lossy().into_owned();
            inner.push(directive("trine_capacity", &[&path], &at.key("capacity")));
        }
        inner.extend(self.words(at));
        block("upstream", &[name], inner, at)
    }

    fn bad_peer(&mut self, text: &str, at: &Place) {
        let help =
            "write an address such as 127.0.0.1:8000, app.internal:8000 or unix:run/app.sock";
        self.problems.push(
            at.clone(),
            format!("\"{text}\" is not the address of a server"),
            help,
        );
    }
}

/// How long an upstream may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    connect: Duration,
    send: Duration,
    read: Duration,
    total: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            send: Duration::from_secs(60),
            read: Duration::from_secs(60),
            total: None,
        }
    }
}

/// Whether a path is one that the normaliser could bring out. Segments beside the last may not be empty or dots.
fn is_normal(path: &str) -> bool {
    let inner = path.trim_matches('/').is_empty() && path.len() > 1;
    let dots = path
        .split('/')
        .any(|segment| segment == "." || segment == "..");
    !inner && !dots && !path.contains("//") && !path.contains(['\0', '?', '#'])
}
