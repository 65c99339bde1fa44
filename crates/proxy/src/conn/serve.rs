//! Decides who answers a request, and has it answered.
//!
//! The phases are nginx's, as plain calls in a row: server, location, fixed answer, access, `try_files`, content. An
//! internal redirect goes round once more. Not here: one round (`stage`), finding a location (`route`), or the work
//! (`files`, `upstream`, `cached`, `answer`).

use std::rc::Rc;
use std::time::Instant;

use trine_http1::{Request, TargetForm};

use super::answer::answer;
use super::around;
use super::cached::cached;
use super::parts;
use super::pause::{After, Pause};
use super::record::{AS_IT_COMES, Record};
use super::reply::Reply;
use super::stage::{Stage, clean};
use super::subrequest::mirror;
use super::told::{Told, tell};
use super::{Conn, Ending};
use crate::cache::ready;
use crate::config::{Config, Demand, ErrorTarget, ProxyPass, Rules};
use crate::engine::Generation;
use crate::files;
use crate::headers::forwarded;
use crate::route::{self, path};
use crate::template::Scene;
use crate::tls::Verdict;
use crate::upstream::Group;
use crate::upstream::accel::Target;
use crate::upstream::fault::{Blame, Fault};
use crate::upstream::forward::forward;
use crate::upstream::pool::add;
use crate::upstream::request::target;
use crate::workbench::Workbench;

/// What `OPTIONS *` tells: the methods that some location may answer.
pub(super) const ALL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Internal redirects of one request, as in nginx.
const MOST_HOPS: u8 = 10;

/// What happens next with a request.
pub(super) enum Step<'g> {
    /// The path or location has changed: look again.
    Again,
    Reply(Reply),
    /// Close without a word.
    Hang,
    File(Rc<files::cache::Entry>, files::Plan),
    Upstream(&'g ProxyPass, Rc<Group>),
    /// It goes on later.
    Pause(Pause),
}

/// Serves the request on the bench.
pub(super) async fn serve(conn: &Conn, bench: &mut Workbench, record: &mut Record) -> Ending {
    let generation = conn.renew();
    let request = bench.head.on(bench.input.all());
    let step = arrive(conn, &generation, &request, record);
    go_on(conn, bench, record, &generation, step).await
}

/// Does what is next, until there is an answer.
pub(super) async fn go_on<'g>(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    generation: &'g Rc<Generation>,
    first: Step<'g>,
) -> Ending {
    let config = &*generation.config;
    let mut step = first;
    loop {
        let request = bench.head.on(bench.input.all());
        let rules = config.rules(record.visit.rules);
        if let Some(additions) = &rules.additions
            && around::is_due(&step, rules, &request, record)
        {
            let texts = around::fetch(conn, generation, request, record, additions);
            let Ok(texts) = conn.within(None, true, texts).await else {
                record.status = 499;
                return Ending::Close;
            };
            record.visit.around = Some((record.visit.rules, texts));
            continue;
        }
        let status = match step {
            Step::Again => {
                record.visit.hops += 1;
                if record.visit.hops > MOST_HOPS + 1 {
                    tell!(
                        error,
                        Told::of(conn, config, Some(request), record),
                        "rewrite or internal redirection cycle"
                    );
                    step = Step::Reply(Reply::status(500));
                    record.visit.error = Some(500);
                    continue;
                }
                let stage = Stage {
                    conn,
                    generation,
                    request,
                };
                step = stage
                    .return_to_server(record)
                    .unwrap_or_else(|| stage.look(record));
                continue;
            }
            Step::Pause(Pause::Mirror) => {
                let sent = Box::pin(mirror(conn, bench, record, generation, rules)).await;
                if let Err(fault) = sent {
                    record.status = fault.status();
                    return Ending::Close;
                }
                let stage = Stage {
                    conn,
                    generation,
                    request: bench.head.on(bench.input.all()),
                };
                step = After::Mirrored.go_on(&stage, record);
                continue;
            }
            Step::Pause(pause) => {
                let Some(after) = Box::pin(pause.wait(conn)).await else {
                    record.status = 499;
                    return Ending::Close;
                };
                let stage = Stage {
                    conn,
                    generation,
                    request,
                };
                step = after.go_on(&stage, record);
                continue;
            }
            Step::Hang => {
                record.status = 444;
                return if conn.timeouts().resets {
                    Ending::Reset
                } else {
                    Ending::Close
                };
            }
            Step::File(entry, plan) => {
                return files::serve(conn, bench, record, generation, &entry, &plan).await;
            }
            Step::Upstream(pass, group)
                if let Some(make) = parts::make(config, rules, pass, &request, record) =>
            {
                let sent = parts::serve(conn, bench, generation, &group, record, make);
                match Box::pin(sent).await {
                    Ok(ending) => return ending,
                    Err(reply) => reply,
                }
            }
            Step::Upstream(pass, group) if pass.cache.is_some() => {
                let early = match ready::hit(conn, bench, generation, pass, record) {
                    Ok(hit) => return hit.send(conn, bench, record).await,
                    Err(early) => early,
                };
                let sent = cached(conn, bench, generation, &group, pass, record, early);
                let sent = Box::pin(sent);
                match sent.await {
                    Ok(ending) => return ending,
                    Err(reply) => reply,
                }
            }
            Step::Upstream(pass, group) => {
                let sent = forward(conn, bench, generation, &group, pass, rules, record, None);
                match sent.await {
                    Ok(ending) => return ending,
                    Err(Fault::Handed) => {
                        let request = bench.head.on(bench.input.all());
                        match handed(conn, &request, record) {
                            Step::Reply(reply) => reply,
                            other => {
                                step = other;
                                continue;
                            }
                        }
                    }
                    Err(fault) => {
                        report(conn, config, bench, record, pass, &group, &fault);
                        if let Some(ending) = lost(conn, record, &fault) {
                            return ending;
                        }
                        Reply::status(fault.status())
                    }
                }
            }
            Step::Reply(reply) => reply,
        };
        let request = bench.head.on(bench.input.all());
        match error_page(conn, config, rules, request, record, &status) {
            Some(next) => step = next,
            None => {
                let status = Reply {
                    status: told(status.status),
                    ..status
                };
                return Box::pin(answer(conn, bench, record, generation, &status)).await;
            }
        }
    }
}

/// The server, its first word, and the path that locations are looked up by.
pub(super) fn arrive<'g>(
    conn: &Conn,
    generation: &'g Generation,
    request: &Request<'_>,
    record: &mut Record,
) -> Step<'g> {
    let config = &*generation.config;
    let servers = generation
        .listen(conn.door)
        .map_or(&[][..], |listen| listen.servers.as_slice());
    let Some((index, captures)) = route::host::find(config, servers, request.authority()) else {
        return Step::Reply(Reply::status(404));
    };
    let server = &config.servers[index];
    conn.server.set(Some(index));
    record.visit.server = index;
    record.visit.rules = server.rules;
    if let Some(captures) = &captures {
        record.visit.keep_groups(captures, config);
    }
    // Until an expression of a location or a script takes their place.
    record.visit.captures = captures.map(Box::new);
    record
        .visit
        .server_captures
        .clone_from(&record.visit.captures);
    real_ip(conn, config, request, record);
    if let Some(status) = distrust(conn, generation, index) {
        return Step::Reply(Reply::status(status));
    }
    match (request.method(), request.target_form()) {
        ("CONNECT" | "TRACE", _) => {
            return Step::Reply(Reply::with(405, "Allow", ALL_METHODS));
        }
        (_, TargetForm::Asterisk) => {
            return Step::Reply(Reply::with(204, "Allow", ALL_METHODS));
        }
        _ => {}
    }
    let Ok(normal) = path::normalise(request.path(), server.merge_slashes) else {
        return Step::Reply(Reply::status(400));
    };
    record.visit.path = normal.path[..].into();
    record.visit.hidden_separator = normal.hidden_separator;
    let stage = Stage {
        conn,
        generation,
        request: *request,
    };
    stage.server_script(record).unwrap_or(Step::Again)
}

/// The status of a client that has not proved who it is as its server wants it to, by nginx's numbers: 495 for a bad
/// certificate, 496 for none, 497 for no TLS, and 421 for one that has proved it to another server.
fn distrust(conn: &Conn, generation: &Generation, server: usize) -> Option<u16> {
    if conn.is_undressed {
        return Some(497);
    }
    let config = &*generation.config;
    let clients = config.servers[server].tls.as_ref()?.clients.as_ref()?;
    // A request that is only thought of has no handshake.
    let tls = conn.stream.tls().filter(|tls| tls.has_begun())?;
    let name = tls.server_name();
    let servers = &generation.listen(conn.door)?.servers;
    let met = route::host::find(config, servers, name.as_deref().map(str::as_bytes));
    if met.is_some_and(|(met, _)| met != server) {
        return Some(421);
    }
    match tls.verdict() {
        Verdict::Good => None,
        Verdict::Nothing if clients.demand == Demand::Required => Some(496),
        Verdict::Nothing => None,
        Verdict::Bad { unknown: true, .. } if clients.demand == Demand::OptionalNoCa => None,
        Verdict::Bad { why, .. } => {
            tracing::info!(client = %conn.peer_text, "client SSL certificate verify error: {why}");
            Some(495)
        }
    }
}

/// What goes out for statuses that only `error_page` knows.
fn told(status: u16) -> u16 {
    if matches!(status, 494..=497) {
        400
    } else {
        status
    }
}

/// The client's address, as far as trusted proxies tell it.
fn real_ip(conn: &Conn, config: &Config, request: &Request<'_>, record: &mut Record) {
    if conn.peer.is_trusted(&config.trusted) {
        let chain: smallvec::SmallVec<[&[u8]; 2]> = request.get_all("x-forwarded-for").collect();
        record.real_ip = forwarded::real_ip(&config.trusted, chain.into_iter());
    }
    if let Some(rule) = &config.servers[record.visit.server].real_ip
        && conn.peer.is_trusted(&rule.trusted)
    {
        if rule.header == "proxy_protocol" {
            record.real_ip = conn.introduced.as_deref().map(|(from, _)| from.ip());
            return;
        }
        let chain: smallvec::SmallVec<[&[u8]; 2]> = request.get_all(&rule.header).collect();
        record.real_ip = if rule.recursive {
            forwarded::real_ip(&rule.trusted, chain.into_iter())
        } else {
            forwarded::real_ip(&Default::default(), chain.into_iter())
        };
    }
}

/// Goes on with another path in the same server.
pub(super) fn go(record: &mut Record, path: Vec<u8>, args: Option<Vec<u8>>) {
    record.visit.path = path[..].into();
    record.visit.moved = true;
    record.visit.returns = true;
    if args.is_some() {
        record.visit.args = args;
    }
}

/// The same for a URI that may have a query, and leads away from the client's own if it has none.
pub(super) fn go_to(record: &mut Record, uri: Vec<u8>) {
    match memchr::memchr(b'?', &uri) {
        Some(at) => go(record, uri[..at].to_vec(), Some(uri[at + 1..].to_vec())),
        None => go(record, uri, Some(Vec::new())),
    }
}

/// Another round for the location that an upstream names by `X-Accel-Redirect`.
fn handed<'g>(conn: &Conn, request: &Request<'_>, record: &mut Record) -> Step<'g> {
    let Some(accel) = record.visit.accel.take() else {
        return Step::Reply(Reply::status(500));
    };
    let accel = *accel;
    record.visit.carried.extend_from_slice(&accel.carried);
    if accel.content_type.is_some() {
        record.visit.content_type = accel.content_type;
    }
    record.visit.upstream_uri = None;
    match accel.target {
        Target::Unsafe => {
            tracing::error!(client = %conn.peer_text, "unsafe URI in X-Accel-Redirect was detected");
            return Step::Reply(Reply::status(404));
        }
        Target::Named(name) => record.visit.named = Some(name),
        Target::Path { path, args } => {
            record.visit.as_get = request.method() != "HEAD";
            record.visit.rewritten = false;
            record.visit.args = Some(args.unwrap_or_default());
            go(record, path, None);
        }
    }
    Step::Again
}

/// Another round for the page that stands for an error, if the location has one.
pub(super) fn error_page<'g>(
    conn: &Conn,
    config: &Config,
    rules: &Rules,
    request: Request<'_>,
    record: &mut Record,
    reply: &Reply,
) -> Option<Step<'g>> {
    let is_error = reply.status >= 300 && reply.body.is_none() && record.status == 0;
    if !is_error || (record.visit.error.is_some() && !rules.recursive_errors) {
        return None;
    }
    let page = rules.error_page(reply.status)?;
    record.visit.error = match page.status {
        None => Some(told(reply.status)),
        Some(given) => given,
    };
    record.visit.error.get_or_insert(AS_IT_COMES);
    let scene = Scene::new(conn, config, Some(request), record);
    match &page.target {
        ErrorTarget::Named(name) => {
            record.visit.named = Some(name.clone());
        }
        ErrorTarget::Uri(template) => {
            let uri = template.value(&scene);
            record.visit.as_get = request.method() != "HEAD";
            go_to(record, uri);
        }
        ErrorTarget::Url(template) => {
            let status = match page.status {
                Some(Some(status @ (301 | 302 | 303 | 307 | 308))) => status,
                _ => 302,
            };
            let location = clean(template, &scene);
            record.visit.error = Some(status);
            return Some(Step::Reply(Reply::with(status, "Location", location)));
        }
    }
    Some(Step::Again)
}

/// Whether nobody can be told of the fault any more, and what becomes of the connection then.
pub(super) fn lost(conn: &Conn, record: &mut Record, fault: &Fault) -> Option<Ending> {
    let gone = matches!(fault, Fault::ClientGone { .. });
    if record.status != 0 {
        // The head is out: the only way to tell is to break off.
        if gone {
            record.status = 499;
        }
        return Some(Ending::Reset);
    }
    if gone {
        record.status = fault.status();
        return Some(Ending::Close);
    }
    if fault.status() == 408 && conn.timeouts().resets {
        record.status = fault.status();
        return Some(Ending::Reset);
    }
    None
}

pub(super) fn report(
    conn: &Conn,
    config: &Config,
    bench: &Workbench,
    record: &Record,
    pass: &ProxyPass,
    group: &Group,
    fault: &Fault,
) {
    let request = bench.head.on(bench.input.all());
    let cause = trine_service::exit::chain(fault);
    let server = match (record.server(), group.config.servers.as_slice()) {
        (Some(peer), _) => peer.name.clone(),
        (None, [only]) => only.addr.to_string(),
        (None, _) => group.config.name.clone(),
    };
    let asked = target(pass, record, &request);
    let told = Told {
        upstream: Some(pass.shown_url(&server, &asked)),
        ..Told::of(conn, config, Some(request), record)
    };
    let after_ms = Instant::now().duration_since(record.started).as_millis();
    match fault.blame() {
        Blame::Nobody => {}
        Blame::Client => tell!(info, told, after_ms, "the client's fault: {cause}"),
        Blame::Upstream => {
            add(&conn.engine.figures.upstream_failures, 1);
            tell!(error, told, after_ms, "the upstream's fault: {cause}");
        }
        Blame::Own => tell!(error, told, after_ms, "{cause}"),
        Blame::Limits => tell!(warn, told, after_ms, "over the limit: {cause}"),
    }
}
