//! One round of a request: from its path to what happens with it.
//!
//! Not here: carrying it out, and going round again (`serve`).

use trine_http1::{BodyLength, Request};

use super::Conn;
use super::answer::{add_slash, located};
use super::pause::Pause;
use super::record::Record;
use super::reply::Reply;
use super::script::{Flow, Script};
use super::serve::{ALL_METHODS, Step, go, go_to};
use super::told::{Told, tell};
use crate::access::Admission;
use crate::config::{
    Content, Location, ProxyPass, ProxyTarget, Return, ReturnBody, Rules, TryFiles, TryLast,
};
use crate::engine::Generation;
use crate::files::{self, Found as File};
use crate::headers::via;
use crate::limit::{self, Turn};
use crate::route::{self, Found};
use crate::tally::Sums;
use crate::template::{Scene, Template};

/// One round: from the path to what happens.
pub(super) struct Stage<'a, 'g> {
    pub(super) conn: &'a Conn,
    pub(super) generation: &'g Generation,
    pub(super) request: Request<'a>,
}

impl<'g> Stage<'_, 'g> {
    /// What the server's script answers, if it does.
    pub(super) fn server_script(&self, record: &mut Record) -> Option<Step<'g>> {
        let config = &*self.generation.config;
        let server = &config.servers[record.visit.server];
        if server.script.is_empty() {
            return None;
        }
        let script = Script {
            conn: self.conn,
            config,
            request: self.request,
        };
        match script.run(&server.script, record) {
            Flow::Step(step) => Some(step),
            Flow::End { .. } | Flow::Break | Flow::Last => None,
        }
    }

    /// The same for a request that comes to the server anew. A named location is none of the server's affair.
    pub(super) fn return_to_server(&self, record: &mut Record) -> Option<Step<'g>> {
        if !std::mem::take(&mut record.visit.returns) || record.visit.named.is_some() {
            return None;
        }
        record.visit.rules = self.generation.config.servers[record.visit.server].rules;
        self.server_script(record)
    }

    pub(super) fn look(&self, record: &mut Record) -> Step<'g> {
        let config = &*self.generation.config;
        let server = &config.servers[record.visit.server];
        if let Some(name) = record.visit.named.take() {
            let Some((_, location)) = server.named.iter().find(|(known, _)| *known == name) else {
                tracing::error!("there is no location @{name}");
                return Step::Reply(Reply::status(500));
            };
            self.enter(location, record);
            return self.content(record);
        }
        let path = std::mem::take(&mut record.visit.path);
        let found = route::location(config, &server.locations, &path);
        record.visit.path = path;
        match found {
            Found::Nothing => {
                record.visit.rules = server.rules;
            }
            Found::Location(location, captures) => {
                self.enter(location, record);
                if let Some(captures) = captures {
                    record.visit.keep_groups(&captures, config);
                    record.visit.captures = Some(captures);
                }
            }
            Found::AddSlash => {
                record.visit.rules = server.rules;
                return self.slash(record);
            }
        }
        let rules = config.rules(record.visit.rules);
        if rules.internal && record.visit.hops <= 1 {
            return Step::Reply(Reply::status(404));
        }
        if let BodyLength::Known(length) = self.request.body()
            && length > rules.max_body
            && record.visit.hops <= 1
        {
            return Step::Reply(Reply::status(413));
        }
        self.content(record)
    }

    /// The location's rules are in force, or those that it has for other methods.
    fn enter(&self, location: &Location, record: &mut Record) {
        record.visit.rules = location.rules;
        record.visit.mirrored = false;
        let rules = self.generation.config.rules(location.rules);
        if let Some(except) = &rules.limit_except {
            let method = if record.visit.as_get {
                "GET"
            } else {
                self.request.method()
            };
            if !except.methods.iter().any(|known| known == method) {
                record.visit.rules = except.rules;
            }
        }
        self.conn.rules.set(Some(record.visit.rules));
    }

    fn slash(&self, record: &Record) -> Step<'g> {
        let config = &*self.generation.config;
        let rules = config.rules(record.visit.rules);
        let query = record.visit.args.as_deref().or(self.request.query());
        let path = add_slash(&record.visit.path, query);
        let scene = Scene::new(self.conn, config, Some(self.request), record);
        let location = located(path, rules.redirects, &scene);
        Step::Reply(Reply::with(301, "Location", location))
    }

    /// What the rules in force say.
    fn content(&self, record: &mut Record) -> Step<'g> {
        let config = &*self.generation.config;
        let rules = config.rules(record.visit.rules);
        if !rules.script.is_empty() {
            let script = Script {
                conn: self.conn,
                config,
                request: self.request,
            };
            match script.run(&rules.script, record) {
                Flow::Step(step) => return step,
                Flow::Last | Flow::End { moved: true } => {
                    record.visit.rewritten = false;
                    return Step::Again;
                }
                Flow::Break | Flow::End { moved: false } => {}
            }
        }
        let rules = config.rules(record.visit.rules);
        self.conn.rules.set(Some(record.visit.rules));
        if rules.limit_requests.is_some() && record.limited.requests.is_none() {
            let scene = Scene::new(self.conn, config, Some(self.request), record);
            let counted = limit::requests(rules, &scene);
            record.limited.requests = counted.map(|(_, status)| status);
            match counted {
                None | Some((Turn::Now, _)) => {}
                Some((Turn::After(delay), _)) => return Step::Pause(Pause::Turn(delay)),
                Some((Turn::Never(status), _)) => return Step::Reply(Reply::status(status)),
            }
        }
        self.turn(record)
    }

    /// It is the request's turn: whether there are too many beside it, and whether it may ask at all.
    pub(super) fn turn(&self, record: &mut Record) -> Step<'g> {
        let config = &*self.generation.config;
        let rules = config.rules(record.visit.rules);
        if rules.limit_connections.is_some() && record.limited.connections.is_none() {
            let mut permits = Vec::new();
            let scene = Scene::new(self.conn, config, Some(self.request), record);
            let counted = limit::connections(rules, &scene, &mut permits);
            record.limited.connections = counted.map(|(_, status)| status);
            record.limited.permits = permits;
            if let Some((Turn::Never(status), _)) = counted {
                return Step::Reply(Reply::status(status));
            }
        }
        self.access(record)
    }

    /// Whether the request may go on, and what follows if it may.
    fn access(&self, record: &mut Record) -> Step<'g> {
        let config = &*self.generation.config;
        // A condition may have brought others into force.
        let rules = config.rules(record.visit.rules);
        if record.visit.is_own {
            return self.admitted(record);
        }
        if rules.access.is_empty() && rules.auth.is_none() {
            return self.authorised(record);
        }
        let scene = Scene::new(self.conn, config, Some(self.request), record);
        let admission = self.conn.engine.guard.admit(rules, &scene);
        self.judged(admission, record)
    }

    /// The same once a password was checked.
    pub(super) fn judged(&self, admission: Admission, record: &mut Record) -> Step<'g> {
        match admission {
            Admission::Granted => {
                record.visit.challenge = None;
                let rules = self.generation.config.rules(record.visit.rules);
                if rules.satisfy_any {
                    return self.admitted(record);
                }
                self.authorised(record)
            }
            Admission::Check(check) => Step::Pause(Pause::Check(check)),
            Admission::Refused(status, realm) => {
                record.visit.challenge = realm;
                let rules = self.generation.config.rules(record.visit.rules);
                if rules.satisfy_any && rules.auth_request.is_some() && status < 500 {
                    record.visit.refused = Some(status);
                    return self.authorised(record);
                }
                if status == 401 && !rules.auth_delay.is_zero() {
                    return Step::Pause(Pause::Refuse(rules.auth_delay));
                }
                Step::Reply(Reply::status(status))
            }
        }
    }

    /// Nobody objects: where the content comes from.
    pub(super) fn admitted(&self, record: &mut Record) -> Step<'g> {
        let config = &*self.generation.config;
        let rules = config.rules(record.visit.rules);
        if rules.mirror.is_some() && !record.visit.mirrored && !record.visit.is_own {
            return Step::Pause(Pause::Mirror);
        }
        if let Some(tries) = &rules.try_files {
            match self.try_files(tries, rules, record) {
                Some(step) => return step,
                // The path is that of the file now.
                None => record.visit.moved = true,
            }
        }
        match &rules.content {
            Content::Nothing => Step::Reply(Reply::status(404)),
            Content::Status if !matches!(self.request.method(), "GET" | "HEAD") => {
                Step::Reply(Reply::with(405, "Allow", "GET, HEAD"))
            }
            Content::Status => Step::Reply(status_page(self.conn)),
            Content::Files(files) => {
                let scene = Scene::new(self.conn, config, Some(self.request), record);
                match files::find(files, rules, &scene) {
                    File::File(entry, plan) => Step::File(entry, plan),
                    File::Reply(reply) => Step::Reply(reply),
                    File::AddSlash => self.slash(record),
                    File::Index(path) => {
                        go(record, path, None);
                        Step::Again
                    }
                }
            }
            Content::Proxy(_) if let Some(reply) = self.goes_no_further(rules, record) => {
                Step::Reply(reply)
            }
            Content::Proxy(pass) => match &pass.target {
                ProxyTarget::Group(index) => Step::Upstream(pass, self.generation.group(*index)),
                ProxyTarget::Dynamic(_) => self.dynamic(pass, record),
            },
        }
    }

    /// What is answered in place of forwarding a request that comes round again, or has come as far as it may
    /// (RFC 9110 sections 7.6.2 and 7.6.3).
    fn goes_no_further(&self, rules: &Rules, record: &Record) -> Option<Reply> {
        let name = rules.via.as_deref()?;
        if via::names(self.request.get_all("via"), name) {
            let config = &*self.generation.config;
            let told = Told::of(self.conn, config, Some(self.request), record);
            tell!(
                error,
                told,
                "the request comes round again: its Via names \"{name}\", which is this proxy; see where the upstream's \
                 address leads, and whether another proxy on the way has the same name in `via`"
            );
            return Some(Reply::status(508));
        }
        match via::left(&self.request) {
            Err(via::Unreadable) => Some(Reply::status(400)),
            Ok(Some(0)) => Some(Reply {
                body: Some(Default::default()),
                ..Reply::with(200, "Allow", ALL_METHODS)
            }),
            Ok(_) => None,
        }
    }

    /// `None` if the path is that of a file now.
    fn try_files(
        &self,
        tries: &'g TryFiles,
        rules: &Rules,
        record: &mut Record,
    ) -> Option<Step<'g>> {
        let config = &*self.generation.config;
        let files = match &rules.content {
            Content::Files(files) => Some(files),
            _ => rules.fallback_files.as_ref(),
        };
        for (template, wants_folder) in &tries.paths {
            let mut path =
                template.value(&Scene::new(self.conn, config, Some(self.request), record));
            if path.is_empty() {
                path.push(b'/');
            }
            let before = std::mem::replace(&mut record.visit.path, path[..].into());
            let found = files.is_some_and(|files| {
                files::exists(
                    files,
                    *wants_folder,
                    rules,
                    &Scene::new(self.conn, config, Some(self.request), record),
                )
            });
            if found {
                return None;
            }
            record.visit.path = before;
        }
        Some(match &tries.last {
            TryLast::Status(status) => Step::Reply(Reply::status(*status)),
            TryLast::Named(name) => {
                record.visit.named = Some(name.clone());
                Step::Again
            }
            TryLast::Uri(template) => {
                let uri =
                    template.value(&Scene::new(self.conn, config, Some(self.request), record));
                go_to(record, uri);
                Step::Again
            }
        })
    }

    /// Whom a URL with variables names.
    fn dynamic(&self, pass: &'g ProxyPass, record: &mut Record) -> Step<'g> {
        let ProxyTarget::Dynamic(template) = &pass.target else {
            return Step::Reply(Reply::status(500));
        };
        let config = &*self.generation.config;
        let url = template.value(&Scene::new(self.conn, config, Some(self.request), record));
        match self
            .generation
            .group_of(&self.conn.engine, pass.protocol, &url)
        {
            Ok((group, uri)) => {
                record.visit.upstream_uri = uri;
                record.visit.upstream_host = pass
                    .tls
                    .is_some()
                    .then(|| https_host(&url).map(<[u8]>::to_vec))
                    .flatten();
                Step::Upstream(pass, group)
            }
            Err(why) => {
                let told = Told::of(self.conn, config, Some(self.request), record);
                tell!(error, told, url = %url.escape_ascii(), "{why}");
                Step::Reply(Reply::status(500))
            }
        }
    }
}

/// What `return` says.
pub(super) fn fixed<'g>(redirect: &Return, rules: &Rules, scene: &Scene<'_>) -> Step<'g> {
    if redirect.status == 444 {
        return Step::Hang;
    }
    Step::Reply(match &redirect.body {
        ReturnBody::None => Reply::status(redirect.status),
        ReturnBody::Text(text) => {
            let kind = rules.kinds(scene).of(&scene.record.visit.path);
            Reply::text(redirect.status, kind, text.value(scene))
        }
        ReturnBody::Location(url) => {
            let url = clean(url, scene);
            let location = located(url, rules.redirects, scene);
            Reply::with(redirect.status, "Location", location)
        }
    })
}

/// The value without what would end its line.
pub(super) fn clean(template: &Template, scene: &Scene<'_>) -> Vec<u8> {
    let mut value = template.value(scene);
    value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    value
}

/// nginx's page of counters.
fn status_page(conn: &Conn) -> Reply {
    let Sums {
        accepted,
        requests,
        active,
        waiting,
    } = conn.engine.tally.sums();
    let text = format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
         Reading: 0 Writing: {} Waiting: {waiting} \n",
        active.saturating_sub(waiting)
    );
    Reply::text(200, "text/plain".to_owned(), text.into_bytes())
}

/// The host in a URL of `https://`.
fn https_host(url: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(url).ok()?;
    if !crate::config::nginx::is_https(text) {
        return None;
    }
    crate::config::nginx::split_url(text).map(|(target, _)| target.as_bytes())
}
