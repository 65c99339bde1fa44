//! The one end-to-end test binary: real daemons, real peers, temporary folders.
#![allow(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in what tests call"
)]

mod interop;
mod proxy;
mod supervisor;
mod tidy;
mod together;
mod upgrade;
mod wsgi;
