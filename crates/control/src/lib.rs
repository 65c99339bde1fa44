//! The control API that every daemon answers on a Unix socket: HTTP and JSON under `/v1`, `/metrics`, and
//! an event stream.
//!
//! Without features: the messages, the table of calls, the event log, the metrics text, the roles; enough
//! to answer from a poll loop without a runtime. `server` and `client` add both ends on hyper and tokio.
//! Not here: what any daemon's own calls mean.

pub mod events;
pub mod message;
pub mod metrics;
pub mod role;
pub mod route;
pub mod socket;
pub mod sse;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "xmlrpc")]
pub mod xmlrpc;

#[cfg(feature = "client")]
pub use client::{Client, ClientError};
pub use events::EventLog;
pub use message::{
    ActionResult, CacheKeys, CacheList, CacheZone, Event, ListenerStatus, ProblemDocument,
    ProgramList, ProgramState, ProgramStatus, ReloadReport, Status,
};
pub use role::Role;
pub use route::{Call, EventQuery};
pub use socket::bind;
