//! What the holder tells the brain.
//! Not here: what follows from it (`brain::reports`).

use super::{Channel, Ticket};
use crate::program::moment::Moment;
use crate::program::state::Exit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a slot knows about its current or last process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotLife {
    #[default]
    Empty,
    Alive {
        pid: i32,
        since: Moment,
    },
    Exited {
        pid: i32,
        since: Moment,
        at: Moment,
        exit: Exit,
    },
    Failed {
        at: Moment,
        failure: Failure,
    },
}

/// Why a process could not be created, or an order not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done: `exec`, `chdir`, `bind`.
    pub step: String,
    pub errno: Option<i32>,
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn of(step: &str, err: &std::io::Error) -> Self {
        Self {
            step: step.to_owned(),
            errno: err.raw_os_error(),
            text: err.to_string(),
        }
    }
}

/// What the holder tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The answer to `Hello` begins; one `Slot` per process and one `Socket` per held socket follow, then `TableEnd`.
    /// Descriptor: the notify socket.
    Table(Box<TableHead>),
    /// Descriptors: pidfd if alive, then the read ends of `channels`.
    Slot {
        id: String,
        generation: u64,
        life: SlotLife,
        channels: Vec<Channel>,
    },
    /// Descriptor: the socket, if `given`.
    Socket {
        key: String,
        address: String,
        given: bool,
    },
    TableEnd,
    /// Descriptor: its pidfd.
    Spawned {
        id: String,
        generation: u64,
        pid: i32,
        at: Moment,
    },
    SpawnFailed {
        id: String,
        generation: u64,
        at: Moment,
        failure: Failure,
    },
    Exited {
        id: String,
        generation: u64,
        pid: i32,
        at: Moment,
        exit: Exit,
    },
    /// The process has ended, and another goes on in its place. Descriptor: its pidfd.
    Followed {
        id: String,
        generation: u64,
        pid: i32,
    },
    /// A process that nobody knows was adopted and has ended.
    Stranger {
        pid: i32,
        exit: Exit,
    },
    /// The holder was signalled; numbered so that the brain can say what it has written down.
    Signal {
        number: u64,
        signal: i32,
    },
    /// The order of this ticket is done. Descriptor, if any: what it made. `text`: a socket's actual address.
    Done {
        ticket: Ticket,
        text: String,
    },
    Refused {
        ticket: Ticket,
        failure: Failure,
    },
    /// Say that you live, once all that came before is done.
    Ping {
        number: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHead {
    pub holder_pid: i32,
    /// How many brains there have been, this one included.
    pub brains: u64,
    /// How the last brain ended, unless that was an upgrade.
    pub last_brain: Option<Exit>,
    /// How often the holder has executed another program in its place.
    #[serde(default)]
    pub upgrades: u64,
    /// What NOTIFY_SOCKET says to programs.
    pub notify_socket: String,
    /// What earlier brains stored.
    pub stored: BTreeMap<String, String>,
}
