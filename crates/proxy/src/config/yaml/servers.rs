//! Servers and their locations: what answers where.
//!
//! Not here: upstreams, and all that is there once for the whole daemon.

use std::path::PathBuf;

use trine_config::Place;

use super::raw::{RawLocation, RawServer, RawTls, RawUpstream};
use super::{BACKLOG, Checker, MAX_BODY, UNIX_MODE};
use crate::config::model::{
    ClientCertificates, Content, Files, Http2Rules, Listen, Location, Locations, Matcher, Protocol,
    ProxyPass, ProxyTarget, Rebase, RequestFields, Rules, Server, TlsRules,
};
use crate::config::values::{Many, host_pattern, peer};

impl Checker<'_> {
    pub(super) fn server(&mut self, raw: &RawServer, at: &Place) -> Server {
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
        let max_body = raw.max_body.unwrap_or(MAX_BODY).0;
        let mut locations = Locations::default();
        for (index, location) in raw.locations.iter().enumerate() {
            let at = locations_at.index(index);
            let Some((matcher, content)) = self.location(location, &at) else {
                continue;
            };
            if locations.plain.iter().any(|other| other.matcher == matcher) {
                self.problems.push(
                    at.key("path"),
                    "is the path of two locations",
                    "remove one of them",
                );
            }
            locations.plain.push(Location {
                matcher,
                rules: self.rules(content, max_body),
                nested: Locations::default(),
            });
        }
        locations.sort();
        Server {
            name: raw.names.0.first().cloned().unwrap_or_default(),
            names,
            rules: self.rules(Content::Nothing, max_body),
            script: Vec::new(),
            locations,
            named: Vec::new(),
            underscores: false,
            merge_slashes: true,
            real_ip: None,
            timeouts: self.timeouts,
            tls: self.tls(raw.tls.as_ref(), &at.key("tls")),
            http2: Http2Rules {
                on: raw.tls.is_some(),
                ..Http2Rules::default()
            },
        }
    }

    fn tls(&mut self, raw: Option<&RawTls>, at: &Place) -> Option<TlsRules> {
        let raw = raw?;
        let (certificate, key) = (raw.certificate.as_deref(), raw.key.as_deref());
        if certificate.is_none() {
            self.problems
                .missing(at.key("certificate"), "name the file of the chain, PEM");
        }
        let certificate = self.path(certificate?);
        // A file may hold both.
        let key = key.map_or_else(|| certificate.clone(), |key| self.path(key));
        let clients = raw
            .client_ca
            .as_ref()
            .map(|authorities| ClientCertificates {
                authorities: self.path(authorities),
                required: true,
            });
        Some(TlsRules {
            certificates: vec![(certificate, key)],
            tls12: true,
            tls13: true,
            tickets: true,
            clients,
        })
    }

    /// Notes rules; returns their index.
    fn rules(&mut self, content: Content, max_body: u64) -> usize {
        self.rules.push(Rules {
            content,
            max_body,
            logs: self.logs.clone(),
            ..Rules::empty()
        });
        self.rules.len() - 1
    }

    fn location(&mut self, raw: &RawLocation, at: &Place) -> Option<(Matcher, Content)> {
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
                let files = Files::plain(root, path.len(), &index);
                Some((Matcher::Below(path), Content::Files(files)))
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
                Some((Matcher::Below(path?), self.pass(index)))
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

    /// Requests go on to this upstream as they are, with true forwarded fields.
    fn pass(&self, upstream: usize) -> Content {
        let patience = self.patience[upstream];
        Content::Proxy(Box::new(ProxyPass {
            protocol: Protocol::Http1,
            target: ProxyTarget::Group(upstream),
            rebase: Rebase::Keep,
            host: self.upstreams[upstream].name.clone(),
            port: 80,
            fields: RequestFields::Forwarded,
            hidden: Vec::new(),
            shown: Vec::new(),
            redirects: Vec::new(),
            connect_timeout: patience.connect,
            send_timeout: patience.send,
            read_timeout: patience.read,
            total_timeout: patience.total,
            intercepts_errors: false,
        }))
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
    pub(super) fn listens(&mut self, servers: &[RawServer], at: &Place) -> Vec<Listen> {
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
                    Some(listen) => {
                        if listen.tls != raw.tls.is_some() {
                            self.problems.push(
                                at.index(server).key("listen").index(number),
                                format!("{addr} cannot speak TLS for some servers only"),
                                "give every server on it `tls`, or none",
                            );
                        }
                        listen.servers.push(server);
                    }
                    None => listens.push(Listen {
                        addr,
                        mode: UNIX_MODE,
                        backlog: BACKLOG,
                        servers: vec![server],
                        has_default: false,
                        tls: raw.tls.is_some(),
                        http2: false,
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
