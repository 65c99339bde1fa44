//! A running trine-wsgi for one test: its folder, its socket, its log; raw bytes in, raw bytes out.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its own part"
)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes this long; a hang fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps")
}

pub struct Server {
    child: Child,
    pub dir: tempfile::TempDir,
    notify: UnixDatagram,
}

impl Server {
    /// Starts it on `app.sock` in a folder of its own, without waiting.
    pub fn spawn(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bind = format!("unix:{}", dir.path().join("app.sock").display());
        let control = dir.path().join("control.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_trine-wsgi"));
        command.arg("--chdir").arg(apps()).arg("-b").arg(bind);
        command.arg("--control").arg(control).args(args);
        Self::launch(command, dir)
    }

    /// As [`Self::spawn`], with arguments that depend on the folder.
    pub fn spawn_in(args: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bind = format!("unix:{}", dir.path().join("app.sock").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_trine-wsgi"));
        command.arg("--chdir").arg(apps()).arg("-b").arg(bind);
        command.args(args(dir.path()));
        Self::launch(command, dir)
    }

    pub fn launch(mut command: Command, dir: tempfile::TempDir) -> Self {
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        command.env("NOTIFY_SOCKET", dir.path().join("notify"));
        command.env("STORY", dir.path());
        command.env_remove("VIRTUAL_ENV");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let log = File::create(dir.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        Self { child, dir, notify }
    }

    /// Starts it and waits for READY.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let server = Self::spawn(args);
        server.wait_notified("READY=1");
        server
    }

    /// Waits for a line of the service manager's protocol.
    #[track_caller]
    pub fn wait_notified(&self, line: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let Ok(count) = self.notify.recv(&mut message) else {
                panic!("no {line}: {}", self.log());
            };
            let text = String::from_utf8_lossy(&message[..count]).into_owned();
            if text.lines().any(|found| found.starts_with(line)) {
                return text;
            }
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        signal_pid(self.pid(), signal);
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("app.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends all of `request`, closes the sending side, and reads to the end.
    #[track_caller]
    pub fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.ask_in_steps(request, request.len().max(1))
    }

    #[track_caller]
    pub fn ask_in_steps(&self, request: &[u8], step: usize) -> Vec<u8> {
        let mut stream = self.connect();
        for part in request.chunks(step) {
            if stream.write_all(part).is_err() {
                break; // refused early: the answer is there already
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        self.read_all(stream)
    }

    #[track_caller]
    pub fn read_all(&self, mut stream: UnixStream) -> Vec<u8> {
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!(
                "{error} after {:?}\n{}",
                answer.escape_ascii().to_string(),
                self.log()
            ),
        }
        answer
    }

    pub fn get(&self, path: &str) -> String {
        let answer = self
            .ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer
            .split_once("\r\n\r\n")
            .map_or(String::new(), |(_, body)| body.to_owned())
    }

    /// A call of the control socket; the body of the answer.
    #[track_caller]
    pub fn control(&self, method: &str, path: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.control("GET", "/v1/status")).unwrap()
    }

    pub fn workers(&self) -> Vec<i32> {
        let status = self.status();
        let workers = status["detail"]["workers"].as_array().unwrap().clone();
        workers
            .iter()
            .map(|worker| worker["pid"].as_i64().unwrap() as i32)
            .collect()
    }

    /// Waits until so many workers are ready.
    #[track_caller]
    pub fn wait_ready(&self, count: usize) {
        wait_for("all workers to be ready", || {
            let status = self.status();
            let text = status["status_text"].as_str().unwrap();
            text.starts_with(&format!("{count} of {count} "))
                .then_some(())
        });
    }

    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let child = &mut self.child;
        let status = wait_for("the exit", || child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }

    /// TERM, and a clean end.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(self.exit_code(), 0, "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub fn signal_pid(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Looks again and again, at what another process does, until there is something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An answer with line ends as `|`, bare newlines as `~`, and without what changes from run to run.
pub fn shown(answer: &[u8]) -> String {
    let mut text = String::new();
    let mut bytes = answer.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.next_if_eq(&b'\n').is_some() => text.push('|'),
            b'\n' => text.push('~'),
            byte => text.push_str(&byte.escape_ascii().to_string()),
        }
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Server: trine-wsgi|Date: ") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest
            .match_indices('|')
            .nth(1)
            .map_or(rest.len(), |(end, _)| end + 1);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}
