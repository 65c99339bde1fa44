//! Runs one script: its body in, its answer and its words out, and an end to all that it has started when it takes too
//! long or nobody waits for it any more.
//!
//! Not here: what it is given (`request`), and what its answer looks like (`answer`).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::signal::Signal;
use nix::unistd::{pipe2, read, write};
use trine_sys::process;
use trine_sys::spawn::{Child, Spawn};

use super::answer::Answer;
use super::request::Order;
use super::serve::{Came, Connection};
use super::wait;

/// Between the request to end and the end by force.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the web server may take to take the end of an answer.
const TAKING: Duration = Duration::from_secs(60);
/// So much of a body or an answer is held.
const MOST_HELD: usize = 256 * 1024;
const READ: usize = 64 * 1024;

/// Why a script was made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It took too long.
    Late,
    /// The web server does not wait for it any more.
    Unwanted,
    /// What it wrote is no answer.
    Malformed,
}

/// A script that runs.
struct Running<'c, 'h> {
    connection: &'c mut Connection<'h>,
    answer: Answer,
    child: Child,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Of the body, not yet written to it.
    body: Vec<u8>,
    body_ended: bool,
    until: Instant,
    ending: Option<(Cause, Instant)>,
}

/// Runs it and answers; false if the connection is of no use any more.
pub(super) fn run(
    connection: &mut Connection<'_>,
    order: &Order,
    mut answer: Answer,
) -> io::Result<bool> {
    let (stdin_theirs, stdin) = pipe()?;
    let (stdout, stdout_theirs) = pipe()?;
    let (stderr, stderr_theirs) = pipe()?;
    for end in [&stdin, &stdout, &stderr] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let theirs = [&stdin_theirs, &stdout_theirs, &stderr_theirs];
    let fds = theirs.into_iter().map(AsFd::as_fd).zip(0..).collect();
    let options = &connection.helper.options;
    let program = text(order.file.as_os_str().as_bytes())?;
    let env: io::Result<Vec<_>> = order.env.lines().map(|line| text(&line)).collect();
    let child = Spawn {
        env: env?,
        cwd: Some(text(
            order
                .file
                .parent()
                .unwrap_or(Path::new("/"))
                .as_os_str()
                .as_bytes(),
        )?),
        process_group: Some(0),
        rlimits: options
            .limits
            .iter()
            .map(|limit| (limit.resource, limit.most, limit.most))
            .collect(),
        fds,
        ..Spawn::new(program)
    }
    .spawn();
    drop((stdin_theirs, stdout_theirs, stderr_theirs));
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            let cause = trine_service::exit::chain(&error);
            tracing::error!(script = %order.file.display(), "not run: {cause}");
            answer.stderr(&mut connection.output, cause.as_bytes());
            answer.instead(&mut connection.output, "500 Internal Server Error");
            answer.end(&mut connection.output, 0);
            connection.forget_body()?;
            return Ok(true);
        }
    };
    let until = Instant::now() + options.timeout.0;
    let mut running = Running {
        connection,
        answer,
        child,
        stdin: Some(stdin),
        stdout: Some(stdout),
        stderr: Some(stderr),
        body: Vec::new(),
        body_ended: false,
        until,
        ending: None,
    };
    let done = running.pump();
    let status = running.reap();
    done?;
    running.conclude(&status?, &order.file)
}

fn text(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

impl Running<'_, '_> {
    /// Carries bytes until the script has ended.
    fn pump(&mut self) -> io::Result<()> {
        loop {
            self.take_body();
            let ended = process::has_ended(&self.child.pidfd);
            let silent = self.stdout.is_none();
            if ended && (silent || self.ending.is_some()) {
                return Ok(());
            }
            let until = match self.ending {
                Some((_, kill_at)) => kill_at,
                None => self.until(),
            };
            self.wait_and_move(until, ended)?;
            if until <= Instant::now() {
                match self.ending {
                    None => self.end(Cause::Late),
                    Some((cause, _)) => {
                        let _gone_already = process::signal_group(self.child.pid, Signal::SIGKILL);
                        self.ending = Some((cause, Instant::now() + LAST_WORDS));
                    }
                }
            }
        }
    }

    /// When it is too late; earlier once the helper is to stop.
    fn until(&self) -> Instant {
        let stop = self.connection.helper.until.get();
        stop.map_or(self.until, |stop| self.until.min(*stop))
    }

    /// What came of the body, as far as there is room.
    fn take_body(&mut self) {
        while self.ending.is_none() && self.body.len() < MOST_HELD {
            match self.connection.came() {
                Ok(Came::Body(bytes)) if self.stdin.is_some() => {
                    self.body.extend_from_slice(&bytes)
                }
                Ok(Came::Body(_) | Came::Request) => {}
                Ok(Came::BodyEnd) => self.body_ended = true,
                Ok(Came::More) => break,
                Ok(Came::Abort) | Err(_) => self.end(Cause::Unwanted),
            }
        }
        if self.body_ended && self.body.is_empty() {
            self.stdin = None;
        }
    }

    /// Asks the script and all that it has started to end.
    fn end(&mut self, cause: Cause) {
        if self.ending.is_none() {
            self.ending = Some((cause, Instant::now() + LAST_WORDS));
            // The leader has not been reaped, so that the number is still its group's.
            let _gone_already = process::signal_group(self.child.pid, Signal::SIGTERM);
        }
    }

    /// `ended`: the script itself is gone, and something that it has started still holds its output.
    fn wait_and_move(&mut self, until: Instant, ended: bool) -> io::Result<()> {
        let listens = self.ending.is_none();
        let room = self.connection.output.len() < MOST_HELD;
        let mut stream = PollFlags::empty();
        stream.set(PollFlags::POLLIN, self.body.len() < MOST_HELD);
        stream.set(PollFlags::POLLOUT, !self.connection.output.is_empty());
        let mut fds = vec![];
        if !ended {
            fds.push((self.child.pidfd.as_fd(), PollFlags::POLLIN));
        }
        let at_stream = listens.then(|| {
            fds.push((self.connection.stream.as_fd(), stream));
            fds.len() - 1
        });
        if listens && self.connection.helper.until.get().is_none() {
            // Only to look at the time again.
            fds.push((self.connection.helper.stop.as_fd(), PollFlags::POLLIN));
        }
        let at_stdin = self
            .stdin
            .as_ref()
            .filter(|_| !self.body.is_empty())
            .map(|fd| {
                fds.push((fd.as_fd(), PollFlags::POLLOUT));
                fds.len() - 1
            });
        let at_stdout = self.stdout.as_ref().filter(|_| room).map(|fd| {
            fds.push((fd.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let at_stderr = self.stderr.as_ref().filter(|_| room).map(|fd| {
            fds.push((fd.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let ready = wait(&fds, Some(until))?;
        let of = |at: Option<usize>| {
            at.and_then(|at| ready.get(at).copied())
                .unwrap_or(PollFlags::empty())
        };
        let (stream, stdin, stdout, stderr) =
            (of(at_stream), of(at_stdin), of(at_stdout), of(at_stderr));
        if stream.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
            && !matches!(self.connection.fill(), Ok(true))
        {
            self.end(Cause::Unwanted);
        }
        if stream.contains(PollFlags::POLLOUT) && self.connection.write_some().is_err() {
            self.end(Cause::Unwanted);
        }
        if !stdin.is_empty() {
            self.feed();
        }
        if !stdout.is_empty() {
            self.hear();
        }
        if !stderr.is_empty() {
            self.hear_stderr();
        }
        Ok(())
    }

    fn feed(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        match write(stdin, &self.body) {
            Ok(count) => drop(self.body.drain(..count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // It does not want to know any more of it.
            Err(_) => {
                self.stdin = None;
                self.body.clear();
            }
        }
    }

    fn hear(&mut self) {
        let Some(bytes) = take(&mut self.stdout) else {
            return;
        };
        let written = self.answer.stdout(&mut self.connection.output, &bytes);
        if written.is_err() {
            self.stdout = None;
            self.end(Cause::Malformed);
        } else if self.ending.is_none() && self.connection.write_some().is_err() {
            self.end(Cause::Unwanted);
        }
    }

    fn hear_stderr(&mut self) {
        if let Some(bytes) = take(&mut self.stderr) {
            self.answer.stderr(&mut self.connection.output, &bytes);
        }
    }

    /// Its end. Whatever it has started goes with it if it was made to end.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if self.ending.is_some() || !process::has_ended(&self.child.pidfd) {
            let _gone_already = process::signal_group(self.child.pid, Signal::SIGKILL);
        }
        process::wait_pidfd(&self.child.pidfd).map(|(_, status)| status)
    }

    /// The end of the answer.
    fn conclude(&mut self, status: &ExitStatus, file: &Path) -> io::Result<bool> {
        // What it has said at the very end.
        while self.stderr.is_some() && self.connection.output.len() < MOST_HELD {
            let before = self.connection.output.len();
            self.hear_stderr();
            if self.connection.output.len() == before {
                break;
            }
        }
        let script = file.display();
        let cause = self.ending.map(|(cause, _)| cause);
        let (told, instead) = match cause {
            Some(Cause::Unwanted) => {
                tracing::debug!(%script, "ended, as nobody waits for it any more");
                return Ok(false);
            }
            Some(Cause::Late) => (
                "took too long and was ended".to_owned(),
                "504 Gateway Timeout",
            ),
            Some(Cause::Malformed) => (
                "wrote what is no answer and was ended".to_owned(),
                "500 Internal Server Error",
            ),
            None if !self.answer.has_begun() => (
                format!("ended without an answer ({status})"),
                "500 Internal Server Error",
            ),
            None if status.signal().is_some() => (format!("was killed ({status})"), ""),
            None => {
                let code = status.code().and_then(|code| u32::try_from(code).ok());
                let Connection { output, .. } = self.connection;
                self.answer.end(output, code.unwrap_or(0));
                return self.finish();
            }
        };
        tracing::warn!(%script, "{told}");
        if self.answer.has_begun() {
            // Only the end of the connection tells that something is missing.
            return Ok(false);
        }
        let Connection { output, .. } = self.connection;
        let words = format!("{script}: {told}");
        self.answer.stderr(output, words.as_bytes());
        self.answer.instead(output, instead);
        self.answer.end(output, 1);
        self.finish()
    }

    /// Sends the rest, and takes what is left of the body.
    fn finish(&mut self) -> io::Result<bool> {
        if !self.body_ended {
            self.connection.forget_body()?;
        }
        self.connection.flush(Instant::now() + TAKING)?;
        Ok(true)
    }
}

/// Reads from a pipe, which is gone at its end.
fn take(pipe: &mut Option<OwnedFd>) -> Option<Vec<u8>> {
    let fd = pipe.as_ref()?;
    let mut buffer = vec![0; READ];
    match read(fd, &mut buffer) {
        Ok(count) if count > 0 => {
            buffer.truncate(count);
            Some(buffer)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        Ok(_) | Err(_) => {
            *pipe = None;
            None
        }
    }
}
