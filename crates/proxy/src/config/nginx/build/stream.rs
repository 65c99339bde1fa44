//! `stream`: servers of TCP and UDP.
//!
//! `stream_level` has what a block hands down. Not here: serving sessions (`layer4`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::super::units;
use super::stream_level::StreamLevel;
use super::upstream::peer_address;
use super::{Builder, arg, place};
use crate::config::model::{
    HostPattern, KeepAlive, Method, StreamContent, StreamLog, StreamTable, StreamTarget, Upstream,
};
use crate::layer4::template::{Names, Text};
use crate::limit::zone::Key;
use crate::pattern::Pattern;

/// What is known while a block is read.
pub(super) struct StreamNames {
    pub(super) names: Names,
    formats: Vec<(String, Arc<Text>, crate::config::model::LogEscape)>,
}

impl Builder<'_> {
    pub(super) fn stream(&mut self, block: &[Directive]) {
        let mut known = StreamNames {
            names: Names::default(),
            formats: Vec::new(),
        };
        let all = |name: &'static str| block.iter().filter(move |one| one.name.text == name);
        let is_table =
            |one: &&Directive| matches!(one.name.text.as_str(), "map" | "geo" | "split_clients");
        let tables = || block.iter().filter(is_table);
        for server in all("server") {
            let inner = server.block.as_deref().unwrap_or_default();
            for set in inner.iter().filter(|one| one.name.text == "set") {
                let name = arg(set, 0).trim_start_matches('$').to_ascii_lowercase();
                let next = known.names.slots.len();
                known.names.slots.entry(name).or_insert(next);
            }
        }
        self.streams.slots = known.names.slots.len();
        for (index, map) in tables().enumerate() {
            let name = map.args.last().map_or("", |word| word.text.as_str());
            let name = name.trim_start_matches('$').to_ascii_lowercase();
            known.names.maps.insert(name, index);
            if map.name.text != "map" {
                continue;
            }
            for row in map.block.as_deref().unwrap_or_default() {
                let source = row.name.text.trim_start_matches(['~', '*']);
                let pattern = Pattern::new(source, false).ok();
                let names = pattern.iter().flat_map(Pattern::names);
                known
                    .names
                    .groups
                    .extend(names.map(str::to_ascii_lowercase));
            }
        }
        let names = &known.names;
        let text =
            |builder: &mut Self, row: &Directive, text: &str| builder.stream_text(row, text, names);
        for table in tables() {
            let table = match table.name.text.as_str() {
                "geo" => StreamTable::Geo(self.geo_table(table, text)),
                "split_clients" => StreamTable::Split(self.split_table(table, text)),
                _ => StreamTable::Map(self.map_table(table, text)),
            };
            self.streams.maps.push(table);
        }
        for zone in all("limit_conn_zone") {
            self.zone(zone, |builder, row, key| {
                Key::Session(text(builder, row, key))
            });
        }
        for format in all("log_format") {
            let name = arg(format, 0).to_owned();
            let (text, escape) = self.format_text(format);
            let text = Arc::new(self.stream_text(format, &text, &known.names));
            if known.formats.iter().any(|(other, ..)| *other == name) {
                self.wrong(
                    format,
                    format!("duplicate \"log_format\" name \"{name}\""),
                    "",
                );
            }
            known.formats.push((name, text, escape));
        }
        for upstream in all("upstream") {
            self.stream_upstream(upstream, &known.names);
        }
        let mut level = StreamLevel::new();
        self.apply_stream(&mut level, block, &known);
        for server in all("server") {
            self.stream_server(server, &level, &known);
        }
        self.give_resolvers(&level.names, true);
    }

    /// A string with the variables of sessions.
    pub(super) fn stream_text(&mut self, directive: &Directive, text: &str, names: &Names) -> Text {
        Text::parse(text, names).unwrap_or_else(|error| {
            self.wrong(directive, error, "");
            Text::default()
        })
    }

    fn stream_upstream(&mut self, directive: &Directive, names: &Names) {
        let block = directive.block.as_deref().unwrap_or_default();
        let name = arg(directive, 0).to_owned();
        let mut key = Text::default();
        let mut method = Method::RoundRobin;
        let (mut primaries, mut backups) = (Vec::new(), Vec::new());
        for inner in block {
            match inner.name.text.as_str() {
                "server" => {
                    if let Some((server, backup)) = self.upstream_server(inner, &method) {
                        if server.addr.port() == Some(80) && !server.text.ends_with(":80") {
                            let message = format!("no port in upstream \"{}\"", server.text);
                            self.wrong(inner, message, "write HOST:PORT or unix:/path");
                        }
                        if server.resolve {
                            self.followers.push((name.clone(), inner.at.clone()));
                        }
                        let list = if backup { &mut backups } else { &mut primaries };
                        list.push(server);
                    }
                }
                "least_conn" => method = Method::LeastConn,
                "random" => method = self.random(inner),
                "hash" => {
                    key = self.stream_text(inner, arg(inner, 0), names);
                    let consistent = match arg(inner, 1) {
                        "" => false,
                        "consistent" => true,
                        other => {
                            self.wrong(inner, format!("invalid parameter \"{other}\""), "");
                            false
                        }
                    };
                    method = Method::Hash {
                        // What is hashed is the session's, see `Upstream::stream`.
                        key: crate::template::Template::default(),
                        consistent,
                    };
                }
                _ => {}
            }
        }
        if primaries.is_empty() {
            let message = format!("no servers are inside upstream \"{name}\"");
            self.wrong(directive, message, "");
            return;
        }
        let known = |one: &Upstream| one.stream.is_some() && one.name == name;
        if self.upstreams.iter().any(known) {
            self.wrong(directive, format!("duplicate upstream \"{name}\""), "");
        }
        let first = primaries[0].addr.clone();
        let count = primaries.len();
        primaries.extend(backups);
        self.upstreams.push(Upstream {
            primaries: count,
            servers: primaries,
            method,
            implicit: false,
            stream: Some(key),
            ..Upstream::single(&name, first, no_keepalive())
        });
    }

    /// Whom `proxy_pass` means.
    fn stream_target(&mut self, directive: &Directive, names: &Names) -> Option<StreamTarget> {
        let target = arg(directive, 0);
        if target.contains('$') {
            let text = self.stream_text(directive, target, names);
            return Some(StreamTarget::Named(text));
        }
        let fits = |one: &Upstream| one.stream.is_some() && one.name == target;
        if let Some(known) = self.upstreams.iter().position(fits) {
            return Some(StreamTarget::Group(known));
        }
        let Some(addr) = peer_address(target, 0) else {
            self.wrong(
                directive,
                format!("invalid host in upstream \"{target}\""),
                "",
            );
            return None;
        };
        if addr.port() == Some(0) {
            let message = format!("no port in upstream \"{target}\"");
            let help = "write HOST:PORT, unix:/path, or the name of an upstream of `stream`";
            self.wrong(directive, message, help);
            return None;
        }
        let mut upstream = Upstream {
            stream: Some(Text::default()),
            ..Upstream::single(target, addr, no_keepalive())
        };
        upstream.servers[0].at = place(directive);
        self.upstreams.push(upstream);
        Some(StreamTarget::Group(self.upstreams.len() - 1))
    }

    fn stream_server(&mut self, directive: &Directive, outer: &StreamLevel, known: &StreamNames) {
        let block = directive.block.as_deref().unwrap_or_default();
        let mut level = outer.clone();
        self.apply_stream(&mut level, block, known);
        let mut content = None;
        let (mut names, mut sets) = (Vec::new(), Vec::new());
        for inner in block {
            match inner.name.text.as_str() {
                "set" => {
                    let name = arg(inner, 0).trim_start_matches('$').to_ascii_lowercase();
                    let slot = known.names.slots.get(&name).copied();
                    if !arg(inner, 0).starts_with('$') || names_fixed(&name) {
                        let message = format!("invalid variable name \"{}\"", arg(inner, 0));
                        self.wrong(inner, message, "name one of your own: $name");
                    }
                    let value = self.stream_text(inner, arg(inner, 1), &known.names);
                    sets.extend(slot.map(|slot| (slot, value)));
                }
                "server_name" => {
                    for word in &inner.args {
                        self.server_name(inner, &word.text, &mut names);
                    }
                }
                "proxy_pass" => {
                    if let Some(target) = self.stream_target(inner, &known.names) {
                        let pass = self.stream_pass(inner, &level, target);
                        content = Some(StreamContent::Pass(pass));
                    }
                }
                "return" => {
                    let text = self.stream_text(inner, arg(inner, 0), &known.names);
                    content = Some(StreamContent::Return(text));
                }
                _ => {}
            }
        }
        self.check_tls(directive, &level.tls);
        // One without a name is for clients that ask for none.
        if names.is_empty() {
            names.push(HostPattern::Exact(String::new()));
        }
        let number = self.streams.servers.len();
        let mut listens = false;
        for inner in block.iter().filter(|one| one.name.text == "listen") {
            listens = true;
            self.stream_listen(inner, number, &names);
        }
        if !listens {
            self.wrong(directive, "no \"listen\" is defined for server", "add one");
        }
        let Some(content) = content else {
            if !block.iter().any(|one| one.name.text == "proxy_pass") {
                let help = "add `proxy_pass` or `return`";
                self.wrong(directive, "the server does nothing with its sessions", help);
            }
            return;
        };
        self.streams
            .servers
            .push(level.server(names, sets, content));
    }

    /// `access_log path format`.
    pub(super) fn stream_log(
        &mut self,
        directive: &Directive,
        known: &StreamNames,
    ) -> Option<StreamLog> {
        let line = self.log_line(directive)?;
        let Some(name) = line.format else {
            self.wrong(
                directive,
                "log format is not specified",
                "name a `log_format`",
            );
            return None;
        };
        let format = known.formats.iter().find(|(other, ..)| other == name);
        let Some((_, format, escape)) = format else {
            self.wrong(directive, format!("unknown log format \"{name}\""), "");
            return None;
        };
        let condition = line
            .condition
            .map(|text| self.stream_text(directive, text, &known.names));
        Some(StreamLog {
            log: line.log,
            format: Arc::clone(format),
            escape: *escape,
            condition,
        })
    }

    /// A number from 0.
    pub(super) fn stream_number<T: std::str::FromStr>(
        &mut self,
        directive: &Directive,
    ) -> Option<T> {
        let number = arg(directive, 0).parse().ok();
        if number.is_none() {
            self.invalid_number(directive);
        }
        number
    }

    pub(super) fn stream_size(&mut self, directive: &Directive) -> Option<usize> {
        let size = units::size(arg(directive, 0)).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| (1..=MOST_PREREAD).contains(size));
        if size.is_none() {
            self.invalid(directive);
        }
        size
    }
}

/// Whether the name is that of a variable that cannot be set.
fn names_fixed(name: &str) -> bool {
    Text::parse(&format!("${{{name}}}"), &Names::default()).is_ok()
}

/// No client's first bytes are more.
const MOST_PREREAD: usize = 1 << 20;

/// Connections serve one session each.
fn no_keepalive() -> KeepAlive {
    KeepAlive {
        count: 0,
        ..KeepAlive::default()
    }
}
