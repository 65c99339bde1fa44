//! trine-supervisor: a process manager whose programs outlive it. The started process is the holder; it keeps the
//! brain running as a child. `run` decides which of the two this process is.
//! Not here: the control API's messages (`trine_control`), or anything a program runs.

pub mod brain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod generate;
pub mod group;
pub mod holder;
pub mod launch;
pub mod program;
pub mod schedule;
