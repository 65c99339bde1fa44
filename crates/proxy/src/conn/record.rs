//! What is known about a request when it is over: for the access log, and for the figures.
//!
//! Not here: writing it down (see `access_log`).

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::engine::Engine;
use crate::upstream::pool::Peer;

/// Collected while a request is served.
#[derive(Debug)]
pub(crate) struct Record {
    /// When its head was complete.
    pub(crate) started: Instant,
    /// 0 until a status went out.
    pub(crate) status: u16,
    /// Content bytes, without heads and framing.
    pub(crate) body_bytes: u64,
    /// The client, if trusted proxies are between it and us.
    pub(crate) real_ip: Option<IpAddr>,
    pub(crate) upstream: Option<Rc<Peer>>,
    pub(crate) connected: Option<Instant>,
    pub(crate) first_byte: Option<Instant>,
    /// The head could not be read, so there is no request to tell of.
    pub(crate) headless: bool,
    id: Option<[u8; 32]>,
}

impl Record {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            status: 0,
            body_bytes: 0,
            real_ip: None,
            upstream: None,
            connected: None,
            first_byte: None,
            headless: false,
            id: None,
        }
    }

    /// The request's id, made when it is first asked for.
    pub(crate) fn id(&mut self, engine: &Engine) -> &str {
        let id = self.id.get_or_insert_with(|| engine.ids.next());
        std::str::from_utf8(id).unwrap_or_default()
    }

    /// The id, if the upstream was told one.
    pub(crate) fn known_id(&self) -> Option<&str> {
        std::str::from_utf8(self.id.as_ref()?).ok()
    }
}
