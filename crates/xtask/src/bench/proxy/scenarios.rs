//! The questions: what is served, under which load, by whom, and what is hoped for.

use std::time::Duration;

use super::json::records;
use super::peers::Peer;
use crate::cli::Gateway;

/// What upstreams and applications say.
pub(crate) const HELLO: &[u8] = b"Hello, world!";

/// One question, asked of several servers.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// What trine-proxy should reach.
    pub(super) goal: &'static str,
    pub(super) serves: Serves,
    pub(super) tls: Option<Tls>,
    pub(super) kind: Kind,
    pub(super) peers: &'static [Peer],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Serves {
    /// 13 bytes from an upstream on a Unix socket, whose connections are kept.
    Upstream,
    /// The same from an application that speaks another protocol than HTTP.
    Gateway(Gateway),
    /// 20 KiB of JSON from an upstream, compressed by gzip at this level.
    Json { level: u8 },
    /// One file of so many bytes.
    File(usize),
    /// 4 KiB from a cache that has it in memory.
    Cached,
    /// The same from one of [`CACHED_FILES`] answers, of which memory holds next to nothing.
    CachedOnDisk,
}

/// TLS 1.3 in front.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tls {
    pub(super) key: Key,
    /// Without tickets every handshake is a full one.
    pub(super) resumes: bool,
    pub(super) http2: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Key {
    P256,
    Rsa2048,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Connections that ask again and again.
    KeepAlive { connections: u16 },
    /// Connections that are made anew for each request.
    Close { connections: u16 },
    /// Connections of HTTP/2 with so many requests under way on each.
    Http2 { connections: u16, streams: u16 },
    /// Connections for one request each, whose handshakes are short because one before was long.
    Resumed,
    /// KiB of memory for each of so many connections that have had an answer and wait.
    Idle { connections: usize },
    /// The 99th percentile at so many percent of what nginx could do at most.
    Latency { percent: u32 },
}

/// Answers that are kept on disk, 4 KiB each.
pub(super) const CACHED_FILES: usize = 20_000;

const PROXY: Scenario = Scenario {
    name: "proxy-unix",
    what: "Proxying a 13-byte answer from a Unix socket, keep-alive on both sides",
    goal: "requests per CPU second: 1.3× nginx and HAProxy",
    serves: Serves::Upstream,
    tls: None,
    kind: KeepAlive { connections: 64 },
    peers: &[Trine, Nginx, Haproxy],
};
const STATIC: Scenario = Scenario {
    name: "proxy-static-1k",
    what: "A file of 1 KiB, keep-alive",
    goal: "requests per CPU second: 1.5× nginx-ofc, level with nginx-tuned and h2o",
    serves: Serves::File(1024),
    peers: &[Trine, Nginx, NginxOfc, NginxTuned, H2o],
    ..PROXY
};
const TLS: Tls = Tls {
    key: Key::P256,
    resumes: true,
    http2: false,
};
const HANDSHAKES: Scenario = Scenario {
    name: "proxy-tls-p256",
    what: "Full TLS 1.3 handshakes with a P-256 key, one proxied request on each connection",
    goal: "handshakes per CPU second: 1.9× nginx and HAProxy",
    tls: Some(Tls {
        resumes: false,
        ..TLS
    }),
    kind: Close { connections: 16 },
    ..PROXY
};

use Kind::{Close, Http2, Idle, KeepAlive, Latency, Resumed};
use Peer::{H2o, Haproxy, Nginx, NginxOfc, NginxTuned, Trine};

const FASTCGI: Scenario = Scenario {
    name: "proxy-fastcgi",
    what: "A 13-byte answer from a FastCGI application on a Unix socket, keep-alive on both sides",
    goal: "requests per CPU second: 1.2× nginx",
    serves: Serves::Gateway(Gateway::Fastcgi),
    peers: &[Trine, Nginx],
    ..PROXY
};
const GZIP: Scenario = Scenario {
    name: "proxy-gzip-1",
    what: "20 KiB of JSON from a Unix socket, compressed by gzip at level 1",
    goal: "requests per CPU second: 1.2× nginx, and no larger",
    serves: Serves::Json { level: 1 },
    peers: &[Trine, Nginx],
    ..PROXY
};

pub(super) const SCENARIOS: [Scenario; 19] = [
    PROXY,
    Scenario {
        name: "proxy-close",
        what: "The same, a client's connection for each request",
        goal: "requests per CPU second: 1.05× nginx and HAProxy",
        kind: Close { connections: 64 },
        ..PROXY
    },
    Scenario {
        name: "proxy-p99",
        what: "The same over kept connections, at 70 % of nginx's top rate: 99th percentile",
        goal: "no higher than nginx's",
        kind: Latency { percent: 70 },
        ..PROXY
    },
    STATIC,
    Scenario {
        name: "proxy-cache-4k",
        what: "A cached answer of 4 KiB from memory, keep-alive",
        goal: "requests per CPU second: 1.3× HAProxy, 1.8× nginx-ofc",
        serves: Serves::Cached,
        peers: &[Trine, NginxOfc, Haproxy],
        ..PROXY
    },
    Scenario {
        name: "proxy-cache-disk-4k",
        what: "Cached answers of 4 KiB from 20,000 files, keep-alive",
        goal: "requests per CPU second: 1.2× nginx-ofc",
        serves: Serves::CachedOnDisk,
        peers: &[Trine, NginxOfc],
        ..PROXY
    },
    FASTCGI,
    Scenario {
        name: "proxy-uwsgi",
        what: "The same from an application that speaks uwsgi, whose connections are made anew for each request",
        serves: Serves::Gateway(Gateway::Uwsgi),
        ..FASTCGI
    },
    GZIP,
    Scenario {
        name: "proxy-gzip-6",
        what: "20 KiB of JSON from a Unix socket, compressed by gzip at level 6",
        serves: Serves::Json { level: 6 },
        ..GZIP
    },
    Scenario {
        name: "proxy-static-64k",
        what: "A file of 64 KiB, keep-alive",
        goal: "requests per CPU second: 1.15× nginx",
        serves: Serves::File(64 * 1024),
        ..STATIC
    },
    Scenario {
        name: "proxy-static-10m",
        what: "A file of 10 MiB, keep-alive",
        goal: "requests per CPU second: level with nginx",
        serves: Serves::File(10 * 1024 * 1024),
        kind: KeepAlive { connections: 8 },
        peers: &[Trine, Nginx, NginxOfc, H2o],
        ..STATIC
    },
    Scenario {
        name: "proxy-tls",
        what: "Proxying over TLS 1.3 with a P-256 key, keep-alive on both sides",
        goal: "requests per CPU second: 1.2× nginx and HAProxy",
        tls: Some(TLS),
        ..PROXY
    },
    HANDSHAKES,
    Scenario {
        name: "proxy-tls-rsa",
        what: "Full TLS 1.3 handshakes with an RSA key of 2048 bits, one proxied request on each connection",
        goal: "handshakes per CPU second: 1.5× nginx and HAProxy",
        tls: Some(Tls {
            key: Key::Rsa2048,
            resumes: false,
            ..TLS
        }),
        ..HANDSHAKES
    },
    Scenario {
        name: "proxy-tls-resumed",
        what: "Resumed TLS 1.3 handshakes, one proxied request on each connection",
        goal: "handshakes per CPU second: 1.5× nginx and HAProxy",
        tls: Some(TLS),
        kind: Resumed,
        ..HANDSHAKES
    },
    Scenario {
        name: "proxy-h2-1k",
        what: "A file of 1 KiB over HTTP/2 and TLS 1.3, 10 requests at once on each connection",
        goal: "requests per CPU second: 1.4× nginx; the distance to h2o is told",
        tls: Some(Tls { http2: true, ..TLS }),
        kind: Http2 {
            connections: 16,
            streams: 10,
        },
        ..STATIC
    },
    Scenario {
        name: "proxy-idle-2000",
        what: "Memory (PSS) for each of 2,000 connections that wait after a proxied request",
        goal: "at most 2 KiB",
        kind: Idle { connections: 2_000 },
        ..PROXY
    },
    Scenario {
        name: "proxy-idle-10000",
        what: "Memory (PSS) for each of 10,000 connections that wait after a proxied request",
        goal: "at most 2 KiB",
        kind: Idle {
            connections: 10_000,
        },
        // HAProxy asks for two descriptors for each connection, which is more than most limits allow.
        peers: &[Trine, Nginx],
        ..PROXY
    },
];

impl Serves {
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Upstream | Self::Gateway(_) | Self::Json { .. } | Self::Cached => "/",
            Self::CachedOnDisk => "/0",
            Self::File(_) => "/file.txt",
        }
    }

    /// How long a server is warmed up: until it keeps what it can.
    pub(super) fn warm_up(self) -> Duration {
        Duration::from_secs(if self == Self::CachedOnDisk { 8 } else { 1 })
    }

    /// What every server must answer before anything is timed.
    pub(super) fn body(self) -> Vec<u8> {
        match self {
            Self::Upstream | Self::Gateway(_) => HELLO.to_vec(),
            Self::Json { .. } => records(20 * 1024).into_bytes(),
            Self::Cached | Self::CachedOnDisk => (b'A'..=b'Z').cycle().take(4096).collect(),
            Self::File(bytes) => (b' '..b'~').cycle().take(bytes).collect(),
        }
    }
}

impl Kind {
    pub(super) fn words(self, seconds: u64) -> String {
        match self {
            Self::KeepAlive { connections } | Self::Close { connections } => {
                format!(", {connections} connections, {seconds} s")
            }
            Self::Http2 { connections, .. } => format!(", {connections} connections, {seconds} s"),
            Self::Resumed => format!(", 4 clients, {seconds} s"),
            Self::Latency { .. } => format!(", 64 connections, {seconds} s"),
            Self::Idle { .. } => String::new(),
        }
    }

    /// What a sample that is no load is counted in.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Idle { .. } => "KiB for each connection",
            _ => "p99, ms",
        }
    }
}
