//! The thread that moves programs' output from their pipes to where it belongs. It waits for nothing but output and
//! commands, so no control traffic ever keeps a program waiting at a full pipe.
//! Not here: how bytes are moved and files rotated (see `file`), or who reads them afterwards (see `tail`).

use super::Key;
use super::file::{LogWriter, Moved, Peek};
use super::tap::Tap;
use crate::config::{LogFile, Sink};
use nix::fcntl::SpliceFFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use trine_sys::epoll::{Epoll, Event, Interest, eventfd, eventfd_take, eventfd_wake};
use trine_sys::file as sys;

const COMMANDS: u64 = 0;
/// When output trickles in faster than this, it is collected for as long before the next look.
const BREATH: Duration = Duration::from_millis(1);
/// How often a disk that takes nothing is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The handle. Dropping it ends the thread; what is still in the pipes stays there.
#[derive(Debug)]
pub struct Pump {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Add {
        key: Key,
        pipe: OwnedFd,
        outlet: Outlet,
        tap: Arc<Tap>,
    },
    /// Change where the output goes; what waits in the pipe still goes to the old place.
    Redirect {
        key: Key,
        outlet: Outlet,
        tap: Arc<Tap>,
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

/// Where a stream goes.
#[derive(Debug)]
pub enum Outlet {
    File(LogWriter),
    /// A log file that could not be opened yet.
    Unopened(LogFile),
    /// Something without an end to ask for.
    Plain(File),
}

impl Outlet {
    pub fn open(sink: &Sink) -> io::Result<Self> {
        match sink {
            Sink::Discard => Ok(Self::Plain(File::options().write(true).open("/dev/null")?)),
            Sink::Stdout => Ok(Self::Plain(File::from(trine_sys::fdpass::duplicate(
                io::stdout(),
                10,
            )?))),
            Sink::File(settings) => Ok(Self::File(LogWriter::open(settings.clone())?)),
        }
    }

    /// For a program that runs already: its log is tried again and again, like one on a full disk.
    #[must_use]
    pub fn open_or_retry(sink: &Sink) -> Option<Self> {
        match (Self::open(sink), sink) {
            (Ok(outlet), _) => Some(outlet),
            (Err(_), Sink::File(settings)) => Some(Self::Unopened(settings.clone())),
            (Err(_), Sink::Discard | Sink::Stdout) => None,
        }
    }
}

impl Pump {
    pub fn start() -> io::Result<Self> {
        let (commands, inbox) = channel();
        let wake = Arc::new(eventfd()?);
        let epoll = Epoll::new()?;
        epoll.add(&*wake, COMMANDS, Interest::EPOLLIN)?;
        let mut room = Room {
            epoll,
            wake: wake.clone(),
            inbox,
            streams: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: COMMANDS + 1,
            peek: Peek::new()?,
            null: File::options().write(true).open("/dev/null")?,
            stuck: 0,
        };
        let thread = std::thread::Builder::new()
            .name("log-pump".into())
            .stack_size(256 << 10)
            .spawn(move || room.run())?;
        Ok(Self {
            commands,
            wake,
            thread: Some(thread),
        })
    }

    fn send(&self, command: Command) {
        // Both fail only when the thread is gone, which is when this handle is dropped.
        let _ = self.commands.send(command);
        let _ = eventfd_wake(&*self.wake);
    }

    pub fn add(&self, key: Key, pipe: OwnedFd, outlet: Outlet, tap: Arc<Tap>) {
        self.send(Command::Add {
            key,
            pipe,
            outlet,
            tap,
        });
    }

    pub fn redirect(&self, key: Key, outlet: Outlet, tap: Arc<Tap>) {
        self.send(Command::Redirect { key, outlet, tap });
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

#[derive(Debug)]
struct Room {
    epoll: Epoll,
    wake: Arc<OwnedFd>,
    inbox: Receiver<Command>,
    streams: BTreeMap<u64, Stream>,
    tokens: BTreeMap<Key, u64>,
    next_token: u64,
    peek: Peek,
    null: File,
    /// Streams whose outlet takes nothing.
    stuck: usize,
}

#[derive(Debug)]
struct Stream {
    key: Key,
    pipe: OwnedFd,
    capacity: usize,
    outlet: Outlet,
    tap: Arc<Tap>,
    /// The last attempt to write failed; the pipe is not watched until one succeeds.
    stuck: bool,
}

impl Room {
    fn run(&mut self) {
        let mut events = [Event::EMPTY; 64];
        let mut last_pass = Instant::now();
        loop {
            let timeout = if self.stuck > 0 {
                RETRY.as_millis() as i32
            } else {
                -1
            };
            let Ok(count) = self.epoll.wait(&mut events, timeout) else {
                return;
            };
            let mut little = true;
            for event in &events[..count] {
                if event.token() == COMMANDS {
                    let _ = eventfd_take(&*self.wake);
                    while let Ok(command) = self.inbox.try_recv() {
                        if !self.obey(command) {
                            return;
                        }
                    }
                    little = false;
                } else {
                    little &= self.pump(event.token());
                }
            }
            if self.stuck > 0 {
                self.retry();
            }
            let now = Instant::now();
            if little && now - last_pass < BREATH {
                std::thread::sleep(BREATH);
            }
            last_pass = now;
        }
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Add {
                key,
                pipe,
                outlet,
                tap,
            } => {
                let token = self.next_token;
                self.next_token += 1;
                let capacity = sys::pipe_size(&pipe).unwrap_or(64 << 10);
                if let Err(err) = self.epoll.add(&pipe, token, Interest::EPOLLIN) {
                    tracing::error!("cannot watch the output of {key}: {err}");
                    return true;
                }
                self.tokens.insert(key.clone(), token);
                self.streams.insert(
                    token,
                    Stream {
                        key,
                        pipe,
                        capacity,
                        outlet,
                        tap,
                        stuck: false,
                    },
                );
            }
            Command::Redirect { key, outlet, tap } => {
                self.drain(&key);
                if let Some(stream) = self
                    .tokens
                    .get(&key)
                    .and_then(|token| self.streams.get_mut(token))
                {
                    stream.outlet = outlet;
                    stream.tap = tap;
                }
            }
            Command::Drain { key, done } => {
                self.drain(&key);
                let _ = done.send(());
            }
            Command::Remove { key, done } => {
                self.drain(&key);
                if let Some(stream) = self
                    .tokens
                    .remove(&key)
                    .and_then(|token| self.streams.remove(&token))
                {
                    self.stuck -= usize::from(stream.stuck);
                    let _ = self.epoll.delete(&stream.pipe);
                }
                let _ = done.send(());
            }
            Command::Reopen => {
                for stream in self.streams.values_mut() {
                    if let Outlet::File(log) = &mut stream.outlet {
                        stream
                            .tap
                            .rotate(|| log.reopen().map(|()| false))
                            .unwrap_or_else(|err| {
                                tracing::error!("cannot reopen the log of {}: {err}", stream.key);
                            });
                    }
                }
            }
            Command::Quit => return false,
        }
        true
    }

    /// One step for one stream; whether it moved only little.
    fn pump(&mut self, token: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&token) else {
            return true;
        };
        match stream.step(&mut self.peek, &self.null) {
            Ok(Moved::Nothing) => true,
            Ok(Moved::Rotated) => false,
            Ok(Moved::Bytes(count)) => count < stream.capacity / 4,
            Err(err) => {
                tracing::error!("cannot write the log of {}: {err}; trying on", stream.key);
                stream.stuck = true;
                self.stuck += 1;
                let _ = self.epoll.delete(&stream.pipe);
                true
            }
        }
    }

    fn drain(&mut self, key: &Key) {
        let Some(stream) = self
            .tokens
            .get(key)
            .and_then(|token| self.streams.get_mut(token))
        else {
            return;
        };
        // Bounded: a descendant may go on writing for ever.
        let mut left = 4 * stream.capacity;
        while let Ok(moved) = stream.step(&mut self.peek, &self.null) {
            match moved {
                Moved::Nothing => return,
                Moved::Rotated => {}
                Moved::Bytes(count) if count >= left => return,
                Moved::Bytes(count) => left -= count,
            }
        }
    }

    fn retry(&mut self) {
        for (token, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.stuck) {
            if stream.step(&mut self.peek, &self.null).is_ok() {
                stream.stuck = false;
                self.stuck -= 1;
                tracing::warn!(
                    "the log of {} can be written again, {} bytes were dropped",
                    stream.key,
                    stream.tap.dropped()
                );
                let _ = self.epoll.add(&stream.pipe, *token, Interest::EPOLLIN);
            } else {
                stream.make_room(&self.null);
            }
        }
    }
}

impl Stream {
    fn step(&mut self, peek: &mut Peek, null: &File) -> io::Result<Moved> {
        if let Outlet::Unopened(settings) = &self.outlet {
            self.outlet = Outlet::File(LogWriter::open(settings.clone())?);
        }
        let moved = match &mut self.outlet {
            Outlet::Unopened(_) => Moved::Nothing,
            Outlet::File(log) => {
                let tap = &self.tap;
                let (pipe, capacity) = (&self.pipe, self.capacity);
                tap.rotate_if(|| log.step(pipe, capacity, peek))?
            }
            Outlet::Plain(out) => copy(&self.pipe, out, peek, null)?,
        };
        if let Moved::Bytes(count) = moved {
            self.tap.wrote(count as u64);
        }
        Ok(moved)
    }

    /// The disk takes nothing: rather lose output, and say how much, than let the program wait.
    fn make_room(&self, null: &File) {
        let waiting = sys::readable_bytes(&self.pipe).unwrap_or(0);
        if waiting > self.capacity / 4 * 3 {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            if let Ok(count) = sys::splice(&self.pipe, null, None, waiting, flags) {
                self.tap.lost(count as u64);
            }
        }
    }
}

/// For outlets the kernel cannot splice into: a copy is written out, then the original is thrown away. A brain killed
/// in between says the same thing twice.
fn copy(pipe: &OwnedFd, out: &mut File, peek: &mut Peek, null: &File) -> io::Result<Moved> {
    let seen = peek.look(pipe, 64 << 10)?;
    if seen.is_empty() {
        return Ok(Moved::Nothing);
    }
    let count = seen.len();
    out.write_all(seen)?;
    let mut left = count;
    while left > 0 {
        left -= sys::splice(pipe, null, None, left, SpliceFFlags::empty())?.min(left);
    }
    Ok(Moved::Bytes(count))
}
