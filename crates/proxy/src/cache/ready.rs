//! The short way of a request that is answered from what is kept: neither a head is read nor decided on field by field.
//!
//! Its head is what the location shows of the kept one, behind which comes what time and the connection bring. The second
//! time an answer goes out from memory, the first part is kept with it; the first time it may have come from a file and be
//! on its way out of memory again. All that is not as plain as that is left to the long way: conditions and ranges, bodies
//! that are changed, fields that variables make, answers that are stale. Not here: the long way (`look`, `answer`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;
use trine_cache::reuse::{Decision, decide};
use trine_cache::{Fields, Seconds};
use trine_http1::{BodyLength, Request, Version};

use super::answer::TOGETHER;
use super::fill::seconds;
use super::look::any;
use super::zone::{Found, lock};
use super::{Entry, is_condition};
use crate::config::{Config, ProxyPass, Rules};
use crate::conn::record::Record;
use crate::conn::reply::{Closing, push_number, write_connection, write_number};
use crate::conn::{Conn, Ending};
use crate::engine::Generation;
use crate::headers::{added, via};
use crate::stream::Next;
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
    lacks: Lacks,
}

/// What a head still needs.
#[derive(Debug, Clone, Copy)]
struct Lacks {
    /// There is no `Date` of the upstream in it.
    date: bool,
    /// The client is told the answer's age.
    age: bool,
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
    fn new(config: &Arc<Config>, rules: usize, pass: &ProxyPass) -> Self {
        Self {
            config: Arc::downgrade(config),
            rules,
            pass: std::ptr::from_ref(pass).addr(),
        }
    }

    fn is(&self, config: &Arc<Config>, rules: usize, pass: &ProxyPass) -> bool {
        std::ptr::eq(self.config.as_ptr(), Arc::as_ptr(config))
            && self.rules == rules
            && self.pass == std::ptr::from_ref(pass).addr()
    }
}

impl Lacks {
    /// Writes it, and the end of the head.
    fn write(
        self,
        out: &mut Vec<u8>,
        time: &WallClock,
        (age, lifetime): (Seconds, Seconds),
        (closing, version): (Closing, Version),
    ) {
        if self.date {
            time.write_date(out);
        }
        if self.age {
            write_number(out, b"Age", age);
        }
        out.extend_from_slice(b"Cache-Status: Trine; hit; ttl=");
        push_number(out, lifetime.saturating_sub(age));
        out.extend_from_slice(b"\r\n");
        write_connection(out, closing, version);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the part of a kept answer's head that stays the same, as a location that [is plain](is_plain) shows it. `None`
/// if what some field becomes may depend on the request.
fn compose(
    out: &mut Vec<u8>,
    entry: &Entry,
    dress: &Dress<'_>,
    scene: &Scene<'_>,
) -> Option<Lacks> {
    if entry.kept.status != 200 {
        return None;
    }
    out.extend_from_slice(entry.status_line());
    out.extend_from_slice(b"\r\n");
    let (mut dated, mut served, mut parted) = (false, false, false);
    for (name, value) in entry.each_field() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("set-cookie") || is("location") || is("refresh") {
            return None;
        }
        parted |= is("accept-ranges");
        if dress.shows(name, false) {
            dated |= is("date");
            served |= is("server");
            dress.field(out, name, value, scene);
        }
    }
    if dress.pass.shaping.forces_ranges && !parted {
        out.extend_from_slice(b"Accept-Ranges: bytes\r\n");
    }
    if !served {
        out.extend_from_slice(&dress.rules.signature.line(Some(scene)));
    }
    if let Some(name) = &dress.rules.via {
        // That is how it is kept.
        via::write_answered(out, dress.pass.protocol, Version::Http11, name);
    }
    write_number(out, b"Content-Length", entry.body.len() as u64);
    Some(Lacks {
        date: !dated,
        age: dress.shows(b"age", false),
    })
}

/// Whether a location sends the same head each time, as far as it goes by rules.
fn is_plain(config: &Config, rules: &Rules, record: &Record) -> bool {
    // Nobody may ask for the fields of its head later.
    !config.tells_heads
        && !rules.filters()
        && rules.trailers.is_empty()
        && rules.rate.is_none()
        && rules.signature.is_fixed()
        && rules.charset.is_none()
        && !added::adds(rules, record)
        && !record.visit.is_own
        && record.status_for(200) == 200
}

/// An answer that only has to be sent.
#[derive(Debug)]
pub(crate) struct Hit {
    entry: Arc<Entry>,
    closing: Closing,
    /// The head is followed by the body.
    with_body: bool,
}

/// Looks whether the request on the bench can go the short way, and writes the head of its answer then. If not, it tells
/// what it has found, if it has looked.
pub(crate) fn hit(
    conn: &Conn,
    bench: &mut Workbench,
    generation: &Generation,
    pass: &ProxyPass,
    record: &mut Record,
) -> Result<Hit, Option<Found>> {
    let config = &generation.config;
    let rules = config.rules(record.visit.rules);
    let caching = pass.cache.as_ref().ok_or(None)?;
    let zone = config.caches.get(caching.zone).ok_or(None)?;
    let request = bench.head.on(bench.input.all());
    let method = request.method();
    if !is_plain(config, rules, record) || !is_simple(&request) {
        return Err(None);
    }
    let about = Scene::new(conn, config, Some(request), record);
    if any(&caching.purge, &about) || any(&caching.bypass, &about) {
        return Err(None);
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
    let age_of = |entry: &Entry| {
        let decision = decide(method, asked, Some(&entry.kept), now, caching.policy);
        match decision {
            Decision::Reuse { age } => Some(age),
            _ => None,
        }
    };
    let out = &mut bench.out;
    out.clear();
    let room = |out: &mut Vec<u8>, entry: &Entry| {
        let together = Some(entry.body.len()).filter(|&length| length <= TOGETHER);
        out.reserve(entry.head.len() + 256 + together.unwrap_or(0));
    };
    let end = |out: &mut Vec<u8>, lacks: Lacks, entry: &Entry, age: Seconds| {
        let times = (age, entry.kept.lifetime);
        lacks.write(out, &conn.engine.time, times, (closing, version));
    };
    let ready = zone.hit(&key, asked, |entry| {
        let Some(age) = age_of(entry) else {
            return false;
        };
        let ready = lock(&entry.ready);
        let own = |ready: &&Ready| ready.whose.is(config, record.visit.rules, pass);
        let Some(ready) = ready.as_ref().filter(own) else {
            return false;
        };
        room(out, entry);
        out.extend_from_slice(&ready.head);
        end(out, ready.lacks, entry, age);
        true
    });
    let entry = match ready {
        Some(entry) => entry,
        None => {
            let found = zone.find(&key, asked);
            let Some(entry) = found.entry.as_ref().map(Arc::clone) else {
                return Err(Some(found));
            };
            let dress = Dress {
                pass,
                rules,
                config,
                status: 200,
                record,
            };
            room(out, &entry);
            let Some(age) = age_of(&entry) else {
                return Err(Some(found));
            };
            let Some(lacks) = compose(out, &entry, &dress, &about) else {
                return Err(Some(found));
            };
            if entry.sent.swap(true, Ordering::Relaxed) {
                *lock(&entry.ready) = Some(Ready {
                    whose: Whose::new(config, record.visit.rules, pass),
                    head: out[..].into(),
                    lacks,
                });
            }
            end(out, lacks, &entry, age);
            entry
        }
    };
    conn.set_pace(&about);
    let with_body = method != "HEAD";
    record.cache = Some("HIT");
    record.kept = Some(Arc::clone(&entry));
    record.status = 200;
    record.first_byte = None;
    Ok(Hit {
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
            match conn.send_part(out, Next::More).await {
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
