//! fg: a process's output on our terminal, and what is typed to its standard input.
//! Not here: following a log alone (see `logs`).

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use trine_control::xmlrpc::Value;

use super::link::{CallError, Server};
use super::logs::print_stream;
use super::session::{Outcome, Session, fault};

const RUNNING: i32 = 20;

impl Session {
    pub(super) fn foreground(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        let name = match words[..] {
            [name] => name,
            [] => {
                self.say("ERROR: no process name supplied");
                self.exit = super::session::GENERIC;
                super::help::of(self, "fg");
                return Ok(());
            }
            _ => {
                self.fail("ERROR: too many process names supplied");
                return Ok(());
            }
        };
        match self.call("getProcessInfo", &[Value::from(name)]) {
            Ok(info) if is_running(&info) => {}
            Ok(_) => {
                self.fail("ERROR: process not running");
                return Ok(());
            }
            Err(error) if error.fault() == Some(fault::BAD_NAME) => {
                self.fail("ERROR: bad process name supplied");
                return Ok(());
            }
            Err(CallError::Fault(told)) => {
                self.say(format!("ERROR: {told}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.say("==> Press Ctrl-C to exit <==");
        let name = name.to_owned();
        let ended = self.interruptible(async |server| attach(server, &name).await);
        match ended {
            // Ctrl-C, or nothing more to type.
            None | Some(Ok(End::Typed)) => {}
            Some(Ok(End::Killed)) => self.say("Process got killed"),
            Some(Ok(End::Refused(told))) => self.say(format!("ERROR: {told}")),
            Some(Err(error)) => return Err(error),
        }
        self.say("Exiting foreground");
        Ok(())
    }
}

fn is_running(info: &Value) -> bool {
    info.member("state").and_then(Value::as_int) == Some(RUNNING)
}

enum End {
    Typed,
    Killed,
    Refused(String),
}

async fn attach(server: &Server, name: &str) -> Result<End, CallError> {
    let both = async {
        let stdout = format!("/logtail/{name}/stdout");
        let stderr = format!("/logtail/{name}/stderr");
        // A channel without a log is no reason to leave the other.
        let _ = tokio::join!(print_stream(server, &stdout), print_stream(server, &stderr));
        std::future::pending::<()>().await;
    };
    let typing = async {
        let mut typed = Typed::new().map_err(CallError::Io)?;
        while let Some(line) = typed.line().await.map_err(CallError::Io)? {
            let params = [Value::from(name), Value::from(line)];
            match server.call("supervisor.sendProcessStdin", &params).await {
                Ok(_) => {}
                Err(CallError::Fault(told)) if told.code == fault::NOT_RUNNING => {
                    return Ok(End::Killed);
                }
                Err(CallError::Fault(told)) => return Ok(End::Refused(told.to_string())),
                Err(error) => return Err(error),
            }
            let info = server
                .call("supervisor.getProcessInfo", &params[..1])
                .await?;
            if !is_running(&info) {
                return Ok(End::Killed);
            }
        }
        Ok(End::Typed)
    };
    tokio::select! {
        () = both => Ok(End::Typed),
        ended = typing => ended,
    }
}

/// Lines of our standard input. A file cannot be waited for, and need not be.
struct Typed {
    input: Option<AsyncFd<OwnedFd>>,
    bytes: Vec<u8>,
}

impl Typed {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's cannot"
    )]
    fn new() -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self {
            input: AsyncFd::with_interest(input, Interest::READABLE).ok(),
            bytes: Vec::new(),
        })
    }

    /// With its newline; `None` at the end, where a line without one is given up as a terminal does.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if let Some(input) = &self.input {
                input.readable().await?.clear_ready();
            }
            let mut piece = [0; 4096];
            // What is readable does not wait.
            let count = io::stdin().lock().read(&mut piece)?;
            if count == 0 {
                return Ok(None);
            }
            self.bytes.extend_from_slice(&piece[..count]);
        }
    }
}
