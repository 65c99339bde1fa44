//! The log pump's thread: waits for output on all pipes, moves it, and never lets one stream keep the others waiting.
//! Not here: how bytes are moved and files rotated (see `file`).

use super::Key;
use super::changes::Flush;
use super::compress::Compressor;
use super::file::Moved;
use super::filter::Heard;
use super::pump::{Command, Manner};
use super::stream::{Means, Stream};
use super::tap::Tap;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use trine_sys::epoll::{Epoll, Event, Interest, eventfd_take};

const COMMANDS: u64 = 0;
/// When output trickles in faster than this, it is collected for as long before the next look.
const BREATH: Duration = Duration::from_millis(1);
/// How long the end of a line is awaited, where lines are changed on their way.
const PARTIAL_MS: i32 = 1000;
/// How often an outlet that takes nothing is tried again.
const RETRY_MS: i32 = 100;

#[derive(Debug)]
pub(super) struct Room {
    epoll: Epoll,
    wake: Arc<OwnedFd>,
    inbox: Receiver<Command>,
    streams: BTreeMap<u64, Stream>,
    tokens: BTreeMap<Key, u64>,
    next_token: u64,
    means: Means,
    /// Streams whose outlet takes nothing.
    stuck: usize,
    /// Streams that have begun a line whose end is awaited.
    partial: usize,
    compressor: Compressor,
}

impl Room {
    pub(super) fn new(
        wake: Arc<OwnedFd>,
        inbox: Receiver<Command>,
        tell: Sender<Heard>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&*wake, COMMANDS, Interest::EPOLLIN)?;
        Ok(Self {
            epoll,
            wake,
            inbox,
            streams: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: COMMANDS + 1,
            means: Means::new(tell)?,
            stuck: 0,
            partial: 0,
            compressor: Compressor::default(),
        })
    }

    pub(super) fn run(&mut self) {
        let mut events = [Event::EMPTY; 64];
        let mut last_pass = Instant::now();
        loop {
            let timeout = match (self.stuck, self.partial) {
                (1.., _) => RETRY_MS,
                (_, 1..) => PARTIAL_MS,
                _ => -1,
            };
            let Ok(count) = self.epoll.wait(&mut events, timeout) else {
                return;
            };
            let mut little = true;
            for event in &events[..count] {
                if event.token() != COMMANDS {
                    little &= self.pump(event.token());
                    continue;
                }
                let _ = eventfd_take(&*self.wake);
                little = false;
                while let Ok(command) = self.inbox.try_recv() {
                    if matches!(command, Command::Quit) {
                        return;
                    }
                    self.obey(command);
                }
            }
            if self.stuck > 0 {
                self.retry();
            }
            if self.partial > 0 {
                self.flush_partial();
            }
            let now = Instant::now();
            if little && now - last_pass < BREATH {
                std::thread::sleep(BREATH);
            }
            last_pass = now;
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add {
                key,
                pipe,
                tap,
                manner,
            } => self.add(key, pipe, tap, manner),
            Command::Redirect { key, tap, manner } => {
                self.drain(&key);
                if let Some(stream) = self.stream(&key) {
                    stream.tap = tap;
                    stream.go_on(manner);
                }
            }
            Command::Drain { key, done } => {
                self.drain(&key);
                let _ = done.send(());
            }
            Command::Remove { key, done } => {
                self.drain(&key);
                let token = self.tokens.remove(&key);
                if let Some(stream) = token.and_then(|token| self.streams.remove(&token)) {
                    self.stuck -= usize::from(stream.stuck);
                    self.partial -= usize::from(stream.partial.is_some());
                    let _ = self.epoll.delete(&stream.pipe);
                }
                let _ = done.send(());
            }
            Command::Reopen => {
                for stream in self.streams.values() {
                    if let Err(err) = stream.tap.reopen_path() {
                        tracing::error!("cannot reopen the log of {}: {err}", stream.key);
                    }
                }
            }
            Command::Quit => {}
        }
    }

    fn add(&mut self, key: Key, pipe: OwnedFd, tap: Arc<Tap>, manner: Manner) {
        let token = self.next_token;
        self.next_token += 1;
        if let Err(err) = self.epoll.add(&pipe, token, Interest::EPOLLIN) {
            tracing::error!("cannot watch the output of {key}: {err}");
            return;
        }
        self.tokens.insert(key.clone(), token);
        let stream = Stream::new(key, pipe, tap, manner);
        let has_leftovers = stream.has_leftovers();
        self.streams.insert(token, stream);
        if has_leftovers {
            self.pump(token); // nothing in the pipe may ever say that it is there
        }
    }

    fn stream(&mut self, key: &Key) -> Option<&mut Stream> {
        self.streams.get_mut(self.tokens.get(key)?)
    }

    /// One step for one stream; whether it moved only little.
    fn pump(&mut self, token: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&token) else {
            return true;
        };
        let moved = stream.step(&mut self.means, Flush::No);
        let is_over = stream.partial.is_some() && !stream.waits;
        if is_over {
            stream.partial = None;
            self.partial -= 1;
        } else if stream.waits && !matches!(moved, Ok(Moved::Nothing)) {
            // Whatever waits now, it came, or lost what was before it, only just.
            self.partial += usize::from(stream.partial.is_none());
            stream.partial = Some(Instant::now());
        }
        match moved {
            Ok(Moved::Nothing) => true,
            Ok(Moved::Rotated { .. }) => {
                self.compressor.look_after(&stream.tap);
                false
            }
            Ok(Moved::Bytes(count)) => count < stream.capacity / 4,
            Err(err) => {
                self.hold(token, &err);
                true
            }
        }
    }

    /// A stream whose outlet takes nothing is tried again now and then.
    fn hold(&mut self, token: u64, err: &io::Error) {
        let Some(stream) = self.streams.get_mut(&token).filter(|one| !one.stuck) else {
            return;
        };
        tracing::error!(
            "cannot write the log of {}: {err}; trying again",
            stream.key
        );
        stream.stuck = true;
        self.stuck += 1;
        let _ = self.epoll.delete(&stream.pipe);
    }

    fn drain(&mut self, key: &Key) {
        let Some(token) = self.tokens.get(key) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(token) else {
            return;
        };
        // Bounded: a descendant may go on writing for ever.
        let mut left = 4 * stream.capacity;
        while let Ok(moved) = stream.step(&mut self.means, Flush::All) {
            let count = match moved {
                Moved::Nothing => return,
                Moved::Rotated { count } | Moved::Bytes(count) => count,
            };
            if count >= left {
                return;
            }
            left -= count;
        }
    }

    /// Writes lines whose end does not come.
    fn flush_partial(&mut self) {
        let patience = Duration::from_millis(PARTIAL_MS.unsigned_abs().into());
        let mut failed = Vec::new();
        for (token, stream) in &mut self.streams {
            let is_due = stream
                .partial
                .is_some_and(|since| since.elapsed() >= patience);
            if stream.stuck || !is_due {
                continue;
            }
            // What still waits then, for the end of a tag, is looked at again when more comes.
            stream.partial = None;
            self.partial -= 1;
            if let Err(err) = stream.step(&mut self.means, Flush::Lines) {
                failed.push((*token, err));
            }
        }
        for (token, err) in failed {
            self.hold(token, &err);
        }
    }

    fn retry(&mut self) {
        for (token, stream) in &mut self.streams {
            if !stream.stuck {
                continue;
            }
            if stream.step(&mut self.means, Flush::No).is_err() {
                stream.make_room(&self.means);
                continue;
            }
            stream.stuck = false;
            self.stuck -= 1;
            if stream.waits && stream.partial.is_none() {
                stream.partial = Some(Instant::now());
                self.partial += 1;
            }
            let _ = self.epoll.add(&stream.pipe, *token, Interest::EPOLLIN);
            let dropped = stream.tap.dropped();
            tracing::warn!(
                "the log of {} can be written again, {dropped} bytes were dropped",
                stream.key
            );
        }
    }
}
