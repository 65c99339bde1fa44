//! tail and maintail. Not here: `fg`, which follows a log too.

use std::io::{self, Write as _};

use trine_control::xmlrpc::Value;

use super::link::{CallError, Server};
use super::session::{GENERIC, Outcome, Session, fault};

/// How many of the last bytes are shown.
const DEFAULT_BYTES: i64 = 1600;

enum Amount {
    Follow,
    Bytes(i64),
}

impl Session {
    pub(super) fn tail(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        let mut words: Vec<&str> = rest.split_whitespace().collect();
        match words.len() {
            0 => {
                self.misused("tail", "too few arguments");
                return Ok(());
            }
            1..=3 => {}
            _ => {
                self.misused("tail", "too many arguments");
                return Ok(());
            }
        }
        let modifier = words[0].starts_with('-').then(|| words.remove(0));
        let (name, channel) = match words[..] {
            [] => {
                self.fail("Error: tail requires process name");
                return Ok(());
            }
            [name] => (name, "stdout".to_owned()),
            [name, .., channel] => (name, channel.to_lowercase()),
        };
        if !matches!(channel.as_str(), "stdout" | "stderr") {
            self.fail(format!("Error: bad channel '{channel}'"));
            return Ok(());
        }
        match self.amount(modifier) {
            None => Ok(()),
            Some(Amount::Follow) => self.follow(&format!("/logtail/{name}/{channel}")),
            Some(Amount::Bytes(bytes)) => {
                let method = if channel == "stdout" {
                    "readProcessStdoutLog"
                } else {
                    "readProcessStderrLog"
                };
                let result = self.call(method, &[Value::from(name), back(bytes), Value::Int(0)]);
                self.show(result, name)
            }
        }
    }

    pub(super) fn maintail(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        let modifier = match words[..] {
            [] => None,
            [word] if word.starts_with('-') => Some(word),
            [word] => {
                self.fail(format!("Error: bad argument {word}"));
                return Ok(());
            }
            _ => {
                self.misused("maintail", "too many arguments");
                return Ok(());
            }
        };
        match self.amount(modifier) {
            None => Ok(()),
            Some(Amount::Follow) => self.follow("/mainlogtail"),
            Some(Amount::Bytes(bytes)) => {
                let result = self.call("readLog", &[back(bytes), Value::Int(0)]);
                self.show(result, "supervisord")
            }
        }
    }

    /// `-f` or `-N`; `None`: neither, and that was said.
    fn amount(&mut self, modifier: Option<&str>) -> Option<Amount> {
        let Some(modifier) = modifier else {
            return Some(Amount::Bytes(DEFAULT_BYTES));
        };
        match modifier[1..].parse() {
            _ if modifier == "-f" => Some(Amount::Follow),
            Ok(bytes) => Some(Amount::Bytes(bytes)),
            Err(_) => {
                self.fail(format!("Error: bad argument {modifier}"));
                None
            }
        }
    }

    fn show(&mut self, result: Result<Value, CallError>, name: &str) -> Outcome {
        let error = match result {
            Ok(text) => {
                self.say(text.as_str().unwrap_or_default());
                return Ok(());
            }
            Err(error) => error,
        };
        self.exit = GENERIC;
        let why = match error.fault() {
            Some(fault::NO_FILE) => "no log file",
            Some(fault::FAILED) => "unknown error reading log",
            Some(fault::BAD_NAME) if name != "supervisord" => "no such process name",
            _ => return Err(error),
        };
        self.say(format!("{name}: ERROR ({why})"));
        Ok(())
    }

    fn follow(&mut self, path: &str) -> Outcome {
        self.say("==> Press Ctrl-C to exit <==");
        match self.interruptible(async |server| print_stream(server, path).await) {
            None => self.say(""),
            Some(Ok(())) => {}
            Some(Err(error)) => eprintln!("{}", not_readable(&self.server.url, path, &error)),
        }
        Ok(())
    }
}

/// supervisorctl's words, on standard error.
pub(super) fn not_readable(url: &str, path: &str, error: &CallError) -> String {
    match error {
        CallError::Status { code, .. } => format!("{url}{path} Cannot read, status code {code}"),
        other => format!("{url}{path} Cannot connect, error: {other}"),
    }
}

/// What comes, as it comes. Ends too when nobody reads our output any more.
pub(super) async fn print_stream(server: &Server, path: &str) -> Result<(), CallError> {
    let mut stream = server.get(path).await?;
    while let Some(piece) = stream.next().await? {
        let mut out = io::stdout().lock();
        if out.write_all(&piece).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(())
}

/// An offset from the end.
fn back(bytes: i64) -> Value {
    Value::Int(i32::try_from(-bytes).unwrap_or(i32::MIN))
}
