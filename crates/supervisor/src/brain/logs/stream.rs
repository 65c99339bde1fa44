//! One channel of one process on its way from the pipe to the log, and to whoever listens.
//! Not here: which stream's turn it is (see `room`), how bytes are moved and files rotated (see `file`), what becomes of
//! those that are changed (see `changes`).

use super::Key;
use super::changes::{Changed, Flush, change};
use super::echo::Echo;
use super::file::{Moved, Peek};
use super::filter::{Heard, Part, Resume, Wanted};
use super::lines::Speaker;
use super::outlet::{Scratch, discard};
use super::pump::Manner;
use super::staging::{MOST_OUTPUT, Staging};
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
    /// Something has come in that waits for more, such as the end of a line.
    pub(super) waits: bool,
    /// Since when, while it is looked after.
    pub(super) partial: Option<Instant>,
    wanted: Wanted,
    echo: Option<Echo>,
    speaker: Speaker,
    /// Where output lies while it is changed, if it is or was.
    staging: Option<Staging>,
}

impl Stream {
    pub(super) fn new(key: Key, pipe: OwnedFd, tap: Arc<Tap>, manner: Manner) -> Self {
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
            waits: false,
            partial: None,
            wanted: Wanted::default(),
            echo: None,
            speaker,
            staging: None,
        };
        stream.go_on(manner);
        stream
    }

    pub(super) fn go_on(&mut self, manner: Manner) {
        self.wanted = manner.wanted;
        self.echo = Echo::new(manner.wanted);
        if let Some(fd) = manner.staging {
            match Staging::new(fd) {
                Ok(staging) => self.staging = Some(staging),
                Err(err) => tracing::error!("what is left of {} cannot be read: {err}", self.key),
            }
        }
    }

    /// Whether something is left that an earlier brain had taken out of the pipe.
    pub(super) fn has_leftovers(&self) -> bool {
        let staging = self.staging.as_ref();
        staging.is_some_and(|staging| !staging.is_empty().unwrap_or(true))
    }

    /// Moves some of what waits.
    pub(super) fn step(&mut self, means: &mut Means, flush: Flush) -> io::Result<Moved> {
        let format = self.tap.line_format();
        let is_changed = self.tap.changes(self.wanted);
        if is_changed && self.staging.is_none() {
            self.staging = Some(Staging::of_our_own()?);
        }
        match &mut self.staging {
            Some(staging) if is_changed || !staging.is_empty()? => {
                self.step_changed(means, format, flush)
            }
            _ => {
                let mut scratch = Scratch {
                    peek: &mut means.peek,
                    null: &means.null,
                };
                self.tap
                    .step(self.pipe.as_fd(), self.capacity, &mut scratch)
            }
        }
    }

    fn step_changed(
        &mut self,
        means: &mut Means,
        format: LineFormat,
        flush: Flush,
    ) -> io::Result<Moved> {
        let Some(staging) = &mut self.staging else {
            return Ok(Moved::Nothing);
        };
        self.waits = true; // should it fail
        let before = put(&self.tap, staging)?;
        let came = staging.take_in(&self.pipe, LOOK_BYTES)?;
        let resume = Resume::of(staging.resume());
        let mut input = staging.input()?;
        let waiting = input.len();
        let changed = loop {
            let changed = change(&input, resume, self.wanted, format, &self.speaker, flush);
            if changed.out.len() <= MOST_OUTPUT || input.len() < 2 {
                break changed;
            }
            input.truncate(input.len() / 2); // many short lines
        };
        self.waits = changed.taken < waiting;
        let is_more = changed.taken > 0 || changed.resume != resume;
        if is_more {
            // Told before it is noted: whoever hears it may rather hear it twice than not at all.
            let echo = self.echo.as_ref();
            tell(&self.key, self.wanted, echo, &self.speaker, &changed, means);
            staging.commit(changed.taken, changed.resume.word(), &changed.out)?;
        }
        let after = put(&self.tap, staging)?;
        Ok(match (before, after) {
            (Moved::Rotated { .. }, _) | (_, Moved::Rotated { .. }) => {
                Moved::Rotated { count: came }
            }
            (Moved::Nothing, Moved::Nothing) if came == 0 && !is_more => Moved::Nothing,
            _ => Moved::Bytes(came),
        })
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

/// Writes all that lies ready.
fn put(tap: &Tap, staging: &mut Staging) -> io::Result<Moved> {
    let mut moved = Moved::Nothing;
    while staging.has_output() {
        moved = match (moved, tap.put(staging)?) {
            (Moved::Rotated { count }, next) => Moved::Rotated {
                count: count + next.count(),
            },
            (_, next) => next,
        };
    }
    Ok(moved)
}

/// To whoever listens. What does not find a place is dropped: the program must not wait.
fn tell(
    key: &Key,
    wanted: Wanted,
    echo: Option<&Echo>,
    speaker: &Speaker,
    changed: &Changed,
    means: &mut Means,
) {
    let mut missed = 0;
    for part in &changed.parts {
        let (bytes, is_captured) = match part {
            Part::Plain(bytes) => {
                if let Some(echo) = echo {
                    echo.hear(bytes, speaker, &mut means.syslog);
                }
                if !wanted.events {
                    continue;
                }
                (bytes, false)
            }
            Part::Captured(bytes) => (bytes, true),
        };
        let heard = Heard {
            key: key.clone(),
            bytes: bytes.clone(),
            is_captured,
        };
        missed += u64::from(means.tell.try_send(heard).is_err());
    }
    if missed > 0 {
        tracing::error!("too much output of {key} to make events of all: {missed} are left out");
    }
}
