//! What a block of `stream` hands down to its servers.
//!
//! Not here: servers and upstreams themselves (`stream`).

use std::net::SocketAddr;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::dial::DialLevel;
use super::family::Family;
use super::names::NamesLevel;
use super::stream::StreamNames;
use super::tls::TlsLevel;
use super::{Builder, arg, is_on, local_address};
use crate::config::model::{
    Access, HostPattern, SessionLimits, StreamContent, StreamLog, StreamPass, StreamServer,
    StreamTarget, Trusted,
};
use crate::config::values::network;
use crate::layer4::template::Text;
use crate::limit::{LogLevel, connections};

#[derive(Clone)]
pub(super) struct StreamLevel {
    access: Vec<Access>,
    trusted: Trusted,
    preamble_timeout: Duration,
    preread: bool,
    preread_bytes: usize,
    preread_timeout: Duration,
    nodelay: bool,
    logs: Vec<StreamLog>,
    connect_timeout: Duration,
    idle: Duration,
    next: bool,
    tries: u32,
    within: Duration,
    proxy_protocol: bool,
    half_close: bool,
    keepalive: bool,
    bind: Option<SocketAddr>,
    responses: Option<u32>,
    requests: u32,
    limits: SessionLimits,
    upload: Text,
    download: Text,
    pub(super) names: NamesLevel,
    pub(super) tls: TlsLevel,
    protocols: Vec<Vec<u8>>,
    handshake: Duration,
    secure: bool,
    dial: DialLevel,
    dial_name: Option<Text>,
}

impl StreamLevel {
    /// nginx's defaults.
    pub(super) fn new() -> Self {
        Self {
            access: Vec::new(),
            trusted: Trusted::default(),
            preamble_timeout: Duration::from_secs(30),
            preread: false,
            preread_bytes: 16 * 1024,
            preread_timeout: Duration::from_secs(30),
            nodelay: true,
            logs: Vec::new(),
            connect_timeout: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            next: true,
            tries: 0,
            within: Duration::ZERO,
            proxy_protocol: false,
            half_close: false,
            keepalive: false,
            bind: None,
            responses: None,
            requests: 0,
            limits: SessionLimits {
                limits: Vec::new(),
                level: LogLevel::Error,
                dry_run: false,
            },
            upload: Text::default(),
            download: Text::default(),
            names: NamesLevel::default(),
            tls: TlsLevel::new(),
            protocols: Vec::new(),
            handshake: Duration::from_secs(60),
            secure: false,
            dial: DialLevel::new(),
            dial_name: None,
        }
    }

    fn pass(&self, target: StreamTarget) -> StreamPass {
        StreamPass {
            target,
            connect_timeout: self.connect_timeout,
            idle: self.idle,
            next: self.next,
            tries: self.tries,
            within: self.within,
            proxy_protocol: self.proxy_protocol,
            half_close: self.half_close,
            keepalive: self.keepalive,
            bind: self.bind,
            responses: self.responses,
            requests: self.requests,
            upload: self.upload.clone(),
            download: self.download.clone(),
            names: None,
            tls: None,
        }
    }

    pub(super) fn server(
        self,
        names: Vec<HostPattern>,
        sets: Vec<(usize, Text)>,
        content: StreamContent,
    ) -> StreamServer {
        StreamServer {
            names,
            tls: self.tls.rules(),
            protocols: self.protocols,
            handshake: self.handshake,
            access: self.access,
            limits: self.limits,
            sets,
            trusted: self.trusted,
            preamble_timeout: self.preamble_timeout,
            preread: self.preread,
            preread_bytes: self.preread_bytes,
            preread_timeout: self.preread_timeout,
            nodelay: self.nodelay,
            content,
            logs: self.logs,
        }
    }
}

/// Lists that a block has of its own, in place of those it was handed.
#[derive(Default)]
struct Own {
    access: Option<Vec<Access>>,
    trusted: Option<Trusted>,
    logs: Option<Vec<StreamLog>>,
    limits: Option<Vec<connections::Limit>>,
}

impl Builder<'_> {
    /// What `proxy_pass` means here.
    pub(super) fn stream_pass(
        &mut self,
        directive: &Directive,
        level: &StreamLevel,
        target: StreamTarget,
    ) -> StreamPass {
        let mut pass = level.pass(target);
        if matches!(pass.target, StreamTarget::Named(_)) {
            pass.names = level.names.rules();
        }
        if level.secure {
            let tls = self.pass_tls(directive, &level.dial, true);
            pass.tls = tls.map(|tls| (tls.dial, level.dial_name.clone()));
        }
        pass
    }

    pub(super) fn apply_stream(
        &mut self,
        level: &mut StreamLevel,
        block: &[Directive],
        known: &StreamNames,
    ) {
        let mut own = Own::default();
        self.apply_tls(&mut level.tls, block);
        self.apply_names(&mut level.names, block);
        for directive in block {
            self.apply_stream_one(level, &mut own, directive, known);
        }
        level.access = own.access.unwrap_or_else(|| level.access.clone());
        level.trusted = own.trusted.unwrap_or_else(|| level.trusted.clone());
        if let Some(limits) = own.limits {
            level.limits.limits = limits;
        }
        level.logs = own.logs.unwrap_or_else(|| level.logs.clone());
    }

    fn apply_stream_one(
        &mut self,
        level: &mut StreamLevel,
        own: &mut Own,
        directive: &Directive,
        known: &StreamNames,
    ) {
        let first = arg(directive, 0);
        let name = directive.name.text.as_str();
        match name {
            "allow" | "deny" => {
                let access = own.access.get_or_insert_default();
                let who = self.who(directive);
                let allow = name == "allow";
                access.extend(who.map(|who| Access { allow, who }));
            }
            "set_real_ip_from" => {
                let trusted = own.trusted.get_or_insert_default();
                match (first, network(first)) {
                    ("unix:", _) => trusted.unix = true,
                    (_, Some(network)) => trusted.networks.push(network),
                    (_, None) => {
                        let message = format!("invalid parameter \"{first}\"");
                        self.wrong(directive, message, "write an address or a network");
                    }
                }
            }
            "access_log" => {
                let log = self.stream_log(directive, known);
                own.logs.get_or_insert_default().extend(log);
            }
            "limit_conn" => {
                let limit = self.limit_conn(directive, true);
                let limits = own.limits.get_or_insert_default();
                if limits
                    .iter()
                    .any(|one| Some(one.zone) == limit.map(|limit| limit.zone))
                {
                    self.wrong(directive, "\"limit_conn\" directive is duplicate", "");
                }
                limits.extend(limit);
            }
            "limit_conn_log_level" => self.limit_level(directive, &mut level.limits.level),
            "limit_conn_dry_run" => level.limits.dry_run = is_on(directive),
            "proxy_upload_rate" | "proxy_download_rate" => {
                if !first.contains('$') && units::size(first).is_none() {
                    return self.invalid(directive);
                }
                let rate = self.stream_text(directive, first, &known.names);
                if name == "proxy_upload_rate" {
                    level.upload = rate;
                } else {
                    level.download = rate;
                }
            }
            "proxy_ssl" => level.secure = is_on(directive),
            "proxy_ssl_name" => {
                level.dial_name = Some(self.stream_text(directive, first, &known.names));
            }
            _ if name.starts_with("proxy_ssl_") => {
                self.apply_dial(&mut level.dial, Family::Proxy, directive);
            }
            "ssl_alpn" => {
                let words = directive.args.iter();
                level.protocols = words.map(|word| word.text.as_bytes().to_vec()).collect();
            }
            "ssl_preread" => level.preread = is_on(directive),
            "tcp_nodelay" => level.nodelay = is_on(directive),
            "proxy_next_upstream" => level.next = is_on(directive),
            "proxy_protocol" => level.proxy_protocol = is_on(directive),
            "proxy_half_close" => level.half_close = is_on(directive),
            "proxy_socket_keepalive" => level.keepalive = is_on(directive),
            "preread_buffer_size" => {
                level.preread_bytes = self.stream_size(directive).unwrap_or(level.preread_bytes);
            }
            "proxy_next_upstream_tries" => {
                level.tries = self.stream_number(directive).unwrap_or(level.tries);
            }
            "proxy_responses" => {
                level.responses = self.stream_number(directive).or(level.responses);
            }
            "proxy_requests" => {
                level.requests = self.stream_number(directive).unwrap_or(level.requests);
            }
            "proxy_bind" if first == "off" => level.bind = None,
            "proxy_bind" => {
                level.bind = local_address(first).filter(|_| directive.args.len() == 1);
                if level.bind.is_none() {
                    let help = "write one address of this machine, or off";
                    self.wrong(directive, format!("invalid address \"{first}\""), help);
                }
            }
            "preread_timeout"
            | "proxy_protocol_timeout"
            | "ssl_handshake_timeout"
            | "proxy_connect_timeout"
            | "proxy_timeout"
            | "proxy_next_upstream_timeout" => {
                let Some(time) = self.time(directive) else {
                    return;
                };
                match name {
                    "preread_timeout" => level.preread_timeout = time,
                    "ssl_handshake_timeout" => level.handshake = time,
                    "proxy_protocol_timeout" => level.preamble_timeout = time,
                    "proxy_connect_timeout" => level.connect_timeout = time,
                    "proxy_timeout" => level.idle = time,
                    _ => level.within = time,
                }
            }
            _ => {}
        }
    }
}
