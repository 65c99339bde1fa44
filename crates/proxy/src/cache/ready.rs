//! The short way of a request that memory answers: the head is there as the client gets it, but for what time and the
//! connection bring.
//!
//! The second time an answer goes out, [`note`] keeps its head as it was written, without the lines that differ from one
//! time to the next; the first time it may have come from a file and be on its way out of memory again. [`hit`] then needs
//! neither to read nor to write fields. It leaves to the long way all that is not as plain as that: conditions and ranges,
//! bodies that are changed, fields that variables make, answers that are stale. Not here: the long way (`look`, `answer`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;
use trine_cache::reuse::{Decision, decide};
use trine_cache::{Fields, Seconds};
use trine_http1::{BodyLength, Request, Version};

use super::answer::TOGETHER;
use super::fill::seconds;
use super::look::any;
use super::zone::lock;
use super::{Entry, is_condition};
use crate::config::{Config, ProxyPass, Rules};
use crate::conn::record::Record;
use crate::conn::reply::{Closing, push_number, write_connection, write_number};
use crate::conn::{Conn, Ending};
use crate::engine::Generation;
use crate::headers::added;
use crate::template::Scene;
use crate::time::WallClock;
use crate::upstream::Dress;
use crate::workbench::Workbench;

/// The head of one answer as one location sends it.
#[derive(Debug)]
pub(super) struct Ready {
    whose: Whose,
    /// The status line and fields, each with its line end.
    head: Vec<u8>,
    /// There is a `Date` in it.
    dated: bool,
    /// The client is told the answer's age.
    aged: bool,
}

/// A location: the rules and the upstream's directives of a configuration.
#[derive(Debug)]
struct Whose {
    /// No other can be at the same place as long as this lives.
    config: Weak<Config>,
    rules: usize,
    /// Where the directives are, which stay there as long as the configuration.
    pass: usize,
}

impl Whose {
    fn is(&self, config: &Arc<Config>, rules: usize, pass: &ProxyPass) -> bool {
        std::ptr::eq(self.config.as_ptr(), Arc::as_ptr(config))
            && self.rules == rules
            && self.pass == std::ptr::from_ref(pass).addr()
    }
}

impl Ready {
    /// From a head as it went out, with the lines of its own.
    fn from(whose: Whose, head: &[u8], status_field: &str, dated: bool) -> Self {
        let lines = || head.split_inclusive(|&byte| byte == b'\n');
        let told = |line: &[u8]| {
            line.strip_prefix(b"Cache-Status: ")
                .is_some_and(|value| value.trim_ascii_end() == status_field.as_bytes())
        };
        // Ours is the last one: a cache in front of the application may have said the same of itself.
        let ours = lines().filter(|line| told(line)).count();
        let (mut kept, mut met, mut aged) = (Vec::with_capacity(head.len()), 0, false);
        for line in lines() {
            let starts = |name: &str| {
                line.get(..name.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            };
            met += usize::from(told(line));
            if starts("age:") {
                aged = true;
            } else if !((told(line) && met == ours)
                || line == b"\r\n"
                || starts("connection:")
                || (!dated && starts("date:")))
            {
                kept.extend_from_slice(line);
            }
        }
        kept.shrink_to_fit();
        Self {
            whose,
            head: kept,
            dated,
            aged,
        }
    }

    /// Writes the whole head.
    fn write(
        &self,
        out: &mut Vec<u8>,
        time: &WallClock,
        (age, lifetime): (Seconds, Seconds),
        (closing, version): (Closing, Version),
    ) {
        out.extend_from_slice(&self.head);
        if !self.dated {
            time.write_date(out);
        }
        if self.aged {
            write_number(out, b"Age", age);
        }
        out.extend_from_slice(b"Cache-Status: Trine; hit; ttl=");
        push_number(out, lifetime.saturating_sub(age));
        out.extend_from_slice(b"\r\n");
        write_connection(out, closing, version);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether a location sends the same head each time, as far as it goes by rules.
fn is_plain(config: &Config, rules: &Rules, record: &Record) -> bool {
    // Nobody may ask for the fields of its head later.
    !config.tells_heads
        && !rules.filters()
        && rules.trailers.is_empty()
        && rules.rate.is_none()
        && rules.signature.is_fixed()
        && !added::adds(rules, record)
        && !record.visit.is_own
        && record.status_for(200) == 200
}

/// Keeps the head that has just been written for a request that was for all of the answer.
pub(super) fn note(entry: &Entry, head: &[u8], generation: &Generation, dress: &Dress<'_>) {
    let record = dress.record;
    let Some(status_field) = &record.cache_field else {
        return;
    };
    if !entry.sent.swap(true, Ordering::Relaxed) {
        return;
    }
    // What these become may depend on the request.
    let rewritten = ["set-cookie", "location", "refresh"];
    if !is_plain(&generation.config, dress.rules, record)
        || rewritten.iter().any(|name| entry.field(name).is_some())
    {
        return;
    }
    let whose = Whose {
        config: Arc::downgrade(&generation.config),
        rules: record.visit.rules,
        pass: std::ptr::from_ref(dress.pass).addr(),
    };
    // Where the upstream's is not shown, the present time is.
    let dated = entry.field("date").is_some() && dress.shows(b"date", false);
    *lock(&entry.ready) = Some(Ready::from(whose, head, status_field, dated));
}

/// An answer that only has to be sent.
#[derive(Debug)]
pub(crate) struct Hit {
    entry: Arc<Entry>,
    closing: Closing,
    /// The head is followed by the body.
    with_body: bool,
}

/// Looks whether the request on the bench can go the short way, and writes the head of its answer then.
pub(crate) fn hit(
    conn: &Conn,
    bench: &mut Workbench,
    generation: &Generation,
    pass: &ProxyPass,
    record: &mut Record,
) -> Option<Hit> {
    let config = &generation.config;
    let rules = config.rules(record.visit.rules);
    let caching = pass.cache.as_ref()?;
    let zone = config.caches.get(caching.zone)?;
    let request = bench.head.on(bench.input.all());
    let method = request.method();
    if !is_plain(config, rules, record) || !is_simple(&request) {
        return None;
    }
    let about = Scene::new(conn, config, Some(request), record);
    if any(&caching.purge, &about) || any(&caching.bypass, &about) {
        return None;
    }
    let mut key = Vec::with_capacity(128);
    caching.key.write(&mut key, &about);
    let asked: SmallVec<[(&[u8], &[u8]); 16]> = request.headers().collect();
    let asked = Fields(&asked);
    let now = seconds(conn.engine.time.now());
    let closing = if conn.may_keep(&request) {
        Closing::Keep
    } else {
        Closing::Close
    };
    let version = request.version();
    let out = &mut bench.out;
    let entry = zone.hit(&key, asked, |entry| {
        let kept = &entry.kept;
        let decision = decide(method, asked, Some(kept), now, caching.policy);
        let Decision::Reuse { age } = decision else {
            return false;
        };
        let ready = lock(&entry.ready);
        let Some(ready) = ready.as_ref() else {
            return false;
        };
        if !ready.whose.is(config, record.visit.rules, pass) {
            return false;
        }
        out.clear();
        let together = Some(entry.body.len()).filter(|&length| length <= TOGETHER);
        out.reserve(ready.head.len() + 128 + together.unwrap_or(0));
        let times = (age, kept.lifetime);
        ready.write(out, &conn.engine.time, times, (closing, version));
        true
    })?;
    conn.set_pace(&about);
    let with_body = method != "HEAD";
    record.cache = Some("HIT");
    record.kept = Some(Arc::clone(&entry));
    record.status = 200;
    record.first_byte = None;
    Some(Hit {
        entry,
        closing,
        with_body,
    })
}

/// It asks for a whole answer, and has no body.
fn is_simple(request: &Request<'_>) -> bool {
    matches!(request.method(), "GET" | "HEAD")
        && request.body() == BodyLength::Empty
        && request.upgrade().is_none()
        && !request.headers().any(|(name, _)| is_condition(name))
}

impl Hit {
    /// Sends it: the head is on the bench.
    pub(crate) async fn send(
        self,
        conn: &Conn,
        bench: &mut Workbench,
        record: &mut Record,
    ) -> Ending {
        let out = &mut bench.out;
        let body = if self.with_body {
            &self.entry.body[..]
        } else {
            &[]
        };
        record.body_bytes = body.len() as u64;
        let sent = if body.len() <= TOGETHER {
            out.extend_from_slice(body);
            conn.send(out).await
        } else {
            match conn.send_part(out, true).await {
                Ok(()) => conn.send(body).await,
                fault => fault,
            }
        };
        match (sent, self.closing) {
            (Ok(()), Closing::Keep) => Ending::Keep,
            (Ok(()), Closing::Close) => Ending::Close,
            (Err(fault), _) => {
                tracing::debug!("an answer was cut: {fault}");
                record.status = 499;
                Ending::Reset
            }
        }
    }
}
