//! The handle on the thread that moves programs' output from their pipes to where it belongs. The thread waits for
//! nothing but output and commands, so no control traffic ever keeps a program waiting at a full pipe.
//! Not here: the thread's own doings (see `room`), or who reads the logs afterwards (see `tail`).

use super::Key;
use super::filter::{Heard, Wanted};
use super::room::Room;
use super::tap::Tap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use trine_sys::epoll::{eventfd, eventfd_wake};

/// Pieces of output that wait to become events; more are dropped rather than keeping programs waiting.
const HEARD_WAITING: usize = 256;
/// The thread keeps no buffers there; the rules of time zones want some when they are read. Untouched it costs nothing.
const STACK_BYTES: usize = 1 << 20;

/// Dropping it ends the thread; what is still in the pipes stays there.
#[derive(Debug)]
pub struct Pump {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    /// Output that listeners may want.
    pub heard: mpsc::Receiver<Heard>,
}

/// What is to be made of a channel's output.
#[derive(Debug, Default)]
pub struct Manner {
    pub wanted: Wanted,
    /// Where it lies while it is changed (see `staging`); `None`: where it lay before, or it is not changed.
    pub staging: Option<OwnedFd>,
}

#[derive(Debug)]
pub(super) enum Command {
    Add {
        key: Key,
        pipe: OwnedFd,
        tap: Arc<Tap>,
        manner: Manner,
    },
    /// Change where the output goes; what waits in the pipe still goes to the old place.
    Redirect {
        key: Key,
        tap: Arc<Tap>,
        manner: Manner,
    },
    /// Move what waits, then answer.
    Drain {
        key: Key,
        done: oneshot::Sender<()>,
    },
    /// Move what waits, then let go of the pipe, then answer.
    Remove {
        key: Key,
        done: oneshot::Sender<()>,
    },
    Reopen,
    Quit,
}

impl Pump {
    pub fn start() -> io::Result<Self> {
        let (commands, inbox) = channel();
        let wake = Arc::new(eventfd()?);
        let (tell, heard) = mpsc::channel(HEARD_WAITING);
        let mut room = Room::new(wake.clone(), inbox, tell)?;
        let thread = std::thread::Builder::new()
            .name("log-pump".into())
            .stack_size(STACK_BYTES)
            .spawn(move || room.run())?;
        Ok(Self {
            commands,
            wake,
            heard,
            thread: Some(thread),
        })
    }

    fn send(&self, command: Command) {
        // Both fail only when the thread is gone, which is when this handle is dropped.
        let _ = self.commands.send(command);
        let _ = eventfd_wake(&*self.wake);
    }

    pub fn add(&self, key: Key, pipe: OwnedFd, tap: Arc<Tap>, manner: Manner) {
        self.send(Command::Add {
            key,
            pipe,
            tap,
            manner,
        });
    }

    pub fn redirect(&self, key: Key, tap: Arc<Tap>, manner: Manner) {
        self.send(Command::Redirect { key, tap, manner });
    }

    /// Resolves once what is in the pipe now is where it belongs. An unknown key resolves at once.
    pub fn drain(&self, key: Key) -> oneshot::Receiver<()> {
        let (done, drained) = oneshot::channel();
        self.send(Command::Drain { key, done });
        drained
    }

    pub fn remove(&self, key: Key) -> oneshot::Receiver<()> {
        let (done, removed) = oneshot::channel();
        self.send(Command::Remove { key, done });
        removed
    }

    /// Follows the paths of all log files again.
    pub fn reopen(&self) {
        self.send(Command::Reopen);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.send(Command::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
