//! Upstreams: whom a request is forwarded to, and forwarding it until one of them has answered.
//!
//! `pool` keeps connections, `connect` makes them, `head` writes what is sent, `codec` knows the protocols, `exchange`
//! sends and reads the answer's head, `relay` passes the answer on, `tunnel` copies what follows an upgrade, `retry` decides what may be
//! sent again, `forward` puts them in order. Not here: choosing the upstream (see `route`).

mod codec;
pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod fault;
pub(crate) mod forward;
mod head;
pub(crate) mod pool;
mod relay;
mod retry;
mod tunnel;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Upstream;
pub(crate) use forward::forward;
use pool::Peer;

/// The servers of one upstream, as one core uses them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) config: Arc<Upstream>,
    pub(crate) peers: Vec<Rc<Peer>>,
    next: Cell<usize>,
}

impl Group {
    pub(crate) fn new(config: Arc<Upstream>, peers: Vec<Rc<Peer>>) -> Self {
        Self {
            config,
            peers,
            next: Cell::new(0),
        }
    }

    /// The servers in turn: where this request starts, in `peers`.
    fn turn(&self) -> usize {
        let turn = self.next.get();
        self.next.set(if turn + 1 < self.config.primaries {
            turn + 1
        } else {
            0
        });
        turn
    }
}
