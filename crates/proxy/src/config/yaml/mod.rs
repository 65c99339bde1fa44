//! The proxy's own language: YAML. What was typed (`Raw…`) becomes what can run, with all problems at once.
//!
//! Not here: YAML itself (`trine_config::yaml`), or any check that depends on more than files being there.

mod raw;
mod servers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trine_config::yaml::{self, Document};
use trine_config::{ByteSize, Place, Problems};

use super::model::{
    AccessLog, Config, Log, LogFormat, LogUse, PeerAddr, Rules, Timeouts, Trusted, Upstream,
};
use super::values::{Limit, OffOr, network, peer};
use raw::{RawAccessLog, RawConfig, RawLog, RawThreads, RawTimeouts, RawUpstream};

/// nginx's 1 MiB is what every other upload stumbles over; bodies are streamed, so more costs nothing here.
const MAX_BODY: ByteSize = ByteSize(100 * 1024 * 1024);
const BACKLOG: u32 = 2048;
const UNIX_MODE: u32 = 0o666;

/// Reads and checks the file at `path`, which is absolute.
pub(super) fn load(path: &Path, problems: &mut Problems) -> Option<Config> {
    let document = yaml::load::<RawConfig>(path, problems)?;
    check(&document, problems, true)
}

#[cfg(test)]
pub(super) fn parse(
    text: &str,
    path: &Path,
    problems: &mut Problems,
    folders: bool,
) -> Option<Config> {
    let document = yaml::parse::<RawConfig>(text, path, problems)?;
    check(&document, problems, folders)
}

/// Goes through all of it. `folders`: those that are served have to be there.
fn check(document: &Document<RawConfig>, problems: &mut Problems, folders: bool) -> Option<Config> {
    let (raw, root) = (&document.raw, document.root());
    let folder = document
        .file()
        .parent()
        .unwrap_or(Path::new("/"))
        .to_owned();
    let minute = Duration::from_secs(60);
    let mut checker = Checker {
        problems,
        timeouts: Timeouts {
            header: minute,
            body: minute,
            send: minute,
            keepalive: minute,
            total: None,
            shutdown: minute,
            lifetime: Timeouts::LIFETIME,
            requests: Timeouts::REQUESTS,
        },
        folder,
        folders,
        upstreams: Vec::new(),
        patience: Vec::new(),
        rules: Vec::new(),
        logs: Vec::new(),
    };
    checker.timeouts = checker.timeouts(&raw.timeouts, &root.key("timeouts"));
    let mut access_logs = Vec::new();
    if let Some((log, format)) =
        checker.access_log(raw.access_log.as_ref(), &root.key("access_log"))
    {
        access_logs.push(log);
        checker.logs.push(LogUse {
            log: 0,
            format,
            condition: None,
        });
    }
    let upstreams_at = root.key("upstreams");
    for (name, upstream) in &raw.upstreams {
        checker.upstream(name, upstream, &upstreams_at.key(name));
    }
    let servers_at = root.key("servers");
    let servers: Vec<_> = raw
        .servers
        .iter()
        .enumerate()
        .map(|(index, server)| checker.server(server, &servers_at.index(index)))
        .collect();
    if raw.servers.is_empty() {
        checker.problems.missing(
            servers_at.clone(),
            "add a server with `listen` and `locations`",
        );
    }
    let listens = checker.listens(&raw.servers, &servers_at);
    let threads = checker.threads(raw.threads.as_ref(), &root.key("threads"));
    let log = checker.log(&raw.log, &root.key("log"));
    let trusted = checker.trusted(&raw.trusted_proxies.0, &root.key("trusted_proxies"));
    Some(Config {
        control: raw.control.as_ref().map(|path| checker.path(path)),
        pidfile: raw.pidfile.as_ref().map(|path| checker.path(path)),
        background: raw.daemonize,
        threads,
        user: None,
        log,
        access_logs,
        timeouts: checker.timeouts,
        listens,
        servers,
        rules: checker.rules,
        maps: Vec::new(),
        zones: Vec::new(),
        rate_slot: None,
        upstreams: checker.upstreams.into_iter().map(Arc::new).collect(),
        trusted,
    })
}

struct Checker<'p> {
    problems: &'p mut Problems,
    timeouts: Timeouts,
    /// Where the file lies.
    folder: PathBuf,
    folders: bool,
    upstreams: Vec<Upstream>,
    /// For each upstream.
    patience: Vec<Patience>,
    rules: Vec<Rules>,
    logs: Vec<LogUse>,
}

/// How long an upstream may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    connect: Duration,
    send: Duration,
    read: Duration,
    total: Option<Duration>,
}

impl Checker<'_> {
    /// A path in the file; an optional `unix:` in front is for those who write it everywhere.
    fn path(&self, path: &str) -> PathBuf {
        let path = path.strip_prefix("unix:").unwrap_or(path);
        self.folder.join(path.strip_prefix("./").unwrap_or(path))
    }

    fn threads(&mut self, raw: Option<&RawThreads>, at: &Place) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        match raw {
            None => cores(),
            Some(RawThreads::Word(word)) if word == "auto" => cores(),
            Some(RawThreads::Count(count @ 1..=512)) => usize::from(*count),
            Some(RawThreads::Count(_) | RawThreads::Word(_)) => {
                self.problems.push(
                    at.clone(),
                    "is not a number from 1 to 512",
                    "write a number, or `auto` for one per core",
                );
                1
            }
        }
    }

    fn log(&mut self, raw: &RawLog, at: &Place) -> Log {
        let json = match raw.format.as_deref() {
            None => None,
            Some("text") => Some(false),
            Some("json") => Some(true),
            Some(other) => {
                self.problems.push(
                    at.key("format"),
                    format!("unknown format \"{other}\""),
                    "write text or json",
                );
                None
            }
        };
        let level = raw.level.as_deref().filter(|level| {
            let known = self
                .problems
                .keep(at.key("level"), trine_service::logging::parse_level(level));
            known.is_some()
        });
        Log {
            json,
            level: level.map(str::to_owned),
            file: raw.file.as_ref().map(|path| self.path(path)),
        }
    }

    fn access_log(
        &mut self,
        raw: Option<&OffOr<RawAccessLog>>,
        at: &Place,
    ) -> Option<(AccessLog, LogFormat)> {
        let (path, format) = match raw {
            None | Some(OffOr::Off) => return None,
            Some(OffOr::Path(path)) => (Some(path), None),
            Some(OffOr::Map(raw)) => (raw.path.as_ref(), raw.format.as_deref()),
        };
        let format = match format {
            None | Some("combined") => LogFormat::Combined,
            Some("json") => LogFormat::Json,
            Some(other) => {
                self.problems.push(
                    at.key("format"),
                    format!("unknown format \"{other}\""),
                    "write combined or json",
                );
                LogFormat::Combined
            }
        };
        let Some(path) = path else {
            self.problems
                .missing(at.key("path"), "give a file, or \"-\" for standard output");
            return None;
        };
        let log = AccessLog {
            path: (path != "-").then(|| self.path(path)),
        };
        Some((log, format))
    }

    fn timeouts(&mut self, raw: &RawTimeouts, at: &Place) -> Timeouts {
        let mut time = |name, raw: Option<trine_config::Duration>, default| {
            self.time(raw, default, &at.key(name))
        };
        Timeouts {
            header: time("header", raw.header, 30),
            body: time("body", raw.body, 60),
            send: time("send", raw.send, 60),
            keepalive: time("keepalive", raw.keepalive, 75),
            shutdown: time("shutdown", raw.shutdown, 30),
            total: self.limit(raw.total, &at.key("total")),
            lifetime: Timeouts::LIFETIME,
            requests: Timeouts::REQUESTS,
        }
    }

    fn time(&mut self, raw: Option<trine_config::Duration>, default: u64, at: &Place) -> Duration {
        let time = raw.map_or(Duration::from_secs(default), trine_config::Duration::get);
        if time.is_zero() {
            self.problems.push(
                at.clone(),
                "must be longer than nothing",
                format!("the default is {default}s"),
            );
        }
        time
    }

    fn limit(&mut self, raw: Option<Limit>, at: &Place) -> Option<Duration> {
        let time = raw?.0?.get();
        if time.is_zero() {
            self.problems.push(
                at.clone(),
                "must be longer than nothing",
                "write none for no limit",
            );
        }
        Some(time)
    }

    fn trusted(&mut self, raw: &[String], at: &Place) -> Trusted {
        let mut trusted = Trusted::default();
        for (index, text) in raw.iter().enumerate() {
            match (text.as_str(), network(text)) {
                ("unix", _) => trusted.unix = true,
                (_, Some(network)) => trusted.networks.push(network),
                (_, None) => self.problems.push(
                    at.index(index),
                    format!("\"{text}\" is not a network"),
                    "write one such as 10.0.0.0/8 or 192.0.2.1, or unix for clients on Unix sockets",
                ),
            }
        }
        trusted
    }

    fn upstream(&mut self, name: &str, raw: &RawUpstream, at: &Place) {
        let servers_at = at.key("servers");
        if raw.servers.0.is_empty() {
            self.problems.missing(
                servers_at.clone(),
                "list the addresses, such as [\"unix:run/app.sock\"]",
            );
        }
        let mut peers: Vec<PeerAddr> = Vec::new();
        for (index, text) in raw.servers.0.iter().enumerate() {
            match peer(text, &self.folder) {
                Some(peer) if peers.contains(&peer) => {
                    self.problems.push(
                        servers_at.index(index),
                        format!("{text} is listed twice"),
                        "remove one of them",
                    );
                }
                Some(peer) => peers.push(peer),
                None => self.bad_peer(text, &servers_at.index(index)),
            }
        }
        let patience = Patience {
            connect: self.time(raw.connect_timeout, 5, &at.key("connect_timeout")),
            send: self.time(raw.send_timeout, 60, &at.key("send_timeout")),
            read: self.time(raw.read_timeout, 60, &at.key("read_timeout")),
            total: self.limit(raw.total_timeout, &at.key("total_timeout")),
        };
        self.patience.push(patience);
        self.upstreams.push(Upstream {
            name: name.to_owned(),
            primaries: peers.len(),
            peers,
            keepalive: usize::from(raw.keepalive.unwrap_or(64)),
        });
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
