//! What the brain asks the holder for.
//! Not here: doing it (`holder::orders`).

use super::{Channel, Ticket};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the brain asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A new brain: send the table.
    Hello,
    /// Keep this text for the next brain (`None`: forget it).
    Store {
        key: String,
        value: Option<String>,
    },
    Spawn(Box<SpawnOrder>),
    Signal {
        id: String,
        signal: i32,
        group: bool,
    },
    /// Write this to the standard input of a process that has a pipe there, whole; what it has not read yet waits.
    Feed {
        ticket: Ticket,
        id: String,
        text: String,
    },
    /// The exit (or failed spawn) of this generation is known and written down.
    Acknowledge {
        id: String,
        generation: u64,
    },
    /// Make the log pipe of a process (or the memory file), unless it has one, and send its read end.
    OpenPipe {
        ticket: Ticket,
        id: String,
        channel: Channel,
        bytes: usize,
    },
    /// Bind a socket, unless `key` is held already. `give`: send the brain a copy.
    Bind {
        ticket: Ticket,
        key: String,
        bind: BindOrder,
        give: bool,
    },
    /// Close a held socket.
    Release {
        key: String,
    },
    /// This process will not come back: close its pipes.
    Forget {
        id: String,
    },
    /// Signals up to this number are written down.
    TakeSignals {
        up_to: u64,
    },
    /// Write the pid file, and remove the one before; an empty path: only that.
    Pidfile {
        ticket: Ticket,
        path: String,
    },
    /// All that may go wrong at the beginning has gone well.
    Started,
    /// Tell whoever supervises us.
    Notify {
        text: String,
    },
    /// The answer to `Report::Ping`.
    Pong {
        number: u64,
    },
    /// Much has happened and is over: memory that nobody needs any more goes back to the kernel.
    Rest,
    /// Execute another program (`None`: what lies at our own path now) in the holder's place, with the whole table.
    /// Answered only when that is refused: otherwise the brain that asked is ended.
    Upgrade {
        ticket: Ticket,
        program: Option<String>,
    },
    /// When the process ends, go on with this descendant of it in its place (MAINPID).
    Follow {
        id: String,
        generation: u64,
        pid: i32,
    },
    /// Keep the descriptors that come with this frame for the next process of a program (FDSTORE=1).
    KeepFds {
        id: String,
        name: String,
    },
    /// Close what was kept under this name (FDSTOREREMOVE=1).
    DropFds {
        id: String,
        name: String,
    },
    /// Everything is stopped: end with this code.
    Exit {
        code: u8,
        /// What programs have left behind lives on.
        #[serde(default)]
        leave: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindOrder {
    pub address: String,
    pub mode: u32,
    /// Who gets a Unix socket, as user and group.
    #[serde(default)]
    pub owner: Option<(u32, u32)>,
    pub backlog: u32,
    /// Whether accept on it waits, as programs that know nothing of us expect.
    pub blocking: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpawnOrder {
    pub id: String,
    pub generation: u64,
    pub program: String,
    pub argv: Vec<String>,
    /// Set on top of the holder's own environment.
    pub set_env: BTreeMap<String, String>,
    /// Taken out of the holder's own environment.
    pub unset_env: Vec<String>,
    pub directory: Option<String>,
    pub user: Option<Identity>,
    pub umask: Option<u32>,
    /// Held sockets from descriptor 3 on, as (LISTEN_FDNAMES name, key).
    pub sockets: Vec<(String, String)>,
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Output,
    /// When it has ended, ask what is left of its process group to end too.
    pub end_group: bool,
    pub confinement: Confinement,
    /// Give it the pipe of [`Channel::Ready`] at this number.
    pub ready_fd: Option<i32>,
}

/// What a process is held to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// Name as in `trine_sys::limits::parse`, soft, hard.
    pub rlimits: Vec<(String, u64, u64)>,
    pub nice: Option<i32>,
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    /// Bits of the capabilities that stay possible.
    pub capabilities: Option<u64>,
    /// The folder of its control group, which exists.
    pub cgroup: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    #[default]
    Null,
    /// The held socket of this key.
    Socket(String),
    /// A pipe, for [`Order::Feed`].
    Pipe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    #[default]
    Null,
    Pipe(Channel),
}
