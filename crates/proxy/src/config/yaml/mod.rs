//! The proxy's own language: YAML. What was typed (`Raw…`, words) becomes nginx's tree, and that becomes what can run.
//!
//! Not here: YAML itself (`trine_config::yaml`), or any check that depends on more than files being there.

pub(crate) mod convert;
mod lower;
mod raw;
pub(crate) mod schema;
mod servers;
mod stream;
pub(crate) mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trine_config::yaml::{self, Document, Taken};
use trine_config::{Place, Problems};

use super::model::{Config, Log, Timeouts, Trusted};
use super::nginx::tree::Directive;
use super::nginx::{self, Order, Own};
use super::values::{Limit, OffOr, network};
use lower::{block, directive};
use raw::{RawAccessLog, RawConfig, RawLog, RawThreads, RawTimeouts};
use servers::Patience;
use words::Scope;

const BACKLOG: u32 = 2048;
const UPSTREAM_KEEPALIVE: u16 = 64;

/// Reads and checks the file at `path`, which is absolute.
pub(super) fn load(path: &Path, problems: &mut Problems) -> Option<Config> {
    let text = yaml::text_of(path, problems)?;
    parse(&text, path, problems, true)
}

/// The same for a text. `folders`: those that are served have to be there.
pub(super) fn parse(
    text: &str,
    path: &Path,
    problems: &mut Problems,
    folders: bool,
) -> Option<Config> {
    let read = tree(text, path, problems, folders)?;
    if !problems.is_empty() {
        // What is wrong already would be reported once more by what it leads to.
        return None;
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let order = Order {
        path,
        prefix: folder,
        directives: None,
        ignore_unsupported: false,
        as_nginx: false,
        own: Some(Own {
            house: read.house.then_some(read.timeouts),
        }),
    };
    let config = nginx::finish(&read.tree, &order, problems, &mut Problems::new());
    config.map(|config| read.complete(config))
}

/// What a file says: nginx's tree, and what nginx has no directives for.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) tree: Vec<Directive>,
    /// Where the file says nothing, our own defaults hold.
    pub(crate) house: bool,
    timeouts: Timeouts,
    control: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    background: Option<bool>,
    threads: Option<usize>,
    log: Option<Log>,
    trusted: Trusted,
}

/// Reads a text as far as the tree.
pub(crate) fn tree(
    text: &str,
    path: &Path,
    problems: &mut Problems,
    folders: bool,
) -> Option<Read> {
    let wanted = |parent: &str, key: &str| Scope::of(parent).is_some_and(|scope| scope.takes(key));
    let (document, taken) = yaml::parse_and_take::<RawConfig>(text, path, problems, &wanted)?;
    Some(check(&document, taken, problems, folders))
}

/// Goes through all of it.
fn check(
    document: &Document<RawConfig>,
    taken: Vec<Taken>,
    problems: &mut Problems,
    folders: bool,
) -> Read {
    let (raw, root) = (&document.raw, document.root());
    let folder = document.file().parent().unwrap_or(Path::new("/"));
    let as_nginx = match raw.defaults.as_deref() {
        None | Some("house") => false,
        Some("nginx") => true,
        Some(other) => {
            let message = format!("unknown defaults \"{other}\"");
            problems.push(root.key("defaults"), message, "write house or nginx");
            false
        }
    };
    let mut checker = Checker {
        problems,
        folder: folder.to_owned(),
        folders,
        as_nginx,
        patience: Vec::new(),
        words: HashMap::new(),
    };
    for one in &taken {
        let scope = Scope::of(&one.parent).unwrap_or(Scope::Top);
        let directives = lower::lower(scope, &one.key, &one.item, checker.problems);
        checker
            .words
            .entry(one.parent.clone())
            .or_default()
            .extend(directives);
    }
    let timeouts = checker.timeouts(&raw.timeouts, &root.key("timeouts"));
    let (mut main, mut http): (Vec<_>, Vec<_>) =
        checker.words(root).into_iter().partition(nginx::is_main);
    http.extend(checker.words(&root.key("http")));
    http.extend(checker.access_log(raw.access_log.as_ref(), &root.key("access_log")));
    let upstreams_at = root.key("upstreams");
    for (name, upstream) in &raw.upstreams {
        http.push(checker.upstream(name, upstream, &upstreams_at.key(name)));
    }
    let servers_at = root.key("servers");
    for (index, server) in raw.servers.iter().enumerate() {
        http.push(checker.server(server, &servers_at.index(index)));
    }
    let stream = checker.stream(&raw.stream, &root.key("stream"));
    if raw.servers.is_empty() && stream.is_empty() && !as_nginx {
        checker.problems.missing(
            servers_at.clone(),
            "add a server with `listen` and `locations`",
        );
    }
    checker.mixed_tls(raw, &servers_at);
    let threads = match &raw.threads {
        None if as_nginx || main.iter().any(|one| one.name.text == "worker_processes") => None,
        threads => Some(checker.threads(threads.as_ref(), &root.key("threads"))),
    };
    let log = checker.log(&raw.log, &root.key("log"));
    let trusted = checker.trusted(&raw.trusted_proxies.0, &root.key("trusted_proxies"));
    let path = |path: &String| checker.path(path);
    let (control, pidfile) = (
        raw.control.as_ref().map(path),
        raw.pidfile.as_ref().map(path),
    );
    main.push(block("events", &[], Vec::new(), root));
    main.push(block("http", &[], http, root));
    if !stream.is_empty() {
        main.push(block("stream", &[], stream, &root.key("stream")));
    }
    Read {
        tree: main,
        house: !as_nginx,
        timeouts,
        control,
        pidfile,
        background: raw.daemonize,
        threads,
        log: (log != Log::default()).then_some(log),
        trusted,
    }
}

impl Read {
    /// Adds what is not in the tree.
    fn complete(self, mut config: Config) -> Config {
        config.control = self.control;
        config.pidfile = self.pidfile.or(config.pidfile);
        config.background = self.background.unwrap_or(config.background);
        config.threads = self.threads.unwrap_or(config.threads);
        config.log = self.log.unwrap_or(config.log);
        config.trusted = self.trusted;
        if self.house {
            config.timeouts = self.timeouts;
        }
        for server in &mut config.servers {
            server.timeouts.total = server.timeouts.total.or(self.timeouts.total);
        }
        config
    }
}

struct Checker<'p> {
    problems: &'p mut Problems,
    /// Where the file lies.
    folder: PathBuf,
    folders: bool,
    as_nginx: bool,
    /// For each upstream.
    patience: Vec<(String, Patience)>,
    /// Directives that words became, by the key path of the map they stand in.
    words: HashMap<String, Vec<Directive>>,
}

impl Checker<'_> {
    /// The directives of the words in the map at this place.
    fn words(&mut self, at: &Place) -> Vec<Directive> {
        self.words.remove(at.key_path()).unwrap_or_default()
    }

    /// TLS is spoken on an address, or not.
    fn mixed_tls(&mut self, raw: &RawConfig, at: &Place) {
        let mut known: HashMap<String, bool> = HashMap::new();
        for (server, raw) in raw.servers.iter().enumerate() {
            let mut own = Vec::new();
            for (number, listen) in raw.listen.0.iter().enumerate() {
                let addr = listen.0.split_whitespace().next().unwrap_or_default();
                let at = at.index(server).key("listen").index(number);
                let tls = raw.tls.is_some();
                if own.contains(&addr) {
                    let message = format!("{addr} is listed twice");
                    self.problems.push(at, message, "remove one of them");
                } else if !self.as_nginx && *known.entry(addr.to_owned()).or_insert(tls) != tls {
                    self.problems.push(
                        at,
                        format!("{addr} cannot speak TLS for some servers only"),
                        "give every server on it `tls`, or none",
                    );
                }
                own.push(addr);
            }
        }
    }

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
            targets: Vec::new(),
        }
    }

    fn access_log(&mut self, raw: Option<&OffOr<RawAccessLog>>, at: &Place) -> Option<Directive> {
        let (path, format) = match raw {
            None | Some(OffOr::Off) => return None,
            Some(OffOr::Path(path)) => (Some(path), None),
            Some(OffOr::Map(raw)) => (raw.path.as_ref(), raw.format.as_deref()),
        };
        let Some(path) = path else {
            self.problems
                .missing(at.key("path"), "give a file, or \"-\" for standard output");
            return None;
        };
        let path = match path.as_str() {
            "-" => "/dev/stdout".to_owned(),
            path => self.path(path).to_string_lossy().into_owned(),
        };
        Some(directive(
            "access_log",
            &[&path, format.unwrap_or("combined")],
            at,
        ))
    }

    fn timeouts(&mut self, raw: &RawTimeouts, at: &Place) -> Timeouts {
        let mut time = |name, raw: Option<trine_config::Duration>, default| {
            self.time(raw, Duration::from_secs(default), &at.key(name))
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
            keepalive_min: Duration::ZERO,
            resets: false,
            lingers: true,
            linger: Timeouts::LINGER,
            linger_silence: Timeouts::LINGER_SILENCE,
            body_rate: raw.body_rate.map_or(0, |rate| rate.0),
            send_rate: raw.send_rate.map_or(0, |rate| rate.0),
        }
    }

    fn time(
        &mut self,
        raw: Option<trine_config::Duration>,
        default: Duration,
        at: &Place,
    ) -> Duration {
        let time = raw.map_or(default, trine_config::Duration::get);
        if time.is_zero() {
            self.problems.push(
                at.clone(),
                "must be longer than nothing",
                format!("the default is {}s", default.as_secs()),
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
}
