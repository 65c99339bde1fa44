//! One request on its way to an upstream that may fill the cache, or prove what is in it.
//!
//! Not here: whether the upstream has to be asked (`look`).

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use trine_cache::reuse::may_cover_error;
use trine_cache::status::{Forwarded, Status};
use trine_cache::store::{Exchange, judge};
use trine_cache::validate::{Conditions, Outcome, outcome, updated};
use trine_cache::{Fields, Kept, Lifetime, Seconds};
use trine_http1::{Request, Response, write_header, write_status_line};

use super::flight::Flight;
use super::zone::{Seen, Zone};
use super::{Entry, LARGEST, deception, is_condition};
use crate::config::CacheRules;
use crate::headers::{Listed, media_type, response_field_passes};
use crate::upstream::fault::Fault;

/// What is known while the upstream is asked.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(super) zone: Zone,
    pub(crate) key: Vec<u8>,
    /// Fields of the request that do not go on.
    pub(super) unkeyed: Arc<[&'static str]>,
    /// What was forgotten before it began.
    pub(super) seen: Seen,
    /// What is kept and no longer good enough.
    pub(crate) stored: Option<Arc<Entry>>,
    /// Held for those that wait; they look again when it is gone.
    pub(super) flight: Option<Flight>,
    /// The answer may be kept, as far as the request goes.
    pub(crate) keeps: bool,
    /// The client's HEAD goes on as GET.
    pub(crate) converts: bool,
    /// What is kept is asked about, and not only fetched anew.
    pub(super) validates: bool,
    pub(super) why: Forwarded,
    /// nginx's word for it.
    pub(super) word: &'static str,
    pub(super) asked_at: Seconds,
    pub(super) tap: Option<Tap>,
    /// What is to be sent in place of the upstream's answer, and nginx's word for that.
    pub(crate) ready: Option<(Arc<Entry>, &'static str)>,
    /// The upstream spoke of another answer than the one that is kept: it has to be asked without conditions.
    pub(crate) again: bool,
}

/// An answer that is being taken down.
#[derive(Debug)]
pub(crate) struct Tap {
    kept: Kept,
    vary_key: Vec<u8>,
    head: Vec<u8>,
    body: Vec<u8>,
}

/// What is done with an upstream's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to the client.
    PassOn,
    /// [`Fetch::ready`] goes in its place, or the upstream is asked again.
    Instead,
}

pub(crate) fn seconds(time: SystemTime) -> Seconds {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl Fetch {
    /// Whether a field of the client's does not go on: a condition, which is the cache's own affair, or one that the answer may
    /// depend on and the key does not.
    pub(crate) fn withholds(&self, name: &[u8]) -> bool {
        let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        is_condition(name) || self.unkeyed.iter().any(is)
    }

    /// The fields that ask whether what is kept is still good.
    pub(crate) fn conditions(&self, out: &mut Vec<u8>) {
        let Some(stored) = self.stored.as_ref().filter(|_| self.validates) else {
            return;
        };
        let fields = stored.fields();
        let conditions = Conditions::of(Fields(&fields));
        if let Some(tag) = conditions.if_none_match {
            write_header(out, b"If-None-Match", tag);
        }
        if let Some(time) = conditions.if_modified_since {
            write_header(out, b"If-Modified-Since", time);
        }
    }

    /// The head of the answer is there.
    pub(crate) fn judge(
        &mut self,
        rules: &CacheRules,
        unwanted: bool,
        request: &Request<'_>,
        answer: &Response<'_>,
        now: Seconds,
    ) -> Verdict {
        let asked = super::fields(request);
        let all: Vec<(&[u8], &[u8])> = answer.headers().collect();
        let heeded: Vec<(&[u8], &[u8])> = all
            .iter()
            .copied()
            .filter(|(name, _)| {
                !rules
                    .ignored
                    .iter()
                    .any(|ignored| name.eq_ignore_ascii_case(ignored.as_bytes()))
            })
            .collect();
        if let Some(stored) = self.stored.clone() {
            let fields = stored.fields();
            match outcome(answer.status(), Fields(&all), Fields(&fields)) {
                Outcome::Good => {
                    self.refresh(rules, request, &stored, Fields(&all), now);
                    return Verdict::Instead;
                }
                Outcome::AboutAnother => {
                    self.stored = None;
                    self.again = true;
                    return Verdict::Instead;
                }
                Outcome::Failed => {
                    let configured = rules.stale.statuses.contains(&answer.status());
                    if may_cover_error(Fields(&asked), &stored.kept, now, rules.policy, configured)
                    {
                        self.ready = Some((stored, "STALE"));
                        return Verdict::Instead;
                    }
                }
                Outcome::Replaced => {}
            }
        }
        let fits = answer
            .content_length()
            .is_none_or(|length| length <= LARGEST);
        let lifetime = match lifetime(rules, answer.status(), Fields(&heeded), now) {
            // Its own word is needed for that.
            Some(Lifetime::Otherwise(_))
                if deception::is_disguised(request.path(), media_type(answer)) =>
            {
                Some(Lifetime::Said)
            }
            lifetime => lifetime,
        };
        let kept = match lifetime {
            Some(lifetime) if self.keeps && !unwanted && fits => judge(
                &Exchange {
                    method: if self.converts {
                        "GET"
                    } else {
                        request.method()
                    },
                    request: Fields(&asked),
                    status: answer.status(),
                    answer: Fields(&heeded),
                    asked_at: self.asked_at,
                    answered_at: now,
                },
                lifetime,
                rules.policy,
            )
            .ok(),
            _ => None,
        };
        let Some(kept) = kept else {
            if self.flight.take().is_some() {
                self.zone.pass(&self.key);
            }
            return Verdict::PassOn;
        };
        let mut head = Vec::with_capacity(512);
        write_status_line(
            &mut head,
            trine_http1::Version::Http11,
            answer.status(),
            answer.reason(),
        );
        let listed = Listed::new(answer.get_all("connection"));
        let kind = media_type(answer);
        for (name, value) in answer.headers() {
            let another = name.eq_ignore_ascii_case(b"content-type")
                && !kind.is_some_and(|kind| std::ptr::eq(kind, value));
            let withheld = |field: &String| name.eq_ignore_ascii_case(field.as_bytes());
            // What counts the answer's age is told anew each time.
            let told = name.eq_ignore_ascii_case(b"age");
            if stays(name)
                && !told
                && !another
                && !listed.contains(name)
                && !kept.withheld.iter().any(withheld)
            {
                write_header(&mut head, name, value);
            }
        }
        self.tap = Some(Tap {
            vary_key: kept.vary_key(Fields(&asked)),
            kept,
            head,
            body: Vec::new(),
        });
        Verdict::PassOn
    }

    /// The stored answer is as good as new.
    fn refresh(
        &mut self,
        rules: &CacheRules,
        request: &Request<'_>,
        stored: &Arc<Entry>,
        came: Fields<'_>,
        now: Seconds,
    ) {
        let old = stored.fields();
        let fields = updated(Fields(&old), came);
        let mut head = stored.status_line().to_vec();
        head.extend_from_slice(b"\r\n");
        for (name, value) in &fields {
            if stays(name) && !name.eq_ignore_ascii_case(b"age") {
                write_header(&mut head, name, value);
            }
        }
        let asked = super::fields(request);
        let status = stored.kept.status;
        let kept = lifetime(rules, status, Fields(&fields), now).and_then(|lifetime| {
            let exchange = Exchange {
                method: "GET",
                request: Fields(&asked),
                status,
                answer: Fields(&fields),
                asked_at: self.asked_at,
                answered_at: now,
            };
            judge(&exchange, lifetime, rules.policy).ok()
        });
        let entry = Arc::new(Entry {
            key: stored.key.clone(),
            vary_key: stored.vary_key.clone(),
            kept: kept.clone().unwrap_or_else(|| stored.kept.clone()),
            head,
            body: stored.body.clone(),
            sent: std::sync::atomic::AtomicBool::new(false),
            ready: Mutex::default(),
        });
        // Also after a HEAD: it is the same answer, and it was kept before.
        if kept.is_some() {
            self.zone.keep(&entry, self.seen);
        } else {
            self.zone.forget(&self.key);
        }
        self.flight = None;
        self.ready = Some((entry, "REVALIDATED"));
    }

    /// Whether what is kept may be sent although the upstream could not be asked.
    pub(crate) fn covers(
        &mut self,
        rules: &CacheRules,
        request: &Request<'_>,
        fault: &Fault,
        now: Seconds,
    ) -> bool {
        let Some(stored) = self.stored.take() else {
            return false;
        };
        let configured = match fault.status() {
            504 => rules.stale.on_timeout,
            502 => rules.stale.on_error,
            _ => return false,
        };
        let asked = super::fields(request);
        let covers = may_cover_error(Fields(&asked), &stored.kept, now, rules.policy, configured);
        if covers {
            self.ready = Some((stored, "STALE"));
        }
        covers
    }

    /// What the answer tells of itself: nginx's word, and the field of RFC 9211.
    pub(crate) fn told(&self, status: u16, sent: u16) -> (&'static str, String) {
        let field = Status::Forwarded {
            why: self.why,
            status: (status != sent).then_some(status),
            stored: self.tap.is_some(),
            collapsed: false,
        };
        (self.word, field.to_string())
    }

    /// More of the body.
    pub(crate) fn take_down(&mut self, piece: &[u8]) {
        if let Some(tap) = &mut self.tap {
            if (tap.body.len() + piece.len()) as u64 > LARGEST {
                self.tap = None;
                self.flight = None;
                self.zone.pass(&self.key);
                return;
            }
            tap.body.extend_from_slice(piece);
        }
    }

    /// The whole body was taken down.
    pub(crate) fn complete(&mut self) {
        if let Some(tap) = self.tap.take() {
            let entry = Entry {
                key: self.key.clone(),
                vary_key: tap.vary_key,
                kept: tap.kept,
                head: tap.head,
                body: tap.body.into(),
                sent: std::sync::atomic::AtomicBool::new(false),
                ready: Mutex::default(),
            };
            self.zone.keep(&Arc::new(entry), self.seen);
        }
        self.flight = None;
    }
}

/// Whether a field is a part of what is kept: not those of the connection, nor the length, which is told anew.
fn stays(name: &[u8]) -> bool {
    response_field_passes(name) && !name.eq_ignore_ascii_case(b"content-length")
}

/// Where the lifetime comes from; `None` if the answer is not to be kept.
fn lifetime(rules: &CacheRules, status: u16, answer: Fields<'_>, now: Seconds) -> Option<Lifetime> {
    if let Some(value) = answer.first("x-accel-expires") {
        let text = std::str::from_utf8(value).ok()?;
        let time = match text.strip_prefix('@') {
            Some(at) => at.parse::<Seconds>().ok()?.saturating_sub(now),
            None => text.parse().ok()?,
        };
        return (time > 0).then_some(Lifetime::Given(time));
    }
    match rules.valid_for(status) {
        Some(time) => Some(Lifetime::Otherwise(time)),
        None => Some(Lifetime::Said),
    }
}
