//! A worker process: it loads the application, takes requests from the listeners and answers them.
//!
//! `life` is its course, `boot` what it starts with, `serving` the time between. `io` is the loop, `inline` calls the application
//! on the loop's own thread, `threads` hands requests to others. `gateway` lets in what is not HTTP. `watch` sees to requests that
//! take too long, `share` to those that wait behind them. `reply`, `environ`, `trust` and `outbox` are the pure parts.
//! Invariants: nothing of the arbiter runs here, and the process never returns into the arbiter's code; when the
//! arbiter is gone, the worker finishes what it has and ends.
//! Not here: Python itself (`python`), and the processes' life (`arbiter`).

pub mod body;
mod boot;
mod conn;
mod date;
mod drain;
pub mod environ;
pub mod exchange;
pub mod gateway;
pub mod identity;
pub mod inline;
pub mod io;
mod life;
pub mod outbox;
pub mod recycle;
pub mod reply;
mod serving;
pub mod share;
mod tally;
pub mod threads;
pub mod tls;
pub mod transport;
pub mod trust;
pub mod watch;

pub use boot::{Boot, Hooked, Logging};
pub use life::run;
