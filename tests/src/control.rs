//! A small blocking client of a control socket.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::client::{Client, Request};
use crate::reply::Reply;
use crate::{process, wait};

/// The control socket of one daemon.
#[derive(Debug, Clone)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// One call; an error when nobody listens.
    pub fn call(&self, request: Request) -> io::Result<Reply> {
        Client::try_connect(&self.socket.clone().into())?
            .try_ask(&request.header("Connection", "close"))
    }

    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let reply = self
            .call(Request::get(path))
            .unwrap_or_else(|problem| panic!("GET {path} on {}: {problem}", self.socket.display()));
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    #[track_caller]
    pub fn post(&self, path: &str) -> Value {
        let reply = self
            .call(Request::post(path, ""))
            .unwrap_or_else(|problem| {
                panic!("POST {path} on {}: {problem}", self.socket.display())
            });
        assert!(
            (200..300).contains(&reply.status),
            "POST {path}: {} {}",
            reply.status,
            reply.text()
        );
        if reply.body.is_empty() {
            Value::Null
        } else {
            reply.json()
        }
    }

    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Value {
        self.get("/v1/status")
    }

    /// The daemon's phase; `None` while nobody answers.
    #[must_use]
    pub fn phase(&self) -> Option<String> {
        let reply = self.call(Request::get("/v1/status")).ok()?;
        Some(reply.json()["phase"].as_str()?.to_owned())
    }

    #[track_caller]
    pub fn wait_phase(&self, phase: &str) {
        wait::until(
            &format!("phase {phase} on {}", self.socket.display()),
            || (self.phase()? == phase).then_some(()),
        );
    }

    /// What the supervisor says about one program.
    #[track_caller]
    #[must_use]
    pub fn program(&self, name: &str) -> Value {
        self.get(&format!("/v1/programs/{name}"))
    }

    /// The pid of a supervisor's brain; `None` while there is none that answers.
    #[must_use]
    pub fn brain(&self) -> Option<i32> {
        let reply = self.call(Request::get("/v1/status")).ok()?;
        i32::try_from(reply.json()["detail"]["brain_pid"].as_i64()?).ok()
    }

    /// Kills the supervisor's brain and waits until the next one answers; gives its pid.
    #[track_caller]
    pub fn kill_brain(&self) -> i32 {
        let brain = self.brain().unwrap();
        assert_ne!(
            Some(i64::from(brain)),
            self.status()["pid"].as_i64(),
            "the brain is a process of its own"
        );
        process::signal(brain, Signal::SIGKILL);
        process::wait_gone(brain);
        wait::until("the next brain", || {
            self.brain().filter(|next| *next != brain)
        })
    }

    /// The pid of a program that is RUNNING and ready.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<i32> {
        let reply = self
            .call(Request::get(&format!("/v1/programs/{name}")))
            .ok()?;
        let program = (reply.status == 200).then(|| reply.json())?;
        let pid = (program["state"] == "RUNNING" && program["ready"] == true)
            .then(|| program["pid"].as_i64())??;
        i32::try_from(pid).ok()
    }

    /// Waits until a supervisor answers and its program is RUNNING and ready; gives its pid.
    #[track_caller]
    pub fn wait_running(&self, name: &str) -> i32 {
        wait::until(&format!("program {name} to be ready"), || {
            self.running(name)
        })
    }

    /// Waits until the program runs and is ready under another pid than before.
    #[track_caller]
    pub fn wait_replaced(&self, name: &str, before: i32) -> i32 {
        wait::until(&format!("a successor of {name} (pid {before})"), || {
            self.running(name).filter(|pid| *pid != before)
        })
    }
}
