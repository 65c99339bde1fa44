//! `stream` to nginx's block of that name: TCP and UDP below HTTP.
//!
//! Not here: words (`lower`), what the block means (`config::nginx`).

use trine_config::Place;

use super::Checker;
use super::lower::{block, directive};
use super::raw::{RawStream, RawStreamServer, RawStreamUpstream};
use crate::config::nginx::tree::Directive;

impl Checker<'_> {
    pub(super) fn stream(&mut self, raw: &RawStream, at: &Place) -> Vec<Directive> {
        let mut inner = self.words(at);
        let upstreams_at = at.key("upstreams");
        for (name, upstream) in &raw.upstreams {
            inner.push(self.stream_upstream(name, upstream, &upstreams_at.key(name)));
        }
        let servers_at = at.key("servers");
        for (index, server) in raw.servers.iter().enumerate() {
            inner.push(self.stream_server(server, &servers_at.index(index)));
        }
        inner
    }

    fn stream_server(&mut self, raw: &RawStreamServer, at: &Place) -> Directive {
        let listen_at = at.key("listen");
        if raw.listen.0.is_empty() {
            let help = "say where, such as 127.0.0.1:6379 or \"53 udp\"";
            self.problems.missing(listen_at.clone(), help);
        }
        let mut inner = Vec::new();
        for (index, listen) in raw.listen.0.iter().enumerate() {
            let full = self.full_address(&listen.0);
            let mut words: Vec<&str> = listen.0.split_whitespace().collect();
            if let Some(full) = &full {
                words[0] = full;
            }
            inner.push(directive("listen", &words, &listen_at.index(index)));
        }
        if !raw.names.0.is_empty() {
            let names: Vec<&str> = raw.names.0.iter().map(String::as_str).collect();
            inner.push(directive("server_name", &names, &at.key("names")));
        }
        inner.extend(self.words(at));
        block("server", &[], inner, at)
    }

    fn stream_upstream(&mut self, name: &str, raw: &RawStreamUpstream, at: &Place) -> Directive {
        let servers_at = at.key("servers");
        if raw.servers.0.is_empty() {
            let help = "list the addresses, such as [\"10.0.0.1:6379\"]";
            self.problems.missing(servers_at.clone(), help);
        }
        let server = |(index, text): (usize, &String)| {
            let words: Vec<&str> = text.split_whitespace().collect();
            directive("server", &words, &servers_at.index(index))
        };
        let mut inner: Vec<_> = raw.servers.0.iter().enumerate().map(server).collect();
        inner.extend(self.words(at));
        block("upstream", &[name], inner, at)
    }
}
