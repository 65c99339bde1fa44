//! What the configuration says about a connection, by its last request or by the listener that it came in by.
//!
//! Not here: what it says about a request (`route`).

use trine_http1::Limits;

use super::Conn;
use crate::config::{Http2Rules, Server, Signature, Timeouts};
use crate::engine::Generation;
use crate::tls::Tls;

impl Conn {
    /// How HTTP/2 is spoken on this connection.
    pub(crate) fn http2_rules(&self) -> Http2Rules {
        let name = self.stream.tls().and_then(Tls::server_name);
        self.generation.borrow().http2(self.door, name.as_deref())
    }

    /// How long the client may take.
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeout(|timeouts| *timeouts)
    }

    /// One of these: there are many.
    pub(crate) fn timeout<T>(&self, which: impl FnOnce(&Timeouts) -> T) -> T {
        let generation = self.generation.borrow();
        let config = &generation.config;
        let rules = self.rules.get().and_then(|rules| config.rules.get(rules));
        if let Some(timeouts) = rules.and_then(|rules| rules.timeouts.as_ref()) {
            return which(timeouts);
        }
        which(
            self.server_of(&generation)
                .map_or(&config.timeouts, |server| &server.timeouts),
        )
    }

    /// How large the head of a request may be.
    pub(crate) fn head_limits(&self) -> Limits {
        self.server_of(&self.generation.borrow())
            .map_or_else(Limits::default, |server| server.heads)
    }

    /// Whether fields with names that are no tokens are left out.
    pub(super) fn drops_odd_names(&self) -> bool {
        self.server_of(&self.generation.borrow())
            .is_some_and(|server| server.field_names.drops)
    }

    /// What a client is told of the program before it has asked for anything.
    pub(super) fn signature(&self) -> Signature {
        let generation = self.generation.borrow();
        let server = self.server_of(&generation);
        let rules = server.map(|server| generation.config.rules(server.rules));
        rules.map_or_else(Signature::name, |rules| rules.signature.clone())
    }

    /// The server of the last request, or the first one at this door.
    fn server_of<'a>(&self, generation: &'a Generation) -> Option<&'a Server> {
        let first = || generation.listen(self.door)?.servers.first().copied();
        let server = self.server.get().or_else(first)?;
        generation.config.servers.get(server)
    }
}
