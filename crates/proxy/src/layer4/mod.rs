//! TCP and UDP below HTTP (`stream`): what a client sends goes on to a server of an upstream as it comes.
//!
//! `session` is one client's session up to its line in the log, `connection` one of TCP from its first byte, `hello`
//! reads what a TLS client asks for, `dial` finds a server, `handshake` has TLS at both ends, `relay` copies, `preamble`
//! says who the client is, `template` has strings with the variables of sessions, `figures` what is counted of them. Of
//! UDP `datagrams` has a door and its sessions, `exchange` what a session does, `wire` its socket to the server.
//! Balancing, health and held sockets are those of HTTP (`upstream`, `listen`). Not here: reading the configuration.

mod connection;
mod datagrams;
mod dial;
mod exchange;
pub(crate) mod figures;
mod handshake;
pub(crate) mod hello;
mod preamble;
mod relay;
pub(crate) mod session;
pub(crate) mod template;
mod wire;

pub(crate) use connection::serve;
pub(crate) use datagrams::serve as serve_datagrams;
