//! What is known about a request when it is over: for the access log, and for the figures.
//!
//! Not here: writing it down (see `access_log`).

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::body::ClientBody;
use crate::cache::Entry;
use crate::config::Config;
use crate::engine::Engine;
use crate::filter::{Around, Tally};
use crate::limit::Status;
use crate::limit::connections::Permit;
use crate::pattern::Captures;
use crate::template::ARGS;
use crate::upstream::accel::Accel;
use crate::upstream::pool::Peer;

/// The status of an error page's own answer is the one that is sent.
pub(crate) const AS_IT_COMES: u16 = 0;

/// Where a request stands on its way through servers and locations.
#[derive(Debug, Default, Clone)]
pub(crate) struct Visit {
    /// The normalised path; internal redirects change it.
    pub(crate) path: SmallVec<[u8; 128]>,
    /// The query, once an internal redirect has changed it.
    pub(crate) args: Option<Vec<u8>>,
    /// The path is not the client's any more.
    pub(crate) moved: bool,
    /// It comes to the server anew, by an internal redirect or as a request of our own: the server's script is for it too.
    pub(crate) returns: bool,
    /// The path is one that `rewrite` made: it goes on to upstreams as it is.
    pub(crate) rewritten: bool,
    /// Values of `set`, by their numbers.
    pub(crate) vars: Vec<Option<Vec<u8>>>,
    /// Values of named groups that a `map` has met, which go before those.
    pub(crate) met: RefCell<Vec<(usize, Vec<u8>)>>,
    /// Index of the server.
    pub(crate) server: usize,
    /// Index of the rules in force.
    pub(crate) rules: usize,
    /// Of the last expression that has matched, and of the server name's.
    pub(crate) captures: Option<Box<Captures>>,
    pub(crate) server_captures: Option<Box<Captures>>,
    /// How many internal redirects there were.
    pub(crate) hops: u8,
    /// The named location to go to.
    pub(crate) named: Option<String>,
    /// The path and query that a `proxy_pass` with variables brings.
    pub(crate) upstream_uri: Option<Vec<u8>>,
    /// That URL is one of `https://`, and this is the host in it.
    pub(crate) upstream_host: Option<Vec<u8>>,
    /// An error page is fetched with GET, whatever the request was.
    pub(crate) as_get: bool,
    /// The path hid a separator in an escape; files refuse these.
    pub(crate) hidden_separator: bool,
    /// Lines of fields that an upstream has sent before it had another location answer, and its content type.
    pub(crate) carried: Vec<u8>,
    pub(crate) content_type: Option<Vec<u8>>,
    /// The line of the field that tells the client its server (`sticky`).
    pub(crate) bound: Vec<u8>,
    /// Where an upstream sends the request.
    pub(crate) accel: Option<Box<Accel>>,
    /// The realm of a password that was asked for: what is answered tells of it, error pages too.
    pub(crate) challenge: Option<Vec<u8>>,
    /// Another's refusal, which stands if nobody else lets the request pass (`satisfy any`).
    pub(crate) refused: Option<u16>,
    /// Variables that an authorizer has given to the request.
    pub(crate) granted: Vec<(String, Vec<u8>)>,
    /// It is a request of our own (`subrequest`).
    pub(crate) is_own: bool,
    /// It goes as its client will get it: nothing is done to its body.
    pub(crate) bare: bool,
    /// The slice that is asked for: its first byte, and how many.
    pub(crate) slice: Option<(u64, u64)>,
    /// What is put around the answer, and the rules that order it.
    pub(crate) around: Option<(usize, Arc<Around>)>,
    /// It went where its location mirrors it.
    pub(crate) mirrored: bool,
    /// The status that led to an error page, which the page's answer gets unless `=` says otherwise.
    pub(crate) error: Option<u16>,
}

impl Visit {
    /// Gives a variable its value.
    pub(crate) fn set(&mut self, slot: usize, value: Vec<u8>) {
        if slot == ARGS {
            self.args = Some(value);
            // The target that goes on is made of path and query.
            self.moved = true;
            return;
        }
        if self.vars.len() <= slot {
            self.vars.resize(slot + 1, None);
        }
        self.vars[slot] = Some(value);
        self.met.get_mut().retain(|(met, _)| *met != slot);
    }

    /// Appends the value of a named group's variable. Whether it has one.
    pub(crate) fn write_group(&self, out: &mut Vec<u8>, slot: usize) -> bool {
        let met = self.met.borrow();
        let met = met.iter().find(|(met, _)| *met == slot);
        let value = match met {
            Some((_, value)) => Some(value),
            None => self.vars.get(slot).and_then(Option::as_ref),
        };
        out.extend_from_slice(value.map_or(&[][..], Vec::as_slice));
        value.is_some()
    }

    /// An expression has matched in the middle of writing a string.
    pub(crate) fn meet_groups(&self, captures: &Captures, config: &Config) {
        for (name, value) in captures.named() {
            if let Some(&slot) = config.group_slots.get(&name.to_ascii_lowercase()) {
                let mut met = self.met.borrow_mut();
                met.retain(|(met, _)| *met != slot);
                met.push((slot, value.unwrap_or_default().to_vec()));
            }
        }
    }

    /// An expression has matched: variables with the names of its groups have their values from now on.
    pub(crate) fn keep_groups(&mut self, captures: &Captures, config: &Config) {
        for (name, value) in captures.named() {
            if let Some(&slot) = config.group_slots.get(&name.to_ascii_lowercase()) {
                self.set(slot, value.unwrap_or_default().to_vec());
            }
        }
    }
}

/// What limits have done to a request.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    pub(crate) requests: Option<Status>,
    pub(crate) connections: Option<Status>,
    /// It counts as under way for as long as these live.
    pub(crate) permits: Vec<Permit>,
    /// Bytes in a second, as the upstream orders.
    pub(crate) rate: Option<u64>,
}

/// Bytes on an upstream's connection, for one request.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Those of them that came until the answer's head was at its end.
    pub(crate) head: u64,
}

impl Traffic {
    /// What has come of the answer, without its head.
    pub(crate) fn length(&self) -> u64 {
        if self.head == 0 {
            return 0;
        }
        self.received.saturating_sub(self.head)
    }
}

/// A server that failed a request.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) server: Rc<Peer>,
    /// Its own, or the one that stands for how it failed.
    pub(crate) status: u16,
    pub(crate) connect: Option<Duration>,
    pub(crate) header: Option<Duration>,
    pub(crate) response: Duration,
    pub(crate) traffic: Traffic,
}

/// Collected while a request is served.
#[derive(Debug)]
pub(crate) struct Record {
    /// When its head was complete.
    pub(crate) started: Instant,
    /// 0 until a status went out.
    pub(crate) status: u16,
    /// Content bytes, without heads and framing.
    pub(crate) body_bytes: u64,
    /// What was compressed on the way.
    pub(crate) packed: Tally,
    /// The client, if trusted proxies are between it and us.
    pub(crate) real_ip: Option<IpAddr>,
    pub(crate) upstream: Option<Rc<Peer>>,
    pub(crate) connected: Option<Instant>,
    pub(crate) first_byte: Option<Instant>,
    /// When all of its answer had come, if that was before all of it went out.
    pub(crate) received: Option<Instant>,
    /// The head could not be read, so there is no request to tell of.
    pub(crate) headless: bool,
    /// Some of the body has been taken, so the connection cannot go on after another answer.
    pub(crate) body_spent: bool,
    /// The body as a variable tells it, and the file that it is in.
    pub(crate) body_text: Option<Vec<u8>>,
    pub(crate) body_file: Option<PathBuf>,
    /// A body that was read and may be sent to whoever comes next.
    pub(crate) kept_body: Option<Box<ClientBody>>,
    /// Bytes of the head and of the body that was taken.
    pub(crate) request_bytes: u64,
    /// What the cache did, in nginx's word and as `Cache-Status` has it.
    pub(crate) cache: Option<&'static str>,
    pub(crate) cache_field: Option<String>,
    /// The kept answer that was sent, or asked about.
    pub(crate) kept: Option<Arc<Entry>>,
    /// What the cache knows the request by, if nothing was kept.
    pub(crate) cache_key: Option<Vec<u8>>,
    /// The upstream's own status; 0 without an answer.
    pub(crate) upstream_status: u16,
    /// Of the present attempt.
    pub(crate) traffic: Traffic,
    /// When its present attempt began, once there was another one before.
    pub(crate) attempted: Option<Instant>,
    /// Attempts before the last one.
    pub(crate) earlier: Vec<Attempt>,
    /// Time spent waiting for a server to have a connection to spare.
    pub(crate) queued: Duration,
    pub(crate) visit: Visit,
    /// The head that an upstream sent, of a request of our own.
    pub(crate) answer_head: Option<Box<[u8]>>,
    pub(crate) limited: Limited,
    /// The head that went out, if anybody may ask for its fields.
    pub(crate) sent_head: OnceCell<Vec<u8>>,
    /// The last chunk that went out, and the one that an upstream sent, as far as they have fields.
    pub(crate) sent_end: OnceCell<Vec<u8>>,
    pub(crate) upstream_end: OnceCell<Vec<u8>>,
    id: OnceCell<[u8; 32]>,
    /// The field of the trace that began here.
    pub(crate) trace: OnceCell<Vec<u8>>,
}

impl Record {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            status: 0,
            body_bytes: 0,
            packed: Tally::default(),
            real_ip: None,
            upstream: None,
            connected: None,
            first_byte: None,
            received: None,
            headless: false,
            body_spent: false,
            body_text: None,
            body_file: None,
            kept_body: None,
            request_bytes: 0,
            cache: None,
            cache_field: None,
            kept: None,
            cache_key: None,
            upstream_status: 0,
            traffic: Traffic::default(),
            attempted: None,
            earlier: Vec::new(),
            queued: Duration::ZERO,
            visit: Visit::default(),
            answer_head: None,
            limited: Limited::default(),
            sent_head: OnceCell::new(),
            sent_end: OnceCell::new(),
            upstream_end: OnceCell::new(),
            id: OnceCell::new(),
            trace: OnceCell::new(),
        }
    }

    /// Notes a head that goes out, at the beginning of `out`.
    pub(crate) fn note_head(&self, config: &Config, out: &[u8]) {
        if config.tells_heads && self.sent_head.get().is_none() {
            let end = memchr::memmem::find(out, b"\r\n\r\n").map_or(out.len(), |end| end + 2);
            _ = self.sent_head.set(out[..end].to_vec());
        }
    }

    /// The server that was asked last.
    pub(crate) fn server(&self) -> Option<&Rc<Peer>> {
        let earlier = || self.earlier.last().map(|attempt| &attempt.server);
        self.upstream.as_ref().or_else(earlier)
    }

    /// A server is asked.
    pub(crate) fn attempt(&mut self, server: &Rc<Peer>) {
        self.upstream = Some(Rc::clone(server));
        self.connected = None;
        self.first_byte = None;
        self.upstream_status = 0;
        self.traffic = Traffic::default();
        self.attempted = Some(Instant::now());
    }

    /// The server that was asked last has failed; `told`: the log is to have it.
    pub(crate) fn attempt_failed(&mut self, status: u16, told: bool) {
        let Some(server) = self.upstream.clone() else {
            return;
        };
        let begun = self.attempted.unwrap_or(self.started);
        let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(begun));
        if told {
            self.earlier.push(Attempt {
                server,
                status,
                connect: since(self.connected),
                header: since(self.first_byte),
                response: begun.elapsed(),
                traffic: self.traffic,
            });
        }
        self.upstream = None;
        self.connected = None;
        self.first_byte = None;
        self.upstream_status = 0;
    }

    /// What a request of our own has learned of its upstream, which answered this one by it.
    pub(crate) fn learn(&mut self, own: Self) {
        self.upstream = own.upstream;
        self.connected = own.connected;
        self.first_byte = own.first_byte;
        self.upstream_status = own.upstream_status;
        self.traffic = own.traffic;
        self.attempted = own.attempted;
        self.earlier = own.earlier;
        self.queued = own.queued;
        self.cache = own.cache;
        self.kept = own.kept;
        self.cache_key = own.cache_key;
    }

    /// The request's id, made when it is first asked for.
    pub(crate) fn id(&self, engine: &Engine) -> &str {
        let id = self.id.get_or_init(|| engine.ids.next());
        std::str::from_utf8(id).unwrap_or_default()
    }

    /// Has the id of the client's request.
    pub(crate) fn share_id(&mut self, id: [u8; 32]) {
        self.id = id.into();
    }

    /// The same as bytes.
    pub(crate) fn any_id(&self, engine: &Engine) -> [u8; 32] {
        *self.id.get_or_init(|| engine.ids.next())
    }

    /// The id, if anybody was told one.
    pub(crate) fn known_id(&self) -> Option<&str> {
        std::str::from_utf8(self.id.get()?).ok()
    }

    /// The status that goes out for one that was brought about.
    pub(crate) fn status_for(&self, status: u16) -> u16 {
        match self.visit.error {
            None | Some(AS_IT_COMES) => status,
            Some(error) => error,
        }
    }

    /// A request that nobody got an answer to is one whose client went away.
    pub(crate) fn shown_status(&self) -> u16 {
        if self.status == 0 { 499 } else { self.status }
    }
}
