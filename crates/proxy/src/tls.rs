//! TLS towards clients, by rustls: certificates by server name, tickets shared by the cores, one session on a socket.
//!
//! `Tls` has the same operations as a bare socket (see `stream`): bytes that were taken are not lost when the socket is
//! full, they are owed and sent first the next time. Not here: which servers have certificates (`config`).

mod server;
mod session;

pub use server::TlsError;
pub(crate) use server::{Door, doors};
pub(crate) use session::Tls;
