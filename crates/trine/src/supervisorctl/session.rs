//! One run of supervisorctl: the daemon it talks to, what it prints, the exit code that comes of it.
//! Not here: the single commands.

use std::io::{self, Write as _};

use tokio::runtime::Runtime;
use trine_control::xmlrpc::Value;
use trine_service::signals::{AsyncSignals, Signal, SignalPipe};

use super::command_line::Options;
use super::link::{CallError, Server};

/// supervisorctl's exit codes; the first four are the LSB's for init scripts.
pub(super) const GENERIC: u8 = 1;
pub(super) const INVALID_ARGS: u8 = 2;
pub(super) const UNIMPLEMENTED: u8 = 3;
pub(super) const INSUFFICIENT_PRIVILEGES: u8 = 4;
pub(super) const NOT_INSTALLED: u8 = 5;
pub(super) const NOT_RUNNING: u8 = 7;
/// Of `status` alone.
pub(super) const STATUS_NOT_RUNNING: u8 = 3;
pub(super) const STATUS_UNKNOWN: u8 = 4;

/// The numbers of supervisord's faults.
pub(super) mod fault {
    pub(crate) const UNKNOWN_METHOD: i32 = 1;
    pub(crate) const SHUTDOWN_STATE: i32 = 6;
    pub(crate) const BAD_NAME: i32 = 10;
    pub(crate) const BAD_SIGNAL: i32 = 11;
    pub(crate) const NO_FILE: i32 = 20;
    pub(crate) const NOT_EXECUTABLE: i32 = 21;
    pub(crate) const FAILED: i32 = 30;
    pub(crate) const ABNORMAL_TERMINATION: i32 = 40;
    pub(crate) const SPAWN_ERROR: i32 = 50;
    pub(crate) const ALREADY_STARTED: i32 = 60;
    pub(crate) const NOT_RUNNING: i32 = 70;
    pub(crate) const SUCCESS: i32 = 80;
    pub(crate) const ALREADY_ADDED: i32 = 90;
    pub(crate) const STILL_RUNNING: i32 = 91;
    pub(crate) const CANT_REREAD: i32 = 92;
}

const API_VERSION: &str = "3.0";

pub(super) struct Session {
    runtime: Runtime,
    signals: Option<AsyncSignals>,
    pub(super) server: Server,
    pub(super) options: Options,
    pub(super) exit: u8,
    /// Colours may be used.
    pub(super) styled: bool,
}

/// A command came to an end by an error that it does not tell itself.
pub(super) type Outcome = Result<(), CallError>;

impl Session {
    pub(super) fn new(options: Options, styled: bool) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let server = Server {
            url: options.server_url.clone(),
            username: options.username.clone(),
            password: options.password.clone(),
        };
        Ok(Self {
            runtime,
            signals: None,
            server,
            options,
            exit: 0,
            styled,
        })
    }

    pub(super) fn call(&self, method: &str, params: &[Value]) -> Result<Value, CallError> {
        let method = format!("supervisor.{method}");
        self.runtime.block_on(self.server.call(&method, params))
    }

    /// Runs what must be left when Ctrl-C is pressed; `None`: it was pressed.
    pub(super) fn interruptible<T>(&mut self, wanted: impl AsyncFnOnce(&Server) -> T) -> Option<T> {
        if self.signals.is_none() {
            let _inside = self.runtime.enter();
            self.signals = SignalPipe::new(&[Signal::SIGINT])
                .and_then(SignalPipe::into_async)
                .ok();
        }
        let signals = &mut self.signals;
        let server = &self.server;
        self.runtime.block_on(async {
            let interrupted = async {
                match signals {
                    Some(signals) => drop(signals.next().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = interrupted => None,
                done = wanted(server) => Some(done),
            }
        })
    }

    /// One line. A reader that has gone away is no reason to stop what was asked for.
    pub(super) fn say(&self, line: impl AsRef<str>) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{}", line.as_ref());
        let _ = out.flush();
    }

    pub(super) fn fail(&mut self, line: impl AsRef<str>) {
        self.say(line);
        self.exit = GENERIC;
    }

    /// `Error: …` and how the command is used.
    pub(super) fn misused(&mut self, command: &str, what: &str) {
        self.say(format!("Error: {what}"));
        self.exit = GENERIC;
        super::help::of(self, command);
    }

    /// Whether a daemon with our interface answers; says so if not.
    pub(super) fn is_up(&mut self) -> Result<bool, CallError> {
        let url = self.server.url.clone();
        let error = match self.call("getVersion", &[]) {
            Ok(version) => {
                let version = version.as_str().unwrap_or_default();
                if version == API_VERSION {
                    return Ok(true);
                }
                self.say(format!(
                    "Sorry, this version of supervisorctl expects to talk to a server with API version {API_VERSION}, \
                     but the remote version is {version}."
                ));
                self.exit = NOT_INSTALLED;
                return Ok(false);
            }
            Err(error) => error,
        };
        match (error.fault(), error.io_kind()) {
            (Some(fault::UNKNOWN_METHOD), _) => {
                self.say(
                    "Sorry, supervisord responded but did not recognize the supervisor namespace commands that \
                     supervisorctl uses to control it.  Please check that the [rpcinterface:supervisor] section is \
                     enabled in the configuration file (see sample.conf).",
                );
                self.exit = UNIMPLEMENTED;
            }
            (_, Some(io::ErrorKind::ConnectionRefused)) => {
                self.say(format!("{url} refused connection"));
                self.exit = INSUFFICIENT_PRIVILEGES;
            }
            (_, Some(io::ErrorKind::NotFound)) => {
                self.say(format!("{url} no such file"));
                self.exit = NOT_RUNNING;
            }
            _ => {
                self.exit = GENERIC;
                return Err(error);
            }
        }
        Ok(false)
    }

    /// What a fault means for the exit code; `ignored` means nothing.
    pub(super) fn count(&mut self, code: i32, ignored: i32) {
        match code {
            fault::SUCCESS => {}
            code if code == ignored => {}
            fault::SPAWN_ERROR | fault::ABNORMAL_TERMINATION | fault::NOT_RUNNING => {
                self.exit = NOT_RUNNING;
            }
            _ => self.exit = GENERIC,
        }
    }

    /// Runs one line. `true`: the shell is to end.
    pub(super) fn perform(&mut self, line: &str) -> bool {
        let line = line.trim();
        let (command, rest) = match line.strip_prefix('?') {
            Some(rest) => ("help", rest.trim()),
            None => {
                let end = line
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(line.len());
                (&line[..end], line[end..].trim())
            }
        };
        if line.is_empty() {
            return false;
        }
        match self.dispatch(command, rest) {
            Some(Ok(is_over)) => is_over,
            Some(Err(CallError::Status { code: 401, .. })) => {
                self.say("Server requires authentication");
                if !self.options.interactive {
                    self.exit = GENERIC;
                    return false;
                }
                match super::shell::credentials() {
                    Some((name, password)) => {
                        self.server.username = Some(name);
                        self.server.password = Some(password);
                        self.perform(line)
                    }
                    None => true,
                }
            }
            Some(Err(error)) => {
                self.fail(format!("error: {error}"));
                false
            }
            None => {
                self.fail(format!("*** Unknown syntax: {line}"));
                false
            }
        }
    }

    /// `None`: there is no such command.
    fn dispatch(&mut self, command: &str, rest: &str) -> Option<Result<bool, CallError>> {
        let outcome = match command {
            "status" => self.status(rest),
            "start" => self.start(rest),
            "stop" => self.stop(rest),
            "restart" => self.restart(rest),
            "signal" => self.signal(rest),
            "pid" => self.pid(rest),
            "avail" => self.avail(rest),
            "version" => self.version(rest),
            "tail" => self.tail(rest),
            "maintail" => self.maintail(rest),
            "clear" => self.clear(rest),
            "fg" => self.foreground(rest),
            "reread" => self.reread(rest),
            "update" => self.update(rest),
            "add" => self.add(rest),
            "remove" => self.remove(rest),
            "reload" => self.reload(rest),
            "shutdown" => self.shutdown(rest),
            "open" => self.open(rest),
            "help" => {
                super::help::command(self, rest);
                Ok(())
            }
            "quit" | "exit" | "EOF" => {
                self.say("");
                return Some(Ok(true));
            }
            _ => return None,
        };
        Some(outcome.map(|()| false))
    }
}
