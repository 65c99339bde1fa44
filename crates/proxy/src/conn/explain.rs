//! What would happen to a request, told step by step: `trine-proxy explain URL`.
//!
//! The phases themselves run, on a connection that leads nowhere; only the work at their end is told instead of done.
//! Not here: reading the URL and the options (`invoke`).

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use trine_http1::{Limits, Policy, Request, RequestHead};

use super::Conn;
use super::pause::{After, Pause};
use super::record::Record;
use super::reply::Reply;
use super::serve::{Step, arrive, error_page};
use super::stage::Stage;
use super::subrequest::Outcome;
use crate::access_log::Writers;
use crate::config::{
    Config, Content, HostPattern, Location, Matcher, ProxyPass, RequestFields, Rules, Server,
    TryLast,
};
use crate::engine::{Engine, Generation};
use crate::files;
use crate::headers::added;
use crate::headers::forwarded::Peer;
use crate::route::{self, Found, host};
use crate::stream::Stream;
use crate::template::Scene;
use crate::tls;
use crate::upstream::Group;
use crate::upstream::fleet::Fleet;
use crate::upstream::request::target;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    /// The request's head as it would come.
    pub(crate) head: Vec<u8>,
    pub(crate) peer: Peer,
    /// An index into [`Config::listens`].
    pub(crate) listen: usize,
    pub(crate) port: u16,
}

/// Tells what would happen. Must be called in a runtime of one thread.
///
/// # Errors
/// Why there is nothing to tell: the head is refused, or a system call failed.
pub(crate) fn explain(
    config: Arc<Config>,
    doors: Arc<[tls::Door]>,
    question: &Question,
) -> Result<String, String> {
    let door: Arc<[Option<usize>]> = vec![Some(question.listen)].into();
    let fleet = Fleet::new(&config, &Arc::default(), None).map_err(|error| error.to_string())?;
    let engine = Engine::new(
        config,
        door,
        doors,
        &fleet,
        Arc::default(),
        Writers::new(&[]),
        64,
    );
    let generation = engine.generation();
    let (stream, _other) = tokio::net::UnixStream::pair().map_err(|error| error.to_string())?;
    let stream = generation
        .dress(0, Stream::Unix(stream))
        .ok_or("the listener is not there")?;
    let conn = Conn::new(Rc::clone(&engine), stream, question.peer, 0, question.port);
    let mut head = RequestHead::default();
    match head.parse(&question.head, &Limits::default(), &Policy::default()) {
        Ok(Some(_)) => {}
        Ok(None) => return Err("the head is not complete".to_owned()),
        Err(error) => return Err(format!("the request is refused: {error}")),
    }
    let mut telling = Telling {
        conn: &conn,
        generation: &generation,
        request: head.on(&question.head),
        out: String::new(),
    };
    telling.tell(question);
    Ok(telling.out)
}

struct Telling<'a> {
    conn: &'a Conn,
    generation: &'a Rc<Generation>,
    request: Request<'a>,
    out: String,
}

impl Telling<'_> {
    fn say(&mut self, what: &str, text: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{what:<10} {text}");
    }

    fn tell(&mut self, question: &Question) {
        let config = Arc::clone(&self.generation.config);
        let mut record = Record::new(Instant::now());
        let listen = &config.listens[question.listen];
        self.say("listener", &listen.addr);
        let generation = Rc::clone(self.generation);
        let mut step = arrive(self.conn, &generation, &self.request, &mut record);
        self.server(&config, &listen.servers, record.visit.server);
        if let Some(addr) = record.real_ip {
            self.say("client", format!("{addr}, as a trusted proxy says"));
        }
        self.say("path", text(&record.visit.path));
        for _ in 0..24 {
            step = match step {
                Step::Again => {
                    record.visit.hops += 1;
                    if record.visit.hops > 11 {
                        self.say("answer", "500: a cycle of internal redirects");
                        return;
                    }
                    self.round(&config, &generation, &mut record)
                }
                Step::Pause(pause) => match self.pause(pause) {
                    Some(after) => {
                        let stage = self.stage(&generation);
                        after.go_on(&stage, &mut record)
                    }
                    None => return,
                },
                Step::Hang => {
                    self.say("answer", "none: the connection is closed (444)");
                    return;
                }
                Step::File(entry, _) => {
                    let status = record.status_for(200);
                    let rules = config.rules(record.visit.rules);
                    self.say("answer", format!("{status} with this file"));
                    let scene = Scene::new(self.conn, &config, Some(self.request), &record);
                    let kind = rules.kinds(&scene).of(&record.visit.path);
                    self.say("type", kind);
                    drop(entry);
                    self.fields(rules, &config, status, &record);
                    return;
                }
                Step::Upstream(pass, group) => {
                    self.upstream(pass, &group, &config, &record);
                    self.fields(config.rules(record.visit.rules), &config, 200, &record);
                    return;
                }
                Step::Reply(reply) => {
                    let rules = config.rules(record.visit.rules);
                    let request = self.request;
                    match error_page(self.conn, &config, rules, request, &mut record, &reply) {
                        Some(next) => {
                            let lead = record.visit.named.as_ref().map_or_else(
                                || text(&record.visit.path),
                                |name| format!("@{name}"),
                            );
                            self.say("error page", format!("for {}: {lead}", reply.status));
                            next
                        }
                        None => {
                            self.reply(&reply, rules, &config, &record);
                            return;
                        }
                    }
                }
            };
        }
        self.say("answer", "500: a cycle of error pages");
    }

    fn stage<'g>(&self, generation: &'g Generation) -> Stage<'_, 'g> {
        Stage {
            conn: self.conn,
            generation,
            request: self.request,
        }
    }

    fn server(&mut self, config: &Config, listed: &[usize], chosen: usize) {
        let server = &config.servers[chosen];
        let name = self.request.authority().map_or(&b""[..], host::name_of);
        let why = if listed.len() == 1 && !fits(server, name) {
            "it is the only one there".to_owned()
        } else if fits(server, name) {
            format!("its name fits {}", text(name))
        } else {
            format!(
                "no server there is called {}, and this is the default one",
                text(name)
            )
        };
        let shown = if server.name.is_empty() {
            "(without a name)"
        } else {
            &server.name
        };
        self.say("server", format!("{shown} at {}: {why}", server.at));
    }

    /// One round, and what of it can be told.
    fn round<'g>(
        &mut self,
        config: &'g Arc<Config>,
        generation: &'g Rc<Generation>,
        record: &mut Record,
    ) -> Step<'g> {
        if let Some(step) = self.stage(generation).return_to_server(record) {
            self.say("script", "the server's has answered");
            return step;
        }
        let server = &config.servers[record.visit.server];
        let named = record.visit.named.clone();
        match &named {
            Some(name) => match server.named.iter().find(|(known, _)| known == name) {
                Some((_, location)) => self.say("location", format!("@{name} at {}", location.at)),
                None => self.say("location", format!("@{name}, which is not there")),
            },
            None => match route::location(config, &server.locations, &record.visit.path) {
                Found::Location(location, _) => {
                    let why = why(location, server);
                    self.say(
                        "location",
                        format!("{} at {}: {why}", shown(&location.matcher), location.at),
                    );
                }
                Found::AddSlash => {
                    self.say("location", "one with a slash behind: redirected there")
                }
                Found::Nothing => self.say("location", "none: what the server says holds"),
            },
        }
        let before = (record.visit.path.clone(), record.visit.args.clone());
        let step = self.stage(generation).look(record);
        let rules = config.rules(record.visit.rules);
        self.tries(rules, config, record);
        if before != (record.visit.path.clone(), record.visit.args.clone()) {
            let args = record.visit.args.as_deref().filter(|args| !args.is_empty());
            let args = args.map_or_else(String::new, |args| format!("?{}", text(args)));
            self.say("path now", format!("{}{args}", text(&record.visit.path)));
        }
        if let Step::File(..)
        | Step::Reply(Reply {
            status: 403 | 404, ..
        }) = &step
            && let Content::Files(files) = &rules.content
        {
            let scene = Scene::new(self.conn, config, Some(self.request), record);
            let (folder, rest) = files::place(&files.folder, &scene);
            let folder = folder.display().to_string();
            let folder = folder.trim_end_matches('/');
            self.say("file", format!("{folder}/{}", text(&rest)));
            if files.hides {
                self.say(
                    "",
                    "names with a dot in front, *.py and *.sqlite3 are not handed out",
                );
            }
        }
        step
    }

    fn tries(&mut self, rules: &Rules, config: &Config, record: &Record) {
        let Some(tries) = &rules.try_files else {
            return;
        };
        let scene = Scene::new(self.conn, config, Some(self.request), record);
        let mut list: Vec<String> = tries
            .paths
            .iter()
            .map(|(path, is_folder)| {
                let slash = if *is_folder { "/" } else { "" };
                format!("{}{slash}", text(&path.value(&scene)))
            })
            .collect();
        list.push(match &tries.last {
            TryLast::Uri(uri) => format!("else {}", text(&uri.value(&scene))),
            TryLast::Named(name) => format!("else @{name}"),
            TryLast::Status(status) => format!("else {status}"),
        });
        self.say("try_files", list.join(", "));
    }

    /// What the wait is for; the daemon's state is not known here.
    fn pause(&mut self, pause: Pause) -> Option<After> {
        match pause {
            Pause::Check(_) => {
                self.say(
                    "access",
                    "the password is checked, and 401 answered if it is wrong",
                );
                None
            }
            Pause::Ask(_) => {
                self.say(
                    "access",
                    "another location is asked first; what follows is for its consent",
                );
                Some(After::Answered(Outcome::consent()))
            }
            Pause::Mirror => Some(After::Mirrored),
            Pause::Turn(_) => Some(After::Turn),
            Pause::Refuse(_) => Some(After::Reply(Reply::status(401))),
        }
    }

    fn reply(&mut self, reply: &Reply, rules: &Rules, config: &Config, record: &Record) {
        let status = record.status_for(reply.status);
        let why = match reply.status {
            404 if rules.internal => ", because the location is `internal`",
            403 if !rules.access.is_empty() => ", because of `allow` and `deny`",
            413 => ", because the body is larger than the location takes",
            _ => "",
        };
        self.say("answer", format!("{status}{why}"));
        if let Some((name, value)) = &reply.field {
            self.say("", format!("{name}: {}", text(value)));
        }
        if let Some((kind, body)) = &reply.body {
            self.say("", format!("{} bytes of {kind}", body.len()));
        }
        self.fields(rules, config, status, record);
    }

    fn upstream(&mut self, pass: &ProxyPass, group: &Group, config: &Config, record: &Record) {
        // Names as they were written, whatever is known of them.
        let known = config.upstreams.iter();
        let written = known.into_iter().find(|one| one.name == group.config.name);
        let peers: Vec<_> = written
            .unwrap_or(&group.config)
            .servers
            .iter()
            .map(|server| server.addr.to_string())
            .collect();
        self.say(
            "upstream",
            format!("{}: {}", group.config.name, peers.join(", ")),
        );
        let method = self.request.method().to_owned();
        let asked = text(&target(pass, record, &self.request)).clone();
        self.say("it gets", format!("{method} {asked} HTTP/1.1"));
        if let Some(name) = &config.rules(record.visit.rules).via {
            self.say("", format!("Via, with {name} at its end"));
        }
        match &pass.fields {
            RequestFields::Forwarded => self.say(
                "",
                "the client's Host, and true X-Forwarded-For, -Proto, -Host, -Port and X-Real-IP in place of what it sent",
            ),
            RequestFields::Set(fields) => {
                for (name, value) in fields {
                    let value = value.value(&Scene::new(self.conn, config, Some(self.request), record));
                    let shown = match value.is_empty() {
                        true => "(left out)".to_owned(),
                        false => text(&value),
                    };
                    self.say("", format!("{name}: {shown}"));
                }
            }
        }
    }

    /// Fields that the answer gets.
    fn fields(&mut self, rules: &Rules, config: &Config, status: u16, record: &Record) {
        let mut out = Vec::new();
        let scene = Scene::new(self.conn, config, Some(self.request), record);
        added::write(&mut out, rules, status, None, &scene);
        for line in text(&out).split("\r\n").filter(|line| !line.is_empty()) {
            self.say("field", line);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fits(server: &Server, name: &[u8]) -> bool {
    let lower = text(name).to_ascii_lowercase();
    server.names.iter().any(|pattern| match pattern {
        HostPattern::Exact(exact) => lower == *exact,
        HostPattern::Suffix(suffix) => lower.ends_with(suffix.as_str()),
        HostPattern::Prefix(prefix) => lower.starts_with(prefix.as_str()),
        HostPattern::Regex(pattern) => pattern.captures(name).is_some(),
    })
}

fn shown(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(path) => format!("= {path}"),
        Matcher::Prefix { path, stops: true } => format!("^~ {path}"),
        Matcher::Prefix { path, .. } | Matcher::Below(path) => path.clone(),
        Matcher::Regex(pattern) => format!("~ {}", pattern.source()),
        Matcher::Named => "@".to_owned(),
    }
}

fn why(location: &Location, server: &Server) -> &'static str {
    let expressions = !server.locations.regexes.is_empty();
    match &location.matcher {
        Matcher::Exact(_) => "it is for this path alone, and nothing else is looked at",
        Matcher::Prefix { stops: true, .. } => {
            "it is the longest that fits, and its ^~ keeps expressions away"
        }
        Matcher::Prefix { .. } if expressions => {
            "it is the longest that fits, and no expression matches"
        }
        Matcher::Prefix { .. } => "it is the longest that fits",
        Matcher::Below(_) => "it is the longest that holds the path",
        Matcher::Regex(_) => {
            "it is the first expression that matches, which counts more than prefixes"
        }
        Matcher::Named => "by its name",
    }
}
