//! What brain and holder say to each other: length-prefixed frames of JSON, with descriptors counted in the head.
//! Bytes in, values out. Not here: sockets (see `holder::channel`), or what an order does (see `holder::orders`).
//!
//! A frame from the brain is a list of orders that are carried out together or, if the brain dies before the whole
//! frame is out, not at all. JSON, so that a newer brain and an older holder (or the reverse) understand each other
//! as long as fields are only added.

use crate::program::moment::Moment;
use crate::program::state::Exit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const VERSION: u8 = 1;
/// Stored from the beginning: what the first brain begins with.
pub const FIRST_KEY: &str = "first";
/// version, number of descriptors, two zero bytes, length of the body.
pub const HEAD_BYTES: usize = 8;
pub const MAX_BODY_BYTES: usize = 64 << 20;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a frame of version {0}, not {VERSION}")]
    Version(u8),
    #[error("a frame of {0} bytes, limit {MAX_BODY_BYTES}")]
    TooLarge(usize),
    #[error("a frame that is not understood: {0}")]
    Body(String),
    #[error("a frame without the descriptors it announced")]
    Descriptors,
}

/// One frame, not yet interpreted.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub body: &'a [u8],
    /// How many descriptors came with it.
    pub fds: usize,
}

impl Frame<'_> {
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        serde_json::from_slice(self.body).map_err(|err| WireError::Body(err.to_string()))
    }
}

/// Splits the first frame off `buf`, with the number of bytes it took. `Ok(None)`: more bytes are needed.
pub fn decode(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let Some((head, rest)) = buf.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let [version, fds, _, _, a, b, c, d] = *head;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > MAX_BODY_BYTES {
        return Err(WireError::TooLarge(len));
    }
    Ok(rest.get(..len).map(|body| {
        (
            Frame {
                body,
                fds: usize::from(fds),
            },
            HEAD_BYTES + len,
        )
    }))
}

pub fn encode<T: Serialize>(message: &T, fds: u8) -> Result<Vec<u8>, WireError> {
    let mut out = vec![VERSION, fds, 0, 0, 0, 0, 0, 0];
    serde_json::to_writer(&mut out, message).map_err(|err| WireError::Body(err.to_string()))?;
    let len = out.len() - HEAD_BYTES;
    match u32::try_from(len) {
        Ok(short) if len <= MAX_BODY_BYTES => {
            out[4..HEAD_BYTES].copy_from_slice(&short.to_be_bytes())
        }
        _ => return Err(WireError::TooLarge(len)),
    }
    Ok(out)
}

/// Number of an order that is answered; the brain chooses it.
pub type Ticket = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Stdout,
    Stderr,
    /// No output: where a process says that it is ready, s6's way.
    Ready,
    /// No pipes, but memory files for the brain: where output lies while it is changed on its way into a log.
    StdoutStaging,
    StderrStaging,
}

impl Channel {
    /// The one for the memory file of an output, and the other way round.
    #[must_use]
    pub fn other(self) -> Option<Self> {
        match self {
            Self::Stdout => Some(Self::StdoutStaging),
            Self::Stderr => Some(Self::StderrStaging),
            Self::Ready => None,
            Self::StdoutStaging => Some(Self::Stdout),
            Self::StderrStaging => Some(Self::Stderr),
        }
    }

    #[must_use]
    pub fn is_staging(self) -> bool {
        matches!(self, Self::StdoutStaging | Self::StderrStaging)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Ready => "ready",
            Self::StdoutStaging => "stdout-staging",
            Self::StderrStaging => "stderr-staging",
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], want: &str) {
        let got = match decode(input) {
            Ok(None) => "need more".to_owned(),
            Ok(Some((frame, used))) => {
                format!(
                    "{} with {} fds, {used} bytes used",
                    frame.body.escape_ascii(),
                    frame.fds
                )
            }
            Err(err) => format!("error: {err}"),
        };
        assert_eq!(got, want, "input: {}", input.escape_ascii());
    }

    #[test]
    fn frames() {
        let good = encode(&"hi", 2).unwrap();
        check(&good, "\\\"hi\\\" with 2 fds, 12 bytes used");
        (0..good.len()).for_each(|cut| check(&good[..cut], "need more"));
        check(
            &[&good[..], b"rest"].concat(),
            "\\\"hi\\\" with 2 fds, 12 bytes used",
        );
        check(b"\x02\0\0\0\0\0\0\0", "error: a frame of version 2, not 1");
        check(
            b"\x01\0\0\0\xff\xff\xff\xff",
            "error: a frame of 4294967295 bytes, limit 67108864",
        );
    }

    #[test]
    fn messages_come_back_as_they_went() {
        let orders = vec![
            Order::Hello,
            Order::Store {
                key: "life/web".into(),
                value: Some("{}".into()),
            },
            Order::Spawn(Box::new(SpawnOrder {
                id: "web".into(),
                umask: Some(0o22),
                ..SpawnOrder::default()
            })),
            Order::Bind {
                ticket: 1,
                key: "web/http".into(),
                bind: BindOrder {
                    address: "127.0.0.1:0".into(),
                    mode: 0o600,
                    owner: None,
                    backlog: 128,
                    blocking: true,
                },
                give: false,
            },
            Order::Exit { code: 78 },
        ];
        let bytes = encode(&orders, 0).unwrap();
        let (frame, used) = decode(&bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(frame.message::<Vec<Order>>().unwrap(), orders);
        assert!(matches!(
            frame.message::<Vec<Report>>(),
            Err(WireError::Body(_))
        ));
    }

    #[test]
    fn a_spawn_order_of_an_older_brain_lacks_newer_fields() {
        let order: SpawnOrder =
            serde_json::from_str(r#"{"id":"web","generation":3,"unknown":1}"#).unwrap();
        assert_eq!((order.generation, order.stdout), (3, Output::Null));
    }
}
