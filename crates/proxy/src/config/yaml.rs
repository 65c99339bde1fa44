//! The proxy's own language: YAML. What was typed (`Raw…`) becomes what can run, with all problems at once.
//!
//! Not here: YAML itself (`trine_config::yaml`), or any check that depends on more than files being there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use trine_config::yaml::{self, Document};
use trine_config::{ByteSize, ListenAddr, Place, Problems};

use super::model::{
    AccessLog, Action, Config, Files, Listen, Location, Log, LogFormat, PathMatch, PeerAddr,
    Server, Timeouts, Trusted, Upstream,
};
use super::values::{Limit, Many, OffOr, host_pattern, network, peer};

/// nginx's 1 MiB is what every other upload stumbles over; bodies are streamed, so more costs nothing here.
const MAX_BODY: ByteSize = ByteSize(100 * 1024 * 1024);
const BACKLOG: u32 = 2048;
const UNIX_MODE: u32 = 0o666;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    /// The Unix socket of the control API.
    control: Option<String>,
    /// A file that gets the daemon's process id.
    pidfile: Option<String>,
    /// How many cores to use: a number, or `auto`.
    threads: Option<RawThreads>,
    /// The daemon's own log.
    log: RawLog,
    /// One line for each request: `off`, a path, or a path and a format.
    access_log: Option<OffOr<RawAccessLog>>,
    /// How long clients may take.
    timeouts: RawTimeouts,
    servers: Vec<RawServer>,
    upstreams: BTreeMap<String, RawUpstream>,
    /// Networks of proxies in front of this one, or `unix`: what they say about the client is believed.
    trusted_proxies: Many<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of threads, or auto")]
enum RawThreads {
    Count(u16),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    /// `text` or `json`.
    format: Option<String>,
    level: Option<String>,
    /// Standard error if not given.
    file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAccessLog {
    /// A file, or `-` for standard output.
    path: Option<String>,
    /// `combined` or `json`.
    format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTimeouts {
    header: Option<trine_config::Duration>,
    body: Option<trine_config::Duration>,
    send: Option<trine_config::Duration>,
    keepalive: Option<trine_config::Duration>,
    total: Option<Limit>,
    shutdown: Option<trine_config::Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawServer {
    listen: Many<ListenAddr>,
    names: Many<String>,
    max_body: Option<ByteSize>,
    locations: Vec<RawLocation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLocation {
    path: Option<String>,
    /// A folder: what follows `path` is looked up in it.
    files: Option<String>,
    /// What stands for a folder; `index.html` if not given.
    index: Option<Many<String>>,
    /// The name of an upstream, or the address of a server.
    proxy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawUpstream {
    servers: Many<String>,
    connect_timeout: Option<trine_config::Duration>,
    send_timeout: Option<trine_config::Duration>,
    read_timeout: Option<trine_config::Duration>,
    total_timeout: Option<Limit>,
    keepalive: Option<u16>,
}

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
    let mut checker = Checker {
        problems,
        folder,
        folders,
        upstreams: Vec::new(),
    };
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
    let access_log = checker.access_log(raw.access_log.as_ref(), &root.key("access_log"));
    let timeouts = checker.timeouts(&raw.timeouts, &root.key("timeouts"));
    let trusted = checker.trusted(&raw.trusted_proxies.0, &root.key("trusted_proxies"));
    Some(Config {
        control: raw.control.as_ref().map(|path| checker.path(path)),
        pidfile: raw.pidfile.as_ref().map(|path| checker.path(path)),
        threads,
        log,
        access_log,
        timeouts,
        listens,
        servers,
        upstreams: checker.upstreams.into_iter().map(Arc::new).collect(),
        trusted,
    })
}

struct Checker<'p> {
    problems: &'p mut Problems,
    /// Where the file lies.
    folder: PathBuf,
    folders: bool,
    upstreams: Vec<Upstream>,
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

    fn access_log(&mut self, raw: Option<&OffOr<RawAccessLog>>, at: &Place) -> Option<AccessLog> {
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
        Some(AccessLog {
            path: (path != "-").then(|| self.path(path)),
            format,
        })
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
        let upstream = Upstream {
            name: name.to_owned(),
            peers,
            connect_timeout: self.time(raw.connect_timeout, 5, &at.key("connect_timeout")),
            send_timeout: self.time(raw.send_timeout, 60, &at.key("send_timeout")),
            read_timeout: self.time(raw.read_timeout, 60, &at.key("read_timeout")),
            total_timeout: self.limit(raw.total_timeout, &at.key("total_timeout")),
            keepalive: usize::from(raw.keepalive.unwrap_or(64)),
        };
        self.upstreams.push(upstream);
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

    fn server(&mut self, raw: &RawServer, at: &Place) -> Server {
        if raw.listen.0.is_empty() {
            self.problems
                .missing(at.key("listen"), "say where, such as 127.0.0.1:8000");
        }
        let mut names = Vec::new();
        for (index, text) in raw.names.0.iter().enumerate() {
            match host_pattern(text) {
                Some(name) => names.push(name),
                None => self.problems.push(
                    at.key("names").index(index),
                    format!("\"{text}\" is not a host name"),
                    "write one such as example.org or *.example.org, without a port",
                ),
            }
        }
        let locations_at = at.key("locations");
        if raw.locations.is_empty() {
            self.problems.missing(
                locations_at.clone(),
                "add one, such as { path: /, proxy: app }",
            );
        }
        let mut locations: Vec<Location> = Vec::new();
        for (index, location) in raw.locations.iter().enumerate() {
            let at = locations_at.index(index);
            let Some(location) = self.location(location, &at) else {
                continue;
            };
            if locations.iter().any(|other| other.path == location.path) {
                self.problems.push(
                    at.key("path"),
                    "is the path of two locations",
                    "remove one of them",
                );
            }
            locations.push(location);
        }
        locations.sort_by_key(|location| std::cmp::Reverse(location.path().len()));
        Server {
            names,
            max_body: raw.max_body.unwrap_or(MAX_BODY).0,
            locations,
        }
    }

    fn location(&mut self, raw: &RawLocation, at: &Place) -> Option<Location> {
        let path = match raw.path.as_deref() {
            None => {
                self.problems
                    .missing(at.key("path"), "say which paths it is for, such as /");
                None
            }
            Some(path) if path.starts_with('/') && is_normal(path) => Some(path.to_owned()),
            Some(path) => {
                let help = "write it decoded, beginning with /, without //, . and .. in it";
                self.problems
                    .push(at.key("path"), format!("\"{path}\" can never match"), help);
                None
            }
        };
        match (&raw.files, &raw.proxy) {
            (Some(files), None) => {
                let root = self.root(files, &at.key("files"));
                let mut path = path?;
                if !path.ends_with('/') {
                    path.push('/');
                }
                let index = raw
                    .index
                    .as_ref()
                    .map_or_else(|| vec!["index.html".to_owned()], |index| index.0.clone());
                for (number, name) in index.iter().enumerate() {
                    if name.is_empty() || name.contains('/') || name.starts_with('.') {
                        let at = at.key("index").index(number);
                        self.problems.push(
                            at,
                            format!("\"{name}\" is not the name of a file"),
                            "write one such as index.html",
                        );
                    }
                }
                let files = Files {
                    root: root.into(),
                    strip: path.len(),
                    index,
                };
                Some(Location {
                    path: PathMatch::Below(path),
                    action: Action::Files(files),
                })
            }
            (None, Some(target)) => {
                if raw.index.is_some() {
                    self.problems.push(
                        at.key("index"),
                        "goes with `files`, not with `proxy`",
                        "remove it",
                    );
                }
                let index = self.target(target, &at.key("proxy"))?;
                Some(Location {
                    path: PathMatch::Below(path?),
                    action: Action::Proxy(index),
                })
            }
            (Some(_), Some(_)) => {
                self.problems.push(
                    at.clone(),
                    "has both `files` and `proxy`",
                    "make two locations of it",
                );
                None
            }
            (None, None) => {
                self.problems.push(
                    at.clone(),
                    "says neither `files` nor `proxy`",
                    "add `files: FOLDER` or `proxy: UPSTREAM`",
                );
                None
            }
        }
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

    /// The upstream of that name; an address is an upstream of its own.
    fn target(&mut self, target: &str, at: &Place) -> Option<usize> {
        if let Some(index) = self
            .upstreams
            .iter()
            .position(|upstream| upstream.name == target)
        {
            return Some(index);
        }
        if let Some(peer) = peer(target, &self.folder) {
            let raw = RawUpstream {
                servers: Many(vec![peer.to_string()]),
                ..RawUpstream::default()
            };
            self.upstream(target, &raw, at);
            return Some(self.upstreams.len() - 1);
        }
        let names: Vec<_> = self
            .upstreams
            .iter()
            .map(|upstream| upstream.name.as_str())
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
        None
    }

    /// Each address once, with its servers in the order of the file.
    fn listens(&mut self, servers: &[RawServer], at: &Place) -> Vec<Listen> {
        let mut listens: Vec<Listen> = Vec::new();
        for (server, raw) in servers.iter().enumerate() {
            for (number, addr) in raw.listen.0.iter().enumerate() {
                let addr = addr.clone().resolved_in(&self.folder);
                match listens.iter_mut().find(|listen| listen.addr == addr) {
                    Some(listen) if listen.servers.contains(&server) => {
                        let at = at.index(server).key("listen").index(number);
                        self.problems.push(
                            at,
                            format!("{addr} is listed twice"),
                            "remove one of them",
                        );
                    }
                    Some(listen) => listen.servers.push(server),
                    None => listens.push(Listen {
                        addr,
                        mode: UNIX_MODE,
                        backlog: BACKLOG,
                        servers: vec![server],
                    }),
                }
            }
        }
        listens
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
