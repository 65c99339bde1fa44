//! What is done to bodies of answers on their way to the client: unpacked, strings in them replaced, texts put around
//! them, compressed.
//!
//! `plan` is what the head has to tell of it, `chain` does it, with threads for work that would hold up the core's other
//! connections, `send` sends what is there already. Not here: whether an answer is compressed (`compress`).

mod chain;
mod plan;
mod replace;
mod send;
mod surround;

pub(crate) use chain::{Chain, Presses, Tally};
pub(crate) use plan::{PLAIN, Plan, Shown, Texts};
pub(crate) use send::{Broken, From, send};
pub(crate) use surround::Around;
