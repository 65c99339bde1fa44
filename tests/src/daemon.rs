//! A program as a child process: started with its output in a file, watched, signalled, and cleaned up.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::folder::Folder;
use crate::notify::NotifySocket;
use crate::{process as proc, tools, wait};

/// Set in every daemon's environment, so that its descendants are found even when their parent is gone.
const MARK: &str = "TRINE_E2E_MARK";

/// Makes the standard input the first passed descriptor, says so as systemd does, and becomes the program.
const PASS_LISTENER: &str = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=$1; export LISTEN_FDS LISTEN_PID LISTEN_FDNAMES; shift; exec \"$@\"";

static STARTED: AtomicU32 = AtomicU32::new(0);

/// How to start a program.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    listener: Option<(String, OwnedFd)>,
    notify: bool,
}

impl Launch {
    /// One of our own binaries.
    #[must_use]
    pub fn trine(name: &str) -> Self {
        Self::program(tools::binary(name))
    }

    #[must_use]
    pub fn program(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: vec![],
            env: vec![],
            dir: None,
            listener: None,
            notify: false,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.into(), value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Hands the program a listening socket by LISTEN_FDS, under this name.
    #[must_use]
    pub fn listener(mut self, name: &str, socket: OwnedFd) -> Self {
        self.listener = Some((name.to_owned(), socket));
        self
    }

    /// Gives the program a NOTIFY_SOCKET, which [`Daemon::wait_ready`] listens to.
    #[must_use]
    pub fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    #[track_caller]
    pub fn start(self, folder: &Folder) -> Daemon {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = self
            .program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let output = folder.join(format!("{name}.{number}.out"));
        let file = File::create(&output).unwrap();
        let mark = format!("{}-{number}", process::id());
        let mut command = match &self.listener {
            None => with_default_signals(&self.program),
            Some((listener, _)) => {
                let mut shell = with_default_signals("/bin/sh".as_ref());
                shell
                    .args(["-c", PASS_LISTENER, "sh", listener])
                    .arg(&self.program);
                shell
            }
        };
        command
            .args(&self.args)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("VIRTUAL_ENV")
            .env(MARK, &mark);
        command.envs(self.env).process_group(0);
        command.current_dir(self.dir.as_deref().unwrap_or(folder.path()));
        command.stdout(file.try_clone().unwrap()).stderr(file);
        command.stdin(
            self.listener
                .map_or_else(Stdio::null, |(_, socket)| Stdio::from(socket)),
        );
        let notify = self
            .notify
            .then(|| NotifySocket::bind(&folder.join(format!("notify.{number}"))));
        if let Some(notify) = &notify {
            command.env("NOTIFY_SOCKET", notify.path());
        }
        let child = command
            .spawn()
            .unwrap_or_else(|problem| panic!("cannot start {}: {problem}", self.program.display()));
        Daemon {
            name,
            child,
            notify,
            output,
            mark,
            ended: None,
        }
    }
}

/// A running program. Dropping it ends the program and everything that it started.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    notify: Option<NotifySocket>,
    output: PathBuf,
    mark: String,
    ended: Option<ExitStatus>,
}

impl Daemon {
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What it wrote to standard output and standard error so far.
    #[must_use]
    pub fn output(&self) -> String {
        read_file(&self.output)
    }

    /// Waits for READY=1. Needs [`Launch::notify`].
    #[track_caller]
    pub fn wait_ready(mut self) -> Self {
        self.wait_notified("READY=1");
        self
    }

    /// Waits until the program said this line to its NOTIFY_SOCKET; fails at once when it ends instead.
    #[track_caller]
    pub fn wait_notified(&mut self, line: &str) {
        let start = Instant::now();
        loop {
            let notify = self.notify.as_mut().expect("started without .notify()");
            if notify.has_heard(line) {
                return;
            }
            self.assert_running(line);
            assert!(
                start.elapsed() < wait::PATIENCE,
                "{} did not say {line}; its output:\n{}",
                self.name,
                self.output()
            );
        }
    }

    /// Waits until the program says a line that begins like this after those heard so far; gives the line.
    #[track_caller]
    pub fn wait_next_notified(&mut self, beginning: &str, holds: &str) -> String {
        let start = Instant::now();
        let mut seen = self.notified().len();
        loop {
            let notify = self.notify.as_mut().expect("started without .notify()");
            let _ = notify.has_heard("");
            let new = &notify.heard()[seen..];
            if let Some(line) = new
                .iter()
                .find(|line| line.starts_with(beginning) && line.contains(holds))
            {
                return line.clone();
            }
            seen = notify.heard().len();
            self.assert_running(beginning);
            assert!(
                start.elapsed() < wait::PATIENCE,
                "{} did not say {beginning}…{holds}: {:?}",
                self.name,
                self.notified()
            );
        }
    }

    /// The lines said to NOTIFY_SOCKET so far.
    #[must_use]
    pub fn notified(&self) -> &[String] {
        self.notify.as_ref().map_or(&[], NotifySocket::heard)
    }

    /// Waits until the output holds this text.
    #[track_caller]
    pub fn wait_output(&mut self, text: &str) {
        let start = Instant::now();
        while !self.output().contains(text) {
            self.assert_running(text);
            assert!(
                start.elapsed() < wait::PATIENCE,
                "{} did not write {text:?}; its output:\n{}",
                self.name,
                self.output()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn assert_running(&mut self, waiting_for: &str) {
        if let Some(status) = self.try_wait() {
            panic!(
                "{} ended with {status} instead of {waiting_for}; its output:\n{}",
                self.name,
                self.output()
            );
        }
    }

    pub fn signal(&mut self, signal: Signal) -> &mut Self {
        if self.try_wait().is_none() {
            proc::signal(self.pid(), signal);
        }
        self
    }

    pub fn terminate(&mut self) -> &mut Self {
        self.signal(Signal::SIGTERM)
    }

    /// The exit status, if it ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.try_wait() {
                return status;
            }
            assert!(
                start.elapsed() < wait::PATIENCE,
                "{} does not end; its output:\n{}",
                self.name,
                self.output()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end and gives the exit code; -SIGNAL when a signal ended it.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait_exit();
        status
            .code()
            .unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    /// Sends SIGTERM, waits for a clean end, and sees that nothing it started is left.
    #[track_caller]
    pub fn stop(mut self) {
        self.terminate();
        let code = self.exit_code();
        assert_eq!(
            code,
            0,
            "{} stopped with {code}; its output:\n{}",
            self.name,
            self.output()
        );
        self.assert_nothing_left();
    }

    /// Every live process that this daemon started, itself included.
    #[must_use]
    pub fn family(&self) -> Vec<i32> {
        proc::marked(MARK, &self.mark)
    }

    /// Waits until neither it nor anything it started runs.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        wait::until_within(
            "the end of everything it started",
            Duration::from_secs(5),
            || {
                let left = self.family();
                left.is_empty().then_some(())
            },
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "--- output of {} ({}):\n{}---",
                self.name,
                self.pid(),
                last(&self.output(), 8000)
            );
        }
        if self.try_wait().is_none() {
            self.terminate();
            let start = Instant::now();
            while self.try_wait().is_none()
                && start.elapsed() < Duration::from_secs(5)
                && !thread::panicking()
            {
                thread::sleep(Duration::from_millis(5));
            }
        }
        // What it left behind, by its mark; a few rounds because a dying parent may start something once more.
        for _ in 0..20 {
            let left = self.family();
            if left.is_empty() {
                break;
            }
            left.into_iter()
                .for_each(|pid| proc::signal(pid, Signal::SIGKILL));
            let _reaped = self.try_wait();
            thread::sleep(Duration::from_millis(5));
        }
        if self.try_wait().is_none() {
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

/// Runs a program to its end and gives its exit code and output (standard output, then standard error).
#[track_caller]
pub fn run(launch: Launch, folder: &Folder) -> (i32, String) {
    let mut daemon = launch.start(folder);
    let code = daemon.exit_code();
    daemon.assert_nothing_left();
    (code, daemon.output())
}

fn read_file(path: &Path) -> String {
    let mut bytes = vec![];
    if let Ok(mut file) = fs::File::open(path) {
        let _start = file.rewind();
        let _length = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// A test run that was started in the background of a script ignores SIGINT, and so would everything it starts.
fn with_default_signals(program: &Path) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,QUIT").arg(program);
    command
}
