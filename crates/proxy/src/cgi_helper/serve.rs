//! One thread's work: takes connections from the web server, and answers their requests one after another.
//!
//! Not here: running a script (`script`).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{read, write};
use trine_gateway::fastcgi::{Event, Server};
use trine_sys::net;

use super::answer::Answer;
use super::request::{Variables, order};
use super::{Helper, script, wait};

/// The variables of a request may have so many bytes.
const MOST_VARIABLES: usize = 256 * 1024;
/// How long a request's beginning, or a body that nobody wants, may take, and how long an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(60);
const READ: usize = 64 * 1024;

/// Takes connections until the helper is to stop.
pub(super) fn serve(helper: &Helper) {
    while let Some(stream) = accept(helper) {
        let mut connection = Connection {
            helper,
            stream,
            server: Server::new(MOST_VARIABLES, helper.options.max_scripts.into()),
            input: Vec::new(),
            output: Vec::new(),
        };
        // A connection that fails concerns the web server alone.
        if let Err(error) = connection.run() {
            tracing::debug!("a connection ended: {error}");
        }
    }
}

fn accept(helper: &Helper) -> Option<OwnedFd> {
    loop {
        let mut fds = vec![(helper.stop.as_fd(), PollFlags::POLLIN)];
        let listeners = helper.listeners.iter();
        fds.extend(listeners.map(|one| (one.as_fd(), PollFlags::POLLIN)));
        let ready = wait(&fds, None).ok()?;
        if !ready.first()?.is_empty() {
            return None;
        }
        for (listener, _) in helper
            .listeners
            .iter()
            .zip(ready.iter().skip(1))
            .filter(|(_, ready)| !ready.is_empty())
        {
            match net::accept4(listener) {
                Ok((stream, _)) => return Some(stream),
                // Another thread was faster.
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    tracing::error!("cannot accept a connection: {error}");
                    // Descriptors that are short now may not be in a moment.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | Interrupted | WouldBlock)
}

/// What came from the web server.
pub(super) enum Came {
    More,
    Request,
    Body(Vec<u8>),
    BodyEnd,
    Abort,
}

/// A connection of the web server.
pub(super) struct Connection<'h> {
    pub(super) helper: &'h Helper,
    pub(super) stream: OwnedFd,
    pub(super) server: Server,
    /// Read, and not used yet.
    input: Vec<u8>,
    /// To be written.
    pub(super) output: Vec<u8>,
}

impl Connection<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut served = false;
        while self.next_request(served)? {
            served = true;
            let keep = self.server.keep();
            let whole = self.answer()?;
            self.server.finish();
            if !keep || !whole {
                break;
            }
        }
        Ok(())
    }

    /// Waits for a request. A connection that was kept makes room for others.
    fn next_request(&mut self, served: bool) -> io::Result<bool> {
        let mut until = None;
        loop {
            match self.came()? {
                Came::Request => return Ok(true),
                Came::Body(_) | Came::BodyEnd | Came::Abort => continue,
                Came::More => {}
            }
            self.flush(Instant::now() + PATIENCE)?;
            let idle = self.server.is_idle() && self.input.is_empty();
            if !idle {
                until.get_or_insert(Instant::now() + PATIENCE);
            }
            let mut fds = vec![
                (self.stream.as_fd(), PollFlags::POLLIN),
                (self.helper.stop.as_fd(), PollFlags::POLLIN),
            ];
            if idle && served {
                let listeners = self.helper.listeners.iter();
                fds.extend(listeners.map(|one| (one.as_fd(), PollFlags::POLLIN)));
            }
            let ready = wait(&fds, until)?;
            let late = until.is_some_and(|until| until <= Instant::now());
            let called = ready.iter().any(|ready| !ready.is_empty());
            if ready.first().is_some_and(|ready| !ready.is_empty()) {
                if !self.fill()? {
                    return Ok(false);
                }
            } else if called || late {
                return Ok(false);
            }
        }
    }

    /// What is next of what was read.
    pub(super) fn came(&mut self) -> io::Result<Came> {
        loop {
            let (event, used) = self
                .server
                .advance(&self.input, &mut self.output)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let came = match event {
                Event::More => Came::More,
                Event::Request => Came::Request,
                Event::Body(bytes) => Came::Body(bytes.to_vec()),
                Event::BodyEnd => Came::BodyEnd,
                Event::Abort => Came::Abort,
                Event::Refused { .. } => {
                    self.input.drain(..used);
                    continue;
                }
            };
            self.input.drain(..used);
            return Ok(came);
        }
    }

    /// Reads once; false at the end.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; READ];
        match read(&self.stream, &mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much of the output as goes at once.
    pub(super) fn write_some(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match write(&self.stream, &self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes all of it.
    pub(super) fn flush(&mut self, until: Instant) -> io::Result<()> {
        loop {
            self.write_some()?;
            if self.output.is_empty() {
                return Ok(());
            }
            if until <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            wait(&[(self.stream.as_fd(), PollFlags::POLLOUT)], Some(until))?;
        }
    }

    /// Answers the request; false if the connection is of no use any more.
    fn answer(&mut self) -> io::Result<bool> {
        let mut own = Variables::default();
        for line in &self.helper.options.env {
            let line = line.as_encoded_bytes();
            if let Some(at) = memchr::memchr(b'=', line) {
                own.set(&line[..at], &line[at + 1..]);
            }
        }
        let params: Result<Vec<_>, _> = self.server.params().collect();
        let params = params.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut answer = Answer::new(self.server.id());
        let wanted = params
            .iter()
            .rev()
            .find(|(name, _)| *name == b"SCRIPT_FILENAME")
            .map_or_else(String::new, |(_, value)| value.escape_ascii().to_string());
        match order(params.into_iter(), &own, &self.helper.roots) {
            Ok(order) => script::run(self, &order, answer),
            Err(refusal) => {
                tracing::warn!(script = wanted, "not run: {refusal}");
                let words = format!("{wanted}: {refusal}");
                answer.stderr(&mut self.output, words.as_bytes());
                answer.instead(&mut self.output, refusal.status());
                answer.end(&mut self.output, 0);
                self.forget_body()?;
                Ok(true)
            }
        }
    }

    /// Sends the rest of the answer and takes the rest of a body that nobody wants: a web server that still writes may
    /// not read yet, and one that does not keep the connection may wait for its end.
    pub(super) fn forget_body(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut told = self.server.keep();
        loop {
            self.write_some()?;
            if self.output.is_empty() && !std::mem::replace(&mut told, true) {
                shutdown(self.stream.as_raw_fd(), Shutdown::Write)?;
            }
            match self.came()? {
                Came::BodyEnd | Came::Abort => return self.flush(until),
                Came::Body(_) | Came::Request => continue,
                Came::More => {}
            }
            let mut events = PollFlags::POLLIN;
            events.set(PollFlags::POLLOUT, !self.output.is_empty());
            let ready = wait(&[(self.stream.as_fd(), events)], Some(until))?;
            let reads = ready
                .first()
                .is_some_and(|ready| ready.intersects(!PollFlags::POLLOUT));
            if (reads && !self.fill()?) || until <= Instant::now() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
