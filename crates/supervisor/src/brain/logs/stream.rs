//! One channel of one process on its way from the pipe to the log, and to whoever listens.
//! Not here: which stream's turn it is (see `room`), how bytes are moved and files rotated (see `file`).

use super::Key;
use super::echo::Echo;
use super::file::{Moved, Peek};
use super::filter::{Filter, Heard, Part, Wanted};
use super::lines::{self, Speaker};
use super::outlet::{Scratch, discard};
use super::tap::Tap;
use crate::brain::syslog::Syslog;
use crate::config::extras::LineFormat;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::Sender;
use trine_sys::file as sys;

/// Looked at in one step.
const LOOK_BYTES: usize = 64 << 10;

/// What all streams use, one after the other.
#[derive(Debug)]
pub(super) struct Means {
    peek: Peek,
    null: File,
    tell: Sender<Heard>,
    syslog: Syslog,
}

impl Means {
    pub(super) fn new(tell: Sender<Heard>) -> io::Result<Self> {
        Ok(Self {
            peek: Peek::new()?,
            null: File::options().write(true).open("/dev/null")?,
            tell,
            syslog: Syslog::default(),
        })
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) pipe: OwnedFd,
    pub(super) capacity: usize,
    pub(super) tap: Arc<Tap>,
    /// The last attempt to write failed; the pipe is not watched until one succeeds.
    pub(super) stuck: bool,
    /// Since when a line without an end waits.
    pub(super) partial: Option<Instant>,
    /// Looks at what goes by, if anybody wants that.
    filter: Option<Filter>,
    echo: Option<Echo>,
    speaker: Speaker,
    /// What the filter let through of a line whose end has not come, where lines are changed.
    begun: Vec<u8>,
}

impl Stream {
    pub(super) fn new(key: Key, pipe: OwnedFd, tap: Arc<Tap>, wanted: Wanted) -> Self {
        let speaker = Speaker {
            id: key.id.clone(),
            channel: key.channel.name(),
        };
        let mut stream = Self {
            key,
            capacity: sys::pipe_size(&pipe).unwrap_or(64 << 10),
            pipe,
            tap,
            stuck: false,
            partial: None,
            filter: None,
            echo: None,
            speaker,
            begun: Vec::new(),
        };
        stream.look_for(wanted);
        stream
    }

    pub(super) fn look_for(&mut self, wanted: Wanted) {
        self.filter = (!wanted.nothing()).then(|| Filter::new(wanted));
        self.echo = Echo::new(wanted);
    }

    /// Moves some of what waits. `flush`: also a line that has no end, where lines are changed.
    pub(super) fn step(&mut self, means: &mut Means, flush: bool) -> io::Result<Moved> {
        if let Some(filter) = &mut self.filter {
            let seen = means.peek.look(self.pipe.as_fd(), LOOK_BYTES)?;
            if seen.is_empty() {
                return Ok(Moved::Nothing);
            }
            let (count, parts) = (seen.len(), filter.feed(seen));
            self.put(parts, means);
            discard(self.pipe.as_fd(), count, &means.null)?;
            return Ok(Moved::Bytes(count));
        }
        let mut scratch = Scratch {
            peek: &mut means.peek,
            null: &means.null,
            speaker: &self.speaker,
            flush,
        };
        self.tap
            .step(self.pipe.as_fd(), self.capacity, &mut scratch)
    }

    /// To the log, and to whoever listens. What does not find a place is dropped: the program must not wait.
    fn put(&mut self, parts: Vec<Part>, means: &mut Means) {
        let tells = self.filter.as_ref().is_some_and(Filter::tells);
        for part in parts {
            let (bytes, is_captured) = match part {
                Part::Plain(bytes) => {
                    self.write(&bytes, false);
                    if let Some(echo) = &mut self.echo {
                        echo.hear(&bytes, &self.speaker, &mut means.syslog);
                    }
                    if !tells {
                        continue;
                    }
                    (bytes, false)
                }
                Part::Captured(bytes) => (bytes, true),
            };
            let heard = Heard {
                key: self.key.clone(),
                bytes,
                is_captured,
            };
            if means.tell.try_send(heard).is_err() {
                tracing::error!("too much output of {} to make events of all", self.key);
            }
        }
    }

    /// Into the log, in its format.
    fn write(&mut self, bytes: &[u8], flush: bool) {
        let format = self.tap.line_format();
        if format == LineFormat::Raw && self.begun.is_empty() {
            self.tap.append(bytes);
            return;
        }
        self.begun.extend_from_slice(bytes);
        let count = lines::whole(&self.begun, flush);
        let mut out = Vec::with_capacity(count * 2);
        let time = lines::time();
        lines::write(&mut out, &self.begun[..count], format, &self.speaker, &time);
        self.begun.drain(..count);
        self.tap.append(&out);
    }

    /// Nothing more comes for now.
    pub(super) fn flush(&mut self, means: &mut Means) {
        let Some(filter) = &mut self.filter else {
            return;
        };
        let parts = filter.flush();
        self.put(parts, means);
        self.end_line(means);
    }

    /// Whether the filter let through the beginning of a line that has not been passed on.
    pub(super) fn has_begun_line(&self) -> bool {
        !self.begun.is_empty() || self.echo.as_ref().is_some_and(Echo::has_begun_line)
    }

    /// Passes it on.
    pub(super) fn end_line(&mut self, means: &mut Means) {
        if !self.begun.is_empty() {
            self.write(b"", true);
        }
        if let Some(echo) = &mut self.echo {
            echo.flush(&self.speaker, &mut means.syslog);
        }
    }

    /// The disk takes nothing: rather lose output, and say how much, than let the program wait.
    pub(super) fn make_room(&self, means: &Means) {
        let waiting = sys::readable_bytes(&self.pipe).unwrap_or(0);
        let is_nearly_full = waiting > self.capacity / 4 * 3;
        if is_nearly_full && discard(self.pipe.as_fd(), waiting, &means.null).is_ok() {
            self.tap.lost(waiting as u64);
        }
    }
}
