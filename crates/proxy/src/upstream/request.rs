//! What goes on of a request: its method, its target, its head in the upstream's protocol; and where its way begins.
//!
//! Not here: the bytes of the head (see `head`), or sending them.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use trine_gateway::fastcgi::{Kind, Role, write_begin, write_stream};
use trine_gateway::{Form, Pairs};
use trine_http1::{BodyLength, Request};

use super::codec::REQUEST_ID;
use super::connect::Secure;
use super::fault::Fault;
use super::forward::Job;
use super::head::{self, Facts};
use super::params;
use super::retry::Retries;
use super::trace;
use super::{Trip, address_key};
use crate::cache::Fetch;
use crate::config::{Gateway, Method, Protocol, ProxyPass, Rebase, RequestFields};
use crate::conn::record::Record;
use crate::headers::via::Hop;
use crate::route::path;
use crate::template::Scene;
use crate::workbench::Workbench;

impl Job<'_> {
    /// Writes the head that the upstream gets.
    pub(super) fn write(
        &self,
        bench: &mut Workbench,
        record: &Record,
        fetch: Option<&Fetch>,
    ) -> Result<Retries<'_>, Fault> {
        match self.pass.protocol {
            Protocol::Http1 => self.write_http1(bench, record, fetch),
            Protocol::FastCgi | Protocol::Uwsgi | Protocol::Scgi => {
                self.write_variables(bench, record, fetch)?;
            }
        }
        let request = bench.head.on(bench.input.all());
        let given = self.method(&request, record, fetch);
        Ok(Retries::new(
            &self.pass.next,
            given.as_deref().unwrap_or(method(record, &request)),
            self.repeatable,
            self.group.usable(),
        ))
    }

    /// Begins the way over the servers.
    pub(super) fn trip(&self, bench: &Workbench, record: &Record) -> Trip {
        let mut trip = self.group.trip(|method| match method {
            Method::Hash { key, .. } => {
                let request = bench.head.on(bench.input.all());
                key.value(&self.scene(&request, record))
            }
            _ => address_key(self.conn, record),
        });
        trip.bound = self.bound(bench, record);
        trip
    }

    /// Where connections come from.
    pub(super) fn bind(&self, bench: &Workbench, record: &Record) -> Option<SocketAddr> {
        let template = self.pass.outgoing.bind.as_ref()?;
        let request = bench.head.on(bench.input.all());
        let value = template.value(&self.scene(&request, record));
        let text = String::from_utf8_lossy(&value);
        let addr = crate::config::nginx::local_address(&text);
        if addr.is_none() && !text.is_empty() {
            tracing::error!("invalid local address {text:?}, connections come from any");
        }
        addr
    }

    /// TLS towards the servers, if the URL asks for it.
    pub(super) fn secure(&self, bench: &Workbench, record: &Record) -> Option<Secure> {
        let tls = self.pass.tls.as_ref()?;
        let named = record.visit.upstream_host.as_deref();
        if !tls.always && named.is_none() {
            return None;
        }
        let dial = self.generation.fleet.dials.get(tls.dial)?;
        let name = match &tls.name {
            Some(name) => name.value(&Scene::new(
                self.conn,
                &self.generation.config,
                Some(bench.head.on(bench.input.all())),
                record,
            )),
            None => named.unwrap_or(self.pass.host.as_bytes()).to_vec(),
        };
        let text = String::from_utf8_lossy(&name);
        // A port is no part of it.
        let host = match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &text,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // What is no name at all cannot be told or verified, which a server that is not verified need not care for.
        let server = ServerName::try_from(host.to_owned())
            .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        Some(Secure {
            config: Arc::clone(&dial.config),
            tag: dial.tag_for(&name),
            name: server,
        })
    }

    fn write_http1(&self, bench: &mut Workbench, record: &Record, fetch: Option<&Fetch>) {
        let Workbench {
            input,
            head,
            request: out,
            ..
        } = bench;
        let request = head.on(input.all());
        let Self { conn, pass, .. } = *self;
        let config = &self.generation.config;
        let given = self.method(&request, record, fetch);
        let method = given.as_deref().unwrap_or(method(record, &request));
        let target = target(pass, record, &request);
        let close = self.group.config.keepalive.count == 0;
        let hop = self.hop(&request);
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
                    fetch,
                    hop,
                };
                head::write(out, method, &target, &request, &facts);
            }
            RequestFields::Set(fields) => {
                let scene = self.scene(&request, record);
                let order = head::Order {
                    fields,
                    names: config.servers[record.visit.server].field_names,
                    passes_trailers: pass.shaping.passes_trailers,
                    passes_fields: pass.shaping.passes_fields,
                    body: self.sent_as,
                    close,
                    fetch,
                    hop,
                };
                head::write_set(out, method, &target, &request, &order, &scene);
            }
        }
        if let Some(trace) = self.trace(&request, record) {
            trace::put(out, trace);
        }
    }

    /// What is told of this hop, if anything is.
    fn hop<'r>(&'r self, request: &Request<'r>) -> Option<Hop<'r>> {
        let name = self.rules.via.as_deref()?;
        Some(Hop::new(name, request))
    }

    /// The trace that begins with this request, if one does.
    fn trace<'r>(&self, request: &Request<'_>, record: &'r Record) -> Option<&'r [u8]> {
        if !self.pass.shaping.traces || trace::given(request).is_some() {
            return None;
        }
        let engine = &self.conn.engine;
        let begin = || trace::begun(&record.any_id(engine), &engine.ids.next());
        Some(record.trace.get_or_init(begin))
    }

    /// The head of a request that is variables.
    fn write_variables(
        &self,
        bench: &mut Workbench,
        record: &Record,
        fetch: Option<&Fetch>,
    ) -> Result<(), Fault> {
        let Workbench {
            input,
            head,
            request: out,
            ..
        } = bench;
        let request = head.on(input.all());
        let none = Gateway::default();
        let gateway = self.pass.gateway.as_deref().unwrap_or(&none);
        let scene = Scene {
            body: Some(self.sent_as),
            ..self.scene(&request, record)
        };
        let length = match self.sent_as {
            BodyLength::Known(length) => length,
            BodyLength::Empty | BodyLength::Chunked | BodyLength::UntilClose => 0,
        };
        let order = params::Order {
            gateway,
            names: self.generation.config.servers[record.visit.server].field_names,
            passes_fields: self.pass.shaping.passes_fields,
            has_length: length > 0 || request.get("content-length") == Some(b"0"),
            fetch,
            trace: self.trace(&request, record),
            hop: self.hop(&request),
        };
        out.clear();
        let form = match self.pass.protocol {
            Protocol::Scgi => Form::Scgi {
                content_length: length,
            },
            Protocol::Uwsgi => {
                let (modifier1, modifier2) = gateway.modifiers;
                Form::Uwsgi {
                    modifier1,
                    modifier2,
                }
            }
            Protocol::FastCgi | Protocol::Http1 => {
                let keep = gateway.keep && self.group.config.keepalive.count > 0;
                let role = if gateway.authorizer {
                    Role::Authorizer
                } else {
                    Role::Responder
                };
                write_begin(out, REQUEST_ID, role, keep);
                Form::FastCgi { id: REQUEST_ID }
            }
        };
        let mut pairs = Pairs::new(out, form);
        params::write(&mut pairs, &order, &request, &scene);
        pairs.behind(&gateway.behind);
        pairs.end().map_err(Fault::Variables)
    }

    /// Appends a body of our own, as far as the protocol frames one.
    pub(super) fn write_own_body(&self, out: &mut Vec<u8>, body: &[u8]) {
        match self.pass.protocol {
            Protocol::FastCgi => write_stream(out, Kind::STDIN, REQUEST_ID, body),
            Protocol::Http1 | Protocol::Uwsgi | Protocol::Scgi => out.extend_from_slice(body),
        }
    }

    /// The method that is configured. HEAD stays HEAD: its answer has no body that could be sent.
    fn method(
        &self,
        request: &Request<'_>,
        record: &Record,
        fetch: Option<&Fetch>,
    ) -> Option<String> {
        if fetch.is_some_and(|fetch| fetch.converts) {
            return Some("GET".to_owned());
        }
        let template = self.pass.shaping.method.as_ref()?;
        if request.method() == "HEAD" {
            return None;
        }
        let scene = self.scene(request, record);
        let method = String::from_utf8(template.value(&scene)).ok()?;
        let is_word = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_other =
            method.eq_ignore_ascii_case("head") || method.eq_ignore_ascii_case("connect");
        (is_word && !is_other).then(|| method.to_ascii_uppercase())
    }

    /// What strings with variables look at.
    pub(super) fn scene<'s>(&'s self, request: &Request<'s>, record: &'s Record) -> Scene<'s> {
        Scene::new(self.conn, &self.generation.config, Some(*request), record)
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
