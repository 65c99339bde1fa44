//! What a process lives through, as pure values: states, back-off, and the clock they are measured on.
//! Not here: processes, signals, timers or configuration files; `brain` performs what `state::step` returns.

pub mod backoff;
pub mod life;
pub mod moment;
pub mod state;

#[cfg(test)]
mod simulation;
