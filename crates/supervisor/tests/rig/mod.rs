//! Starts the real daemon in a folder of its own, asks its control socket, and cleans up after itself.
//! Not here: any story (see the test files).
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it, and a test that cannot go on panics"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    daemon: Child,
}

impl Rig {
    /// `programs`: YAML below `programs:`, two spaces in.
    #[track_caller]
    pub(crate) fn start(programs: &str) -> Self {
        Self::start_with(programs, |_| {})
    }

    #[track_caller]
    pub(crate) fn start_with(programs: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_under(programs, &[], prepare)
    }

    /// `wrapper`: a command that executes what follows it, in the same process.
    #[track_caller]
    pub(crate) fn start_under(
        programs: &str,
        wrapper: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_config(folder.path(), programs);
        prepare(folder.path());
        let line = [wrapper, &[binary(), "-c", "supervisor.yaml"]].concat();
        let daemon = Command::new(line[0])
            .args(&line[1..])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let rig = Self { folder, daemon };
        rig.until("the control socket", || rig.try_get("/v1/status"));
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    pub(crate) fn write_config(&self, programs: &str) {
        write_config(self.folder.path(), programs);
    }

    pub(crate) fn holder(&self) -> i32 {
        self.daemon.id() as i32
    }

    /// The holder's child that is the brain, as the kernel sees it.
    pub(crate) fn brain(&self) -> Option<i32> {
        let children = self.children();
        children
            .into_iter()
            .find(|pid| command(*pid).contains("--brain"))
    }

    pub(crate) fn children(&self) -> Vec<i32> {
        let pid = self.holder();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        text.unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// Kills the brain and waits until another one answers.
    #[track_caller]
    pub(crate) fn replace_brain(&self) {
        let old = self.until("a brain", || self.brain());
        signal(old, Signal::SIGKILL);
        self.until("the next brain", || {
            let status = self.try_get("/v1/status")?;
            (status["detail"]["brain_pid"] != old).then_some(())
        });
    }

    pub(crate) fn try_get(&self, path: &str) -> Option<Value> {
        self.call("GET", path)
            .ok()
            .filter(|(status, _)| *status == 200)
            .map(|(_, body)| body)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> Value {
        let (status, body) = self.call("POST", path).unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {body}");
        body
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> std::io::Result<(u16, Value)> {
        let mut answer = Vec::new();
        self.open(method, path)?.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer);
        let broken = || std::io::Error::other(format!("no answer: {text}"));
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .ok_or_else(broken)?;
        Ok((
            status,
            serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
        ))
    }

    fn open(&self, method: &str, path: &str) -> std::io::Result<UnixStream> {
        let mut socket = UnixStream::connect(self.path("s.sock"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )?;
        Ok(socket)
    }

    /// The lines of a stream as they come, heads and chunk sizes among them.
    pub(crate) fn stream(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.open("GET", path).unwrap())
            .lines()
            .map_while(Result::ok)
    }

    #[track_caller]
    pub(crate) fn program(&self, name: &str) -> Value {
        self.get(&format!("/v1/programs/{name}"))
    }

    /// Waits for a state and gives what is said of the program then.
    #[track_caller]
    pub(crate) fn wait_state(&self, name: &str, state: &str) -> Value {
        self.until(&format!("{name} to be {state}"), || {
            self.try_get(&format!("/v1/programs/{name}"))
                .filter(|program| program["state"] == state)
        })
    }

    #[track_caller]
    pub(crate) fn running_pid(&self, name: &str) -> i32 {
        self.wait_state(name, "RUNNING")["pid"].as_i64().unwrap() as i32
    }

    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        until(what, look)
    }

    pub(crate) fn signal(&self, what: Signal) {
        signal(self.holder(), what);
    }

    pub(crate) fn try_exit(&mut self) -> Option<ExitStatus> {
        self.daemon.try_wait().unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let daemon = &mut self.daemon;
        until("the daemon to end", || daemon.try_wait().unwrap())
    }

    /// Asks for the end and checks that it comes in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait_exit().code(), Some(0));
        assert!(!self.path("s.sock").exists() && !self.path("s.pid").exists());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("supervisor's log:\n{}", self.read("supervisor.log"));
        }
        if matches!(self.daemon.try_wait(), Ok(None)) {
            let children = self.children();
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
            for pid in children {
                let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
            }
        }
    }
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_trine-supervisor")
}

fn write_config(folder: &Path, programs: &str) {
    let text = format!(
        "control: s.sock\npidfile: s.pid\nlog: {{ file: supervisor.log }}\nprograms:\n{programs}"
    );
    std::fs::write(folder.join("supervisor.yaml"), text).unwrap();
}

pub(crate) fn signal(pid: i32, what: Signal) {
    kill(Pid::from_raw(pid), what).unwrap();
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie is as dead as can be.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn command(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .replace('\0', " ")
}

#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}
