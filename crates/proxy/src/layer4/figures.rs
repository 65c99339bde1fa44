//! What is counted of sessions, on one core and of all cores together.
//!
//! Not here: telling of it (`control`).

use std::cell::Cell;

use serde::Serialize;

use crate::upstream::pool::add;

/// What happened on one core so far.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    open: Cell<u64>,
    /// By the hundreds of their status in the end: 1xx to 5xx.
    tcp: [Cell<u64>; 5],
    udp: [Cell<u64>; 5],
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// The same to be sent elsewhere.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sessions {
    pub(crate) open: u64,
    pub(crate) tcp: [u64; 5],
    pub(crate) udp: [u64; 5],
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Figures {
    pub(super) fn begin(&self) {
        add(&self.open, 1);
    }

    /// A session is over.
    pub(super) fn end(&self, protocol: &str, status: u16, received: u64, sent: u64) {
        self.open.set(self.open.get().saturating_sub(1));
        add(&self.received, received);
        add(&self.sent, sent);
        let kind = if protocol == "UDP" {
            &self.udp
        } else {
            &self.tcp
        };
        if let Some(class) = usize::from(status / 100).checked_sub(1)
            && let Some(count) = kind.get(class)
        {
            add(count, 1);
        }
    }

    pub(crate) fn snapshot(&self) -> Sessions {
        Sessions {
            open: self.open.get(),
            tcp: self.tcp.each_ref().map(Cell::get),
            udp: self.udp.each_ref().map(Cell::get),
            received_bytes: self.received.get(),
            sent_bytes: self.sent.get(),
        }
    }
}

impl Sessions {
    /// Adds another core's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.open += other.open;
        for (sum, more) in self.tcp.iter_mut().zip(other.tcp) {
            *sum += more;
        }
        for (sum, more) in self.udp.iter_mut().zip(other.udp) {
            *sum += more;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
    }
}
