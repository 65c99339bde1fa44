//! The end-to-end harness: temporary folders, free ports, daemons as child processes, scripted peers, clients that
//! count. Every wait is for something that can be seen (a phase, a readiness message, an answer), never for time.
//! Not here: any test, and anything that links a daemon. Programs are run as a user runs them.
#![allow(
    clippy::unwrap_used,
    reason = "the harness is test code: a panic is how a test fails"
)]

pub mod browser;
pub mod client;
pub mod control;
pub mod daemon;
pub mod folder;
pub mod gateways;
pub mod kernel;
pub mod load;
pub mod notify;
pub mod port;
pub mod process;
pub mod refusal;
pub mod reply;
pub mod site;
pub mod tools;
pub mod upstream;
pub mod wait;
pub mod websocket;
pub mod wheels;
