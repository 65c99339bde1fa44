//! The questions: what is served, under which load, by whom, and what is hoped for.

use std::time::Duration;

use super::peers::Peer;

/// One question, asked of several servers.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// What trine-wsgi should reach.
    pub(super) goal: &'static str,
    pub(super) app: &'static str,
    pub(super) target: &'static str,
    pub(super) expect: Expect,
    pub(super) workers: usize,
    pub(super) threads: usize,
    pub(super) preload: bool,
    pub(super) kind: Kind,
    pub(super) peers: &'static [Peer],
}

/// What every server must answer before anything is timed.
#[derive(Debug)]
pub(super) enum Expect {
    Body(&'static str),
    Length(usize),
    Holds(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// 64 connections that ask again and again.
    Load(Way),
    /// Memory of all processes after at least that many requests.
    Memory { requests: u64 },
    /// From `exec` to the first answer.
    Start,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    KeepAlive,
    /// A connection for each request.
    Close,
    /// A body of 64 KiB with each request.
    Post,
    /// Keep-alive on a Unix socket.
    Unix,
}

impl Way {
    /// The body of each request.
    pub(super) fn body(self) -> Vec<u8> {
        vec![b'x'; if self == Self::Post { POST_BYTES } else { 0 }]
    }
}

pub(super) const POST_BYTES: usize = 65_536;
/// How long a server is warmed up.
pub(super) const WARM_UP: Duration = Duration::from_secs(1);

use Kind::{Load, Memory, Start};
use Peer::{Bjoern, Granian, GunicornSync, GunicornThreads, Trine, UwsgiHttp, UwsgiSocket};

const HELLO: Scenario = Scenario {
    name: "wsgi-hello",
    what: "Hello world over TCP, one worker with one thread (gthread: four)",
    goal: "requests per CPU second: 2× granian, 1.25× bjoern, 20× gunicorn gthread",
    app: "apps:hello",
    target: "/",
    expect: Expect::Body("Hello, world!"),
    workers: 1,
    threads: 1,
    preload: false,
    kind: Load(Way::KeepAlive),
    peers: &[Trine, GunicornThreads, Granian, Bjoern],
};
const FLASK: Scenario = Scenario {
    name: "wsgi-flask",
    what: "A JSON route of Flask, one worker with one thread (gthread: four)",
    goal: "requests per CPU second: 1.5× granian, level with bjoern, 3× gunicorn gthread",
    app: "flask_app:app",
    target: "/json",
    expect: Expect::Holds("\"name\":\"item 9\""),
    ..HELLO
};
const SIZES: &str = "ahead of every peer that answers correctly";

pub(super) const SCENARIOS: [Scenario; 11] = [
    HELLO,
    FLASK,
    Scenario {
        name: "wsgi-flask-4t",
        what: "A JSON route of Flask, one worker with four threads",
        goal: "requests per CPU second: 1.15× granian",
        threads: 4,
        peers: &[Trine, GunicornThreads, Granian],
        ..FLASK
    },
    Scenario {
        name: "wsgi-unix",
        what: "Hello world on a Unix socket, keep-alive, as a proxy in front sees it",
        goal: "requests per CPU second: 2× granian, level with bjoern",
        kind: Load(Way::Unix),
        ..HELLO
    },
    Scenario {
        name: "wsgi-close",
        what: "Hello world, a connection for each request",
        goal: "requests per CPU second: level with uWSGI's http-socket, 1.35× granian",
        kind: Load(Way::Close),
        peers: &[Trine, GunicornSync, Granian, Bjoern, UwsgiSocket],
        ..HELLO
    },
    Scenario {
        name: "wsgi-post-64k",
        what: "A body of 64 KiB that the application reads",
        goal: SIZES,
        app: "apps:length",
        expect: Expect::Body("65536"),
        kind: Load(Way::Post),
        ..HELLO
    },
    Scenario {
        name: "wsgi-16k",
        what: "An answer of 16 KiB",
        goal: SIZES,
        app: "apps:kib16",
        expect: Expect::Length(16_384),
        ..HELLO
    },
    Scenario {
        name: "wsgi-64k",
        what: "An answer of 64 KiB",
        goal: SIZES,
        app: "apps:kib64",
        expect: Expect::Length(65_536),
        ..HELLO
    },
    Scenario {
        name: "wsgi-sleep",
        what: "An application that sleeps 10 ms, two workers with 16 threads each (at most 3,200/s)",
        goal: "requests/s no lower and p99 no higher than the best peer's; CPU per request at most granian's",
        app: "apps:sleepy",
        workers: 2,
        threads: 16,
        peers: &[Trine, GunicornThreads, Granian, UwsgiHttp],
        ..HELLO
    },
    Scenario {
        name: "wsgi-memory",
        what: "PSS of all processes, Flask, four workers, --preload, after 20,000 requests",
        goal: "at most 0.5× gunicorn --preload",
        workers: 4,
        preload: true,
        kind: Memory { requests: 20_000 },
        peers: &[Trine, GunicornSync],
        ..FLASK
    },
    Scenario {
        name: "wsgi-start",
        what: "From exec to the first answer, hello world, the middle one of five starts",
        goal: "at most 0.5× gunicorn sync",
        kind: Start,
        peers: &[Trine, GunicornSync, Granian, Bjoern, UwsgiSocket],
        ..HELLO
    },
];
