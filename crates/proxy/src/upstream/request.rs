//! What goes on of a request: its method, its target, its head in the upstream's protocol; and where its way begins.
//!
//! Not here: the bytes of the head (see `head`), or sending them.

use std::borrow::Cow;

use trine_http1::Request;

use super::forward::Job;
use super::head::{self, Facts};
use super::retry::Retries;
use super::{Trip, address_key};
use crate::config::{Method, Protocol, ProxyPass, Rebase, RequestFields};
use crate::conn::record::Record;
use crate::route::path;
use crate::template::Scene;
use crate::workbench::Workbench;

impl Job<'_> {
    /// Writes the head that the upstream gets.
    pub(super) fn write(&self, bench: &mut Workbench, record: &Record) -> Retries<'_> {
        match self.pass.protocol {
            Protocol::Http1 => self.write_http1(bench, record),
        }
        let request = bench.head.on(bench.input.all());
        Retries::new(
            &self.pass.next,
            method(record, &request),
            self.held.is_some(),
            self.group.usable(),
        )
    }

    /// Begins the way over the servers.
    pub(super) fn trip(&self, bench: &Workbench, record: &Record) -> Trip {
        self.group.trip(|method| match method {
            Method::Hash { key, .. } => key.value(&Scene {
                conn: self.conn,
                request: Some(bench.head.on(bench.input.all())),
                record,
                config: &self.generation.config,
                answer: None,
                sent: b"",
                captures: None,
            }),
            _ => address_key(self.conn, record),
        })
    }

    fn write_http1(&self, bench: &mut Workbench, record: &Record) {
        let Workbench {
            input,
            head,
            request: out,
            ..
        } = bench;
        let request = head.on(input.all());
        let Self {
            conn, group, pass, ..
        } = *self;
        let config = &self.generation.config;
        let method = method(record, &request);
        let target = target(pass, record, &request);
        let close = group.config.keepalive.count == 0;
        match &pass.fields {
            RequestFields::Forwarded => {
                let real_ip = record.real_ip.map(|addr| addr.to_string());
                let facts = Facts {
                    peer: &conn.peer_text,
                    real_ip: real_ip.as_deref().unwrap_or(&conn.peer_text),
                    trusted: conn.peer.is_trusted(&config.trusted),
                    port: conn.port,
                    scheme: conn.scheme(),
                    id: record.id(&conn.engine),
                    now: conn.engine.time.now(),
                    body: self.sent_as,
                    upgrade: head::wanted_upgrade(&request),
                    close,
                };
                head::write(out, method, &target, &request, &facts);
            }
            RequestFields::Set(fields) => {
                let scene = Scene {
                    conn,
                    request: Some(request),
                    record,
                    config,
                    answer: None,
                    sent: b"",
                    captures: None,
                };
                let order = head::Order {
                    fields,
                    underscores: config.servers[record.visit.server].underscores,
                    body: self.sent_as,
                    close,
                };
                head::write_set(out, method, &target, &request, &order, &scene);
            }
        }
    }
}

/// The method that goes on.
fn method<'a>(record: &Record, request: &Request<'a>) -> &'a str {
    if record.visit.as_get {
        "GET"
    } else {
        request.method()
    }
}

/// The request target that goes on.
pub(crate) fn target<'a>(
    pass: &ProxyPass,
    record: &'a Record,
    request: &Request<'a>,
) -> Cow<'a, [u8]> {
    let visit = &record.visit;
    if let Some(uri) = &visit.upstream_uri {
        return Cow::Borrowed(uri);
    }
    let query = visit.args.as_deref().or(request.query());
    let query = query.filter(|query| !query.is_empty());
    let path = match &pass.rebase {
        Rebase::Keep if !visit.moved => return head::origin_form(request),
        Rebase::Replace { with, strip } if !visit.rewritten => {
            let mut path = with.as_bytes().to_vec();
            let rest = visit.path.get(*strip..).unwrap_or_default();
            path::encode(rest, &mut path);
            path
        }
        Rebase::Keep | Rebase::Replace { .. } => {
            let mut path = Vec::new();
            path::encode(&visit.path, &mut path);
            path
        }
    };
    let mut target = path;
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    Cow::Owned(target)
}
