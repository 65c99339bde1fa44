//! The holder: parent of every program, owner of their sockets, log pipes and exit records. It runs orders and
//! decides nothing, so that it hardly ever has to change while programs live.
//! Not here: configuration, policy, async, logs. All of that is the brain's, which may die at any time.

pub mod brain;
pub mod channel;
pub mod kept;
mod leftovers;
pub mod main;
mod orders;
pub mod process;
pub mod slot;
pub mod sockets;
pub mod stdin;
pub mod table;
pub mod upgrade;
pub mod wire;
