//! Forwards one request: connects, sends, tries again where that is safe, and passes the answer on.
//!
//! Not here: the rules for trying again (see `retry`), and answers of our own when all fails (see `conn`).

use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use trine_http1::{BodyLength, Version};

use super::accel;
use super::ahead::Reading;
use super::codec::{Codec, Stderr};
use super::connect::{self, Found, Search};
use super::dress::Dress;
use super::exchange::{Clock, Exchange, Lent, Upload, clear_answer};
use super::fault::{Blame, Fault};
use super::interim;
use super::pool::add;
use super::provide::{Provided, provide};
use super::relay::Relay;
use super::retry::{Lost, Retries};
use super::sticky::Lesson;
use super::times::Stopwatch;
use super::{Group, Trip};
use crate::cache::fill::{Verdict, seconds};
use crate::cache::{self, Fetch};
use crate::config::{ProxyPass, Rules, nginx};
use crate::conn::body::ClientBody;
use crate::conn::record::{Record, Traffic};
use crate::conn::reply::{self, Closing};
use crate::conn::told::{Told, tell};
use crate::conn::{Conn, Ending};
use crate::engine::Generation;
use crate::headers::trailers;
use crate::template::Scene;
use crate::workbench::Workbench;

/// Forwards the request whose head is on the bench to a server of `group`. An error leaves the client without an
/// answer, unless `record` says that its status went out.
#[expect(
    clippy::too_many_arguments,
    reason = "what is asked, of whom, and for whom"
)]
pub(crate) async fn forward(
    conn: &Conn,
    bench: &mut Workbench,
    generation: &Generation,
    group: &Rc<Group>,
    pass: &ProxyPass,
    rules: &Rules,
    record: &mut Record,
    mut fetch: Option<&mut Fetch>,
) -> Result<Ending, Fault> {
    let Provided {
        mut body,
        held,
        sent_as,
        expects_continue,
        drops_body,
        repeatable,
    } = provide(conn, bench, generation, pass, rules, record).await?;
    let mut job = Job {
        conn,
        group: Rc::clone(group),
        pass,
        rules,
        generation,
        expects_continue,
        sent_as,
        held,
        drops_body,
        repeatable,
        own_body: None,
    };
    if let Some(template) = &pass.shaping.body {
        let request = bench.head.on(bench.input.all());
        let own = template.value(&job.scene(&request, record));
        job.sent_as = BodyLength::Known(own.len() as u64);
        job.own_body = Some(own);
    }
    let done = loop {
        let retries = job.write(bench, record, fetch.as_deref())?;
        let trip = job.trip(bench, record);
        let done = job.run(bench, &mut body, (retries, trip), record, &mut fetch);
        match done.await {
            Err(Fault::Regrouped) => match generation.group_named(&job.group.config.name) {
                Some(fresh) => job.group = fresh,
                None => break Err(Fault::NoLive),
            },
            done => break done,
        }
    };
    if done.is_err() && body.whole().is_some_and(|length| length > 0) {
        record.kept_body = Some(Box::new(body));
    }
    done
}

/// What stays the same over all attempts.
pub(super) struct Job<'a> {
    pub(super) conn: &'a Conn,
    pub(super) group: Rc<Group>,
    pub(super) pass: &'a ProxyPass,
    pub(super) rules: &'a Rules,
    pub(super) generation: &'a Generation,
    /// The whole body, if it came together with the head.
    pub(super) held: Option<Range<usize>>,
    pub(super) expects_continue: bool,
    pub(super) sent_as: BodyLength,
    /// The client's body is not read at all.
    pub(super) drops_body: bool,
    /// All of what is sent is here and stays here.
    pub(super) repeatable: bool,
    /// What goes on in its place.
    pub(super) own_body: Option<Vec<u8>>,
}

impl Job<'_> {
    async fn run(
        &self,
        bench: &mut Workbench,
        body: &mut ClientBody,
        (mut retries, mut trip): (Retries<'_>, Trip),
        record: &mut Record,
        fetch: &mut Option<&mut Fetch>,
    ) -> Result<Ending, Fault> {
        let limit = self.limit(record);
        if let Some(own) = &self.own_body {
            self.write_own_body(&mut bench.request, own);
        }
        let head_length = bench.request.len();
        // Pieces of a body take its place.
        let head = (self.sent_as != BodyLength::Empty).then(|| bench.request.clone());
        let mut asked_for_body = !self.expects_continue || self.held.is_some();
        let mut fresh = false;
        let mut failed = None;
        let search = Search {
            conn: self.conn,
            group: &self.group,
            pass: self.pass,
            limit,
            secure: self.secure(bench, record),
            bind: self.bind(bench, record),
            begun: record.started,
        };
        loop {
            let found = search
                .link(&mut trip, &mut retries, record, fresh)
                .await
                .map_err(|fault| match (fault, failed.take()) {
                    (Fault::NoLive, Some(before)) => before,
                    (fault, _) => fault,
                });
            let Found { link, index } = found?;
            connect::count(&link);
            if link.reused {
                if !record.earlier.is_empty() {
                    record.attempt(link.peer());
                }
                record.connected = Some(record.attempted.unwrap_or(record.started));
            } else {
                record.connected = Some(Instant::now());
            }
            let (peer, reused) = (link.peer().clone(), link.reused);
            record.upstream = Some(peer.clone());
            self.tell_bound(index, bench, record);
            let mut watch = Stopwatch::start(&self.group.squad, index);
            if !asked_for_body {
                asked_for_body = true;
                self.conn.send(reply::CONTINUE).await?;
            }
            bench.request.truncate(head_length);
            if let Some(head) = &head {
                bench.request.clone_from(head);
            }
            body.rewind();
            clear_answer(&mut bench.answer, &mut bench.answer_head);
            let codec = Codec::new(self.pass, self.sent_as);
            let held = self.held.clone();
            let upload = Upload::new(&mut bench.request, &bench.input, held, &codec);
            let mut exchange = Exchange {
                conn: self.conn,
                link: Lent::new(link),
                peer: peer.clone(),
                pass: self.pass,
                body: &mut *body,
                bench: &mut *bench,
                fetch: fetch.as_deref_mut(),
                storing: None,
                codec,
                upload,
                clock: Clock::new(limit),
                traffic: Traffic::default(),
                head_at: 0,
            };
            let first = exchange.answer().await;
            self.tell_stderr(&mut exchange, record);
            let mut lesson = None;
            let done = match first {
                Ok(()) => {
                    let learned = (index, &mut lesson, &mut watch);
                    self.answered(&mut exchange, &mut retries, record, learned)
                        .await
                }
                Err(fault) => Err(fault),
            };
            record.traffic = exchange.traffic;
            if matches!(done, Ok(_) | Err(Fault::Handed | Fault::Intercepted(_))) {
                self.learn(index, lesson);
                if let Some(watch) = watch {
                    watch.end(&self.group.squad);
                }
            }
            let fault = match done {
                Ok((ending, reusable)) => {
                    self.group.answered(index);
                    if reusable && let Some(link) = exchange.link.take() {
                        link.give_back(record.first_byte.unwrap_or(record.started));
                    }
                    return Ok(ending);
                }
                Err(fault) => fault,
            };
            let unwanted = matches!(fault, Fault::Unwanted(_));
            let told = record.status != 0 || (record.first_byte.is_some() && !unwanted);
            let lost = match lost(&fault) {
                Some(lost) if !told => lost,
                // The client has seen something of this answer, or the fault is another's.
                _ => {
                    if matches!(fault, Fault::Handed) {
                        self.group.answered(index);
                    }
                    if fault.blame() == Blame::Upstream {
                        add(&peer.figures.failures, 1);
                    }
                    return Err(fault);
                }
            };
            // Closed while it was idle: nobody's failure. Nor is an answer that only sends on.
            let idle = matches!(lost, Lost::Unsent | Lost::Unanswered) && reused;
            if !idle && !matches!(lost, Lost::Status(403 | 404)) {
                self.group.failed(index);
            }
            record.attempt_failed(fault.status(), lost != Lost::Unsent);
            let decided = matches!(lost, Lost::Status(_));
            if !decided && !retries.again(lost, reused, record.started.elapsed()) {
                return Err(fault);
            }
            if lost != Lost::Unsent && self.group.peers.len() > 1 {
                trip.mark(index);
            }
            // What may have been seen once is not entrusted to another old connection.
            fresh |= lost == Lost::Unanswered;
            tracing::debug!(upstream = %peer.name, reused, "trying again: {fault}");
            failed = (!decided).then_some(fault);
        }
    }

    /// The earlier one of the client's and the upstream's limit for all of it.
    fn limit(&self, record: &Record) -> Option<(Instant, std::time::Duration)> {
        let client = self
            .conn
            .timeout(|timeouts| timeouts.total)
            .map(|total| (record.started + total, total));
        let upstream = self
            .pass
            .total_timeout
            .map(|total| (Instant::now() + total, total));
        client
            .into_iter()
            .chain(upstream)
            .min_by_key(|limit| limit.0)
    }

    /// The first head is there: passes on what it announces. Also tells whether the upstream's connection can be used
    /// again.
    async fn answered(
        &self,
        exchange: &mut Exchange<'_>,
        retries: &mut Retries<'_>,
        record: &mut Record,
        (index, lesson, watch): (usize, &mut Option<Lesson>, &mut Option<Stopwatch>),
    ) -> Result<(Ending, bool), Fault> {
        let conn = self.conn;
        let version = exchange.bench.head.on(exchange.bench.input.all()).version();
        while exchange.head().is_interim() {
            record.first_byte = Some(Instant::now());
            if exchange.head().status() == 103
                && version == Version::Http11
                && self.hints_early(exchange, record)
            {
                interim::write(exchange, self.rules);
                conn.send(&exchange.bench.out).await?;
            }
            exchange.answer().await.map_err(|fault| match fault {
                Fault::Unsent(_) | Fault::Unanswered(_) => Fault::CutHead,
                fault => fault,
            })?;
        }
        record.first_byte = Some(Instant::now());
        let status = exchange.head().status();
        record.upstream_status = status;
        if record.visit.is_own || self.generation.config.tells_heads {
            record.answer_head = Some(exchange.head_text().into());
        }
        if self.pass.next.has_status(status)
            && retries.again(Lost::Status(status), false, record.started.elapsed())
        {
            return Err(Fault::Unwanted(status));
        }
        if let Some(watch) = watch {
            watch.head(&self.group.squad);
        }
        *lesson = self.lesson(exchange, record);
        if status == 101 || self.learns_at_head() {
            self.learn(index, lesson.take());
        }
        self.forget(exchange, record);
        if self.judge(exchange, record) == Verdict::Instead {
            let reusable = status == 304
                && exchange.codec.keeps(&exchange.head())
                && exchange.codec.is_settled();
            let clean = exchange.bench.answer.is_empty() && exchange.upload.is_complete();
            return Ok((Ending::Keep, reusable && clean));
        }
        if self.pass.intercepts_errors
            && status >= 300
            && record.visit.error.is_none()
            && self.rules.error_page(status).is_some()
        {
            return Err(Fault::Intercepted(status));
        }
        if self.pass.shaping.obeys("x-accel-redirect")
            && let Some(accel) = accel::redirect(&exchange.head())
        {
            record.visit.accel = Some(Box::new(accel));
            return Err(Fault::Handed);
        }
        if self.pass.shaping.obeys("x-accel-limit-rate")
            && let Some(rate) = accel::rate(&exchange.head())
        {
            record.limited.rate = Some(rate);
        }
        if status == 101 {
            let ending = Box::pin(self.switch(exchange, record)).await?;
            return Ok((ending, false));
        }
        let request = exchange.bench.head.on(exchange.bench.input.all());
        // A body that was not sent on is still in the way of the next request.
        let whole =
            request.body() == BodyLength::Empty || !(record.visit.as_get || self.drops_body);
        let keep = conn.may_keep(&request) && whole;
        let upload_complete = exchange.has_body() && whole;
        let closing = if keep && upload_complete {
            Closing::Keep
        } else {
            Closing::Close
        };
        let reusable = exchange.codec.keeps(&exchange.head());
        let quota = &self.generation.config.servers[record.visit.server].quota;
        let mut reading = Reading::new(self.pass, &exchange.head(), quota.clone());
        reading.keeps = reusable;
        exchange.storing = self.storing(exchange, record, reading.room.is_some());
        if let Some(rate) = &self.pass.buffers.rate {
            let request = exchange.bench.head.on(exchange.bench.input.all());
            let rate = rate.value(&self.scene(&request, record));
            let rate = std::str::from_utf8(&rate).ok().and_then(nginx::size);
            reading.set_rate(rate.unwrap_or(0));
        }
        let dress = Dress {
            pass: self.pass,
            rules: self.rules,
            config: &self.generation.config,
            status: record.status_for(status),
            record,
        };
        let (mut relay, closing) = Relay::new(exchange, closing, &dress, reading)?;
        record.status = record.status_for(status);
        relay.closes = closing == Closing::Close && upload_complete;
        let done = relay.run(
            exchange,
            |exchange| self.tell_stderr(exchange, record),
            |relay, exchange| self.end(relay, exchange, record),
        );
        let done = done.await;
        trailers::note(relay.decoder(), record);
        record.body_bytes = relay.body_bytes;
        record.packed = relay.tally();
        record.received = relay.reading.received;
        if done.is_ok() && reusable {
            exchange.settle().await;
        }
        self.tell_stderr(exchange, record);
        let reusable = reusable && relay.is_clean(exchange) && exchange.upload.is_complete();
        relay.finish(exchange);
        let upload_complete = exchange.has_body();
        done?;
        let ending = match closing {
            Closing::Keep => Ending::Keep,
            Closing::Close if upload_complete && whole => Ending::Close,
            Closing::Close => Ending::Linger,
        };
        Ok((ending, reusable))
    }

    /// Whether the client is told of what an answer will need before there is one. Those of HTTP/2 are used to it.
    fn hints_early(&self, exchange: &Exchange<'_>, record: &Record) -> bool {
        let Some(conditions) = &self.rules.early_hints else {
            return true;
        };
        let request = exchange.bench.head.on(exchange.bench.input.all());
        let scene = self.scene(&request, record);
        let holds = |value: Vec<u8>| !value.is_empty() && value != b"0";
        self.conn.stream.http2().is_some() || conditions.iter().any(|one| holds(one.value(&scene)))
    }

    /// The last chunk.
    fn end(&self, relay: &Relay, exchange: &Exchange<'_>, record: &Record) -> Vec<u8> {
        let passes = self.pass.shaping.passes_trailers;
        trailers::note(relay.decoder(), record);
        let request = exchange.bench.head.on(exchange.bench.input.all());
        let scene = Scene {
            answer: Some(exchange.head()),
            ..self.scene(&request, record)
        };
        trailers::relayed(relay.decoder(), passes, self.rules, &scene)
    }

    /// Writes down what the application has said for the log, in nginx's words.
    fn tell_stderr(&self, exchange: &mut Exchange<'_>, record: &Record) {
        let Some(Stderr { text, more }) = exchange.codec.stderr() else {
            return;
        };
        let request = exchange.bench.head.on(exchange.bench.input.all());
        let told = Told {
            upstream: Some(self.pass.shown_url(&exchange.peer.name, b"")),
            ..Told::of(self.conn, &self.generation.config, Some(request), record)
        };
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end_matches(['\r', '\n', '.', ' ']);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} bytes more"),
        };
        let doing = match record.first_byte {
            None => "while reading response header from upstream",
            Some(_) => "while reading upstream",
        };
        tell!(
            error,
            told,
            request_id = record.id(&self.conn.engine),
            "FastCGI sent in stderr: \"{text}\"{more} {doing}"
        );
    }

    /// What the request has changed is not kept any longer.
    fn forget(&self, exchange: &Exchange<'_>, record: &Record) {
        let request = exchange.bench.head.on(exchange.bench.input.all());
        if let Some(rules) = &self.pass.cache
            && !cache::is_safe(request.method())
        {
            let config = &self.generation.config;
            let answer = exchange.head();
            cache::unsafe_methods::forget(self.conn, config, rules, record, &request, &answer);
        }
    }

    /// What the cache makes of the answer whose head is there.
    fn judge(&self, exchange: &mut Exchange<'_>, record: &mut Record) -> Verdict {
        let Exchange {
            conn,
            bench,
            fetch,
            head_at,
            ..
        } = exchange;
        let (Some(fetch), Some(rules)) = (fetch, &self.pass.cache) else {
            return Verdict::PassOn;
        };
        let Workbench {
            input,
            head,
            answer,
            answer_head,
            ..
        } = &**bench;
        let request = head.on(input.all());
        let answer = answer_head.on(&answer.all()[*head_at..]);
        let unwanted = {
            let scene = Scene {
                answer: Some(answer),
                ..Scene::new(conn, &self.generation.config, Some(request), record)
            };
            cache::look::any(&rules.no_store, &scene)
        };
        let now = seconds(conn.engine.time.now());
        let verdict = fetch.judge(rules, unwanted, &request, &answer, now);
        if verdict == Verdict::PassOn {
            let status = answer.status();
            let (word, field) = fetch.told(status, record.status_for(status));
            record.cache = Some(word);
            record.cache_field = Some(field);
        }
        verdict
    }
}

/// How a server has failed, if another one may do better.
fn lost(fault: &Fault) -> Option<Lost> {
    Some(match fault {
        Fault::Unsent(_) => Lost::Unsent,
        Fault::Unanswered(_) => Lost::Unanswered,
        Fault::CutHead => Lost::CutHead,
        Fault::SendTimeout(_) | Fault::ReadTimeout(_) => Lost::Timeout,
        Fault::Head(_) | Fault::Gateway(_) | Fault::Caught => Lost::BadHead,
        Fault::Overloaded => Lost::Declined,
        Fault::Unwanted(status) => Lost::Status(*status),
        _ => return None,
    })
}
