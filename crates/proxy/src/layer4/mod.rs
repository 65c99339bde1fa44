//! TCP below HTTP (`stream`): a client's connection goes on to a server of an upstream as it comes.
//!
//! `session` is one client's session from its first byte to its line in the log, `hello` reads what a TLS client asks
//! for, `dial` finds a server, `relay` copies, `preamble` says who the client is, `template` has strings with the
//! variables of sessions. Balancing, health and held sockets are those of HTTP (`upstream`, `listen`). Not here: reading
//! the configuration, which refuses datagrams (UDP).

mod dial;
pub(crate) mod hello;
mod preamble;
mod relay;
pub(crate) mod session;
pub(crate) mod template;

pub(crate) use session::serve;
