//! Directives to the checked configuration, with inheritance resolved.
//!
//! `level` is what one block hands down to those in it, `server` and `location` make servers and locations, `proxy`
//! what goes on to upstreams, `maps` the tables. Not here: which directives exist and where (`table`, `check`).

mod cache;
mod compression;
mod dial;
mod family;
mod files;
mod gateway;
mod geo;
mod guard;
mod heads;
mod health;
mod level;
mod limits;
mod listen;
mod location;
mod maps;
mod names;
mod outgoing;
mod patience;
mod proxy;
mod referers;
mod replace;
mod script;
mod server;
mod shaping;
mod spool;
mod sticky;
mod store;
mod stream;
mod stream_level;
mod stream_listen;
mod subrequest;
mod tls;
mod upstream;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trine_config::{Place, Problems};
use trine_sys::privileges;

pub(crate) use location::split_kind;
pub(crate) use outgoing::local_address;
pub(crate) use proxy::{is_https, split_url};
pub(crate) use sticky::is_same_site;
pub(crate) use upstream::peer_address;

use super::tree::Directive;
use super::units;
use super::{Order, Own};
use crate::config::model::{
    AccessLog, Config, DialRules, Expectation, Identity, Listen, Log, LogFormat, Rules, Server,
    SpoolFolder, Streams, Timeouts, Trusted, Upstream,
};
use crate::limit::zone::Key;
use crate::limit::zone::Zone;
use crate::pattern::Pattern;
use crate::template::{Names, Table, Template};
use family::Family;
use level::Level;

/// Where Debian's nginx has them.
pub(crate) const PID_FILE: &str = "/run/nginx.pid";
pub(crate) const ERROR_LOG: &str = "/var/log/nginx/error.log";

/// Makes the configuration; what is wrong goes to `problems`.
pub(super) fn build(
    tree: &[Directive],
    order: &Order<'_>,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Config> {
    let path = order.path;
    let mut builder = Builder {
        problems,
        warnings,
        folder: path.parent().unwrap_or(Path::new("/")).to_owned(),
        as_nginx: order.as_nginx,
        own: order.own,
        prefix: order.prefix.to_owned(),
        names: Names::default(),
        maps: Vec::new(),
        zones: Vec::new(),
        caches: Vec::new(),
        formats: HashMap::new(),
        expectations: HashMap::new(),
        access_logs: Vec::new(),
        upstreams: Vec::new(),
        followers: Vec::new(),
        dials: Vec::new(),
        spools: Vec::new(),
        rules: Vec::new(),
        servers: Vec::new(),
        streams: Streams::default(),
        listens: Vec::new(),
    };
    let core = builder.core(tree);
    match tree.iter().find(|directive| directive.name.text == "http") {
        Some(http) => builder.http(http.block.as_deref().unwrap_or_default()),
        // A file may be for TCP alone.
        None if tree.iter().any(|one| one.name.text == "stream") => {}
        None => builder.problems.push(
            Place::file_only(path),
            "no \"http\" section in configuration",
            "",
        ),
    }
    for stream in tree.iter().filter(|one| one.name.text == "stream") {
        builder.stream(stream.block.as_deref().unwrap_or_default());
    }
    if !tree.iter().any(|directive| directive.name.text == "events") {
        builder.problems.push(
            Place::file_only(path),
            "no \"events\" section in configuration",
            "add `events {}`",
        );
    }
    let timeouts = Timeouts {
        shutdown: core.shutdown,
        ..Level::new(&builder.prefix).timeouts
    };
    Some(Config {
        control: None,
        pidfile: core.pidfile,
        background: core.background,
        threads: core.threads,
        user: core.user,
        log: core.log,
        access_logs: builder.access_logs,
        timeouts,
        listens: builder.listens,
        servers: builder.servers,
        streams: builder.streams,
        rules: builder.rules,
        dials: builder.dials,
        upstreams: builder.upstreams.into_iter().map(Arc::new).collect(),
        trusted: Trusted::default(),
        maps: builder.maps,
        zones: builder.zones,
        caches: builder.caches,
        spools: builder.spools,
        tells_body: builder.names.tells_body.get(),
        tells_slice: builder.names.tells_slice.get(),
        tells_heads: builder.names.tells_heads.get(),
        rate_slot: builder.names.set.get("limit_rate").copied(),
        group_slots: builder.names.groups,
    })
}

/// Everything that has been made so far.
struct Builder<'p> {
    problems: &'p mut Problems,
    warnings: &'p mut Problems,
    /// The program is called as nginx: what nobody says is as Debian builds it.
    as_nginx: bool,
    own: Option<Own>,
    /// Where relative paths start.
    prefix: PathBuf,
    /// Where those of user files start.
    folder: PathBuf,
    names: Names,
    maps: Vec<Table>,
    zones: Vec<Zone>,
    caches: Vec<crate::cache::Zone>,
    /// By name.
    formats: HashMap<String, LogFormat>,
    /// What health checks expect, by name.
    expectations: HashMap<String, Expectation>,
    access_logs: Vec<AccessLog>,
    upstreams: Vec<Upstream>,
    /// Upstreams with names that are followed, and where the first of them stands.
    followers: Vec<(String, Place)>,
    dials: Vec<DialRules>,
    spools: Vec<Arc<SpoolFolder>>,
    rules: Vec<Rules>,
    servers: Vec<Server>,
    streams: Streams,
    listens: Vec<Listen>,
}

/// What stands outside of `http`.
struct Core {
    pidfile: Option<PathBuf>,
    background: bool,
    threads: usize,
    user: Option<Identity>,
    log: Log,
    shutdown: Duration,
}

impl Builder<'_> {
    /// Notes what is wrong with a directive.
    fn wrong(&mut self, directive: &Directive, message: impl std::fmt::Display, help: &str) {
        self.problems.push(directive.at.clone(), message, help);
    }

    /// The value is not one that the directive can have.
    fn invalid(&mut self, directive: &Directive) {
        let name = &directive.name.text;
        self.wrong(directive, format!("\"{name}\" directive invalid value"), "");
    }

    fn time(&mut self, directive: &Directive) -> Option<Duration> {
        let time = units::time(arg(directive, 0));
        if time.is_none() {
            self.invalid(directive);
        }
        time
    }

    /// A string with variables.
    fn template(&mut self, directive: &Directive, text: &str) -> Template {
        match Template::parse(text, &self.names) {
            Ok(template) => template,
            Err(error) => {
                self.wrong(directive, error, "");
                Template::default()
            }
        }
    }

    /// Our own defaults hold.
    fn is_house(&self) -> bool {
        self.own.is_some_and(|own| own.house.is_some())
    }

    /// A path with variables; relative ones start at the prefix.
    fn path_template(&mut self, directive: &Directive, text: &str) -> Template {
        if text.starts_with(['/', '$']) {
            return self.template(directive, text);
        }
        let full = self.prefix.join(text).to_string_lossy().into_owned();
        self.template(directive, &full)
    }

    fn pattern(&mut self, directive: &Directive, source: &str, caseless: bool) -> Option<Pattern> {
        match Pattern::new(source, caseless) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let message = format!("regular expression \"{source}\" cannot be used: {error}");
                self.wrong(directive, message, "");
                None
            }
        }
    }

    fn core(&mut self, tree: &[Directive]) -> Core {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let mut core = Core {
            pidfile: self.as_nginx.then(|| PID_FILE.into()),
            background: self.as_nginx,
            threads: 1,
            user: None,
            log: Log {
                file: self.as_nginx.then(|| ERROR_LOG.into()),
                ..Log::default()
            },
            shutdown: Duration::from_secs(60),
        };
        for directive in tree {
            match directive.name.text.as_str() {
                "worker_processes" => match arg(directive, 0) {
                    "auto" => core.threads = cores(),
                    text => match text.parse() {
                        Ok(count @ 1..=512) => core.threads = count,
                        _ => self.wrong(directive, "invalid number of worker processes", ""),
                    },
                },
                "worker_shutdown_timeout" => {
                    if let Some(time) = self.time(directive) {
                        core.shutdown = time;
                    }
                }
                "daemon" => core.background = is_on(directive),
                "user" => core.user = self.user(directive),
                "pid" => core.pidfile = Some(self.prefix.join(arg(directive, 0))),
                _ => {}
            }
        }
        let targets = self.error_logs(tree);
        if !targets.is_empty() {
            core.log.targets = targets;
            core.log.file = None;
        }
        core
    }

    /// `user name [group]`. It means something only to root.
    fn user(&mut self, directive: &Directive) -> Option<Identity> {
        if privileges::effective_uid() != 0 {
            return None;
        }
        let name = arg(directive, 0);
        let user = match privileges::find_user(name) {
            Ok(Some(user)) => user,
            Ok(None) | Err(_) => {
                let message = format!("getpwnam(\"{name}\") failed");
                self.wrong(directive, message, "there is no such user");
                return None;
            }
        };
        let group = directive.args.get(1).map(|word| word.text.as_str());
        let gid = match group.map(privileges::find_group) {
            None => user.gid,
            Some(Ok(Some(gid))) => gid,
            Some(Ok(None) | Err(_)) => {
                let message = format!("getgrnam(\"{}\") failed", group.unwrap_or_default());
                self.wrong(directive, message, "there is no such group");
                return None;
            }
        };
        let groups = privileges::groups_of(&user, gid).unwrap_or_else(|_| vec![gid]);
        Some(Identity {
            uid: user.uid,
            gid,
            groups,
        })
    }

    fn http(&mut self, http: &[Directive]) {
        self.collect_names(http);
        for directive in http {
            if directive.name.text == "match" {
                self.expectation(directive);
            }
        }
        for directive in http {
            match directive.name.text.as_str() {
                "upstream" => self.upstream(directive),
                "log_format" => self.log_format(directive),
                _ => {}
            }
        }
        self.formats
            .entry("combined".to_owned())
            .or_insert(LogFormat::Combined);
        self.formats
            .entry("json".to_owned())
            .or_insert(LogFormat::Json);
        for directive in http {
            match directive.name.text.as_str() {
                "map" => self.map(directive),
                "geo" => self.geo(directive),
                "split_clients" => self.split_clients(directive),
                _ => {}
            }
        }
        for directive in http {
            if matches!(
                directive.name.text.as_str(),
                "limit_req_zone" | "limit_conn_zone"
            ) {
                self.zone(directive, |builder, row, text| {
                    Key::Request(builder.template(row, text))
                });
            } else if Family::ALL
                .iter()
                .any(|family| family.rest_of(directive) == "cache_path")
            {
                self.cache_path(directive);
            }
        }
        let mut level = match self.own.and_then(|own| own.house) {
            Some(timeouts) => Level::house(&self.prefix, timeouts),
            None => Level::new(&self.prefix),
        };
        self.apply(&mut level, http);
        for directive in http {
            if directive.name.text == "server" {
                self.server(directive, &level);
            }
        }
        self.give_resolvers(&level.names, false);
    }
}

/// An argument, or nothing: their number was checked before.
fn arg(directive: &Directive, index: usize) -> &str {
    directive
        .args
        .get(index)
        .map_or("", |word| word.text.as_str())
}

/// `FILE:LINE`.
fn place(directive: &Directive) -> String {
    format!("{}:{}", directive.at.file().display(), directive.at.line())
}

fn is_on(directive: &Directive) -> bool {
    arg(directive, 0) == "on"
}
