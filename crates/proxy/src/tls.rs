//! TLS towards clients and upstream servers, by rustls: certificates by server name, tickets shared by the
//! cores, one session on a socket.
//!
//! `Tls` has the same operations as a bare socket (see `stream`): bytes that were taken are not lost when the socket is
//! full, they are owed and sent first the next time. `server` makes what a listening socket needs,
//! `certificates` reads and chooses what is shown, `clients` judges
//! clients' certificates and `x509` tells what is in them, `tickets` has the keys of resumed sessions, `suites` reads
//! OpenSSL's strings, `watch` notices new files; `dial` and `dialled` are the
//! client's side, towards upstream servers. Not here: which servers have certificates (`config`).

mod certificates;
mod clients;
mod dial;
mod dialled;
mod server;
mod session;
pub(crate) mod suites;
mod tickets;
mod watch;
mod x509;

pub(crate) use clients::Verdict;
pub(crate) use dial::Dial;
pub(crate) use dialled::Dialled;
pub use server::TlsError;
pub(crate) use server::{Door, check, doors};
pub(crate) use session::Tls;
pub(crate) use tickets::Keyring;
pub(crate) use watch::Watch;
pub(crate) use x509::Shown;
