//! Output of programs: from their pipes into files without losing or doubling a line, and back to whoever asks.
//! Not here: the pipes themselves (the holder has them), or the supervisor's own log.

pub(super) mod auto_log;
mod changes;
mod compress;
mod cut;
mod echo;
mod file;
pub mod filter;
pub mod lines;
mod outlet;
pub mod pump;
mod room;
mod staging;
mod stream;
pub mod tail;
pub mod tap;

pub(in crate::brain) use file::Peek;
pub(in crate::brain) use outlet::discard;
pub(in crate::brain) use staging::take_back;

use crate::holder::wire::Channel;
use std::fmt;

/// Which stream of which process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub id: String,
    pub channel: Channel,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.channel.name())
    }
}
