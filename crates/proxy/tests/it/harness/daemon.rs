//! The daemon as a child process: configured, started, asked, signalled, and cleaned up.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Client, PATIENCE};

/// A folder with a configuration, not started yet.
#[derive(Debug)]
pub(crate) struct Proxy {
    dir: TempDir,
}

impl Proxy {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(self, text: &str) -> Self {
        fs::write(self.path("proxy.yaml"), text).unwrap();
        self
    }

    /// The command, ready to be changed and run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
        command.arg("-c").arg(self.path("proxy.yaml"));
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_PID");
        command
    }

    /// Runs a command that ends by itself: its exit code and what it wrote to standard error.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self
            .command()
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Starts it and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Daemon {
        let command = self.command();
        self.start_as(command)
    }

    #[track_caller]
    pub(crate) fn start_as(self, mut command: Command) -> Daemon {
        command.stdin(Stdio::null());
        self.start_as_with_stdin(command)
    }

    #[track_caller]
    pub(crate) fn start_as_with_stdin(self, mut command: Command) -> Daemon {
        let notify = UnixDatagram::bind(self.path("notify.sock")).unwrap();
        let log = File::create(self.path("proxy.log")).unwrap();
        command.env("NOTIFY_SOCKET", self.path("notify.sock"));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut daemon = Daemon {
            dir: self.dir,
            child,
            notify,
            addresses: vec![],
        };
        let said = daemon.wait_notified("READY=1");
        daemon.addresses = addresses(&said);
        daemon
    }
}

/// A running daemon. Dropping it kills what is left.
#[derive(Debug)]
pub(crate) struct Daemon {
    dir: TempDir,
    child: Child,
    notify: UnixDatagram,
    addresses: Vec<String>,
}

/// What follows `serving on` in the status line.
fn addresses(said: &str) -> Vec<String> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("STATUS=serving on "));
    let list = line
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    list.split(", ").map(str::to_owned).collect()
}

impl Daemon {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Where it listens, in the order of the file.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Waits for a message to the service manager that contains `what`.
    #[track_caller]
    pub(crate) fn wait_notified(&mut self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        self.notify
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            if let Ok(count) = self.notify.recv(&mut buffer) {
                let said = String::from_utf8(buffer[..count].to_vec()).unwrap();
                if said.lines().any(|line| line == what) {
                    return said;
                }
            } else if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} before it said {what}\n{}", self.log());
            }
        }
        panic!("never said {what}\n{}", self.log());
    }

    /// Kills it without a warning, and starts another in the same folder.
    #[track_caller]
    pub(crate) fn kill_and_start(&mut self, mut command: Command) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let log = File::create(self.path("proxy.log")).unwrap();
        command.env("NOTIFY_SOCKET", self.path("notify.sock"));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = command.stdin(Stdio::null()).spawn().unwrap();
        let said = self.wait_notified("READY=1");
        self.addresses = addresses(&said);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Sends SIGHUP and waits until the daemon has done with it. Returns where it listens now.
    #[track_caller]
    pub(crate) fn reload(&mut self, config: &str) -> Vec<String> {
        fs::write(self.path("proxy.yaml"), config).unwrap();
        self.signal(Signal::SIGHUP);
        let said = self.wait_notified("READY=1");
        self.addresses = addresses(&said);
        self.addresses.clone()
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("did not end\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("proxy.log")).unwrap_or_default()
    }

    /// Waits until the daemon's log has a line with `what`.
    #[track_caller]
    pub(crate) fn wait_log(&self, what: &str) -> String {
        self.wait_file("proxy.log", what)
    }

    /// Waits until the access log has a line with `what`.
    #[track_caller]
    pub(crate) fn wait_access(&self, what: &str) -> String {
        self.wait_file("access.log", what)
    }

    #[track_caller]
    pub(crate) fn wait_file(&self, name: &str, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.contains(what)) {
                return line.to_owned();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        panic!("{name} never said {what:?}:\n{text}\n{}", self.log());
    }

    /// Asks the control socket: the status and the body.
    #[track_caller]
    pub(crate) fn control(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.path("proxy.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = "HTTP/1.1\r\nHost: control\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        write!(stream, "{method} {path} {head}").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// A figure of the status's detail.
    #[track_caller]
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let (status, body) = self.control("GET", "/v1/status");
        assert_eq!(status, 200);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["detail"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {body}"))
    }

    /// Waits until a figure is what it should be.
    #[track_caller]
    pub(crate) fn wait_figure(&self, name: &str, want: u64) {
        let end = Instant::now() + PATIENCE;
        while self.figure(name) != want {
            assert!(
                Instant::now() < end,
                "{name} never was {want}, but is {}",
                self.figure(name)
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- proxy.log ---\n{}", self.log());
        }
    }
}
