//! Our side of the control sockets in a run directory: the supervisor's, and the daemons' for a word or two.
//!
//! Not here: what is printed of the answers.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use trine_control::client::{Chunks, Client, ClientError, EventStream};
use trine_control::message::{
    ActionResult, Event, ProgramList, ProgramStatus, ReloadReport, Status,
};
use trine_service::exit::Exit;
use trine_sys::process::{Pid, pidfd_open};

use crate::ending::Ending;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::upkeep::Plan;

/// Nothing answers in the run directory (supervisorctl's code for `status`).
const UNREACHABLE: Exit = Exit::Other(4);
/// How often a supervisor that does not answer yet, or no more, is tried.
const RETRY: Duration = Duration::from_millis(25);
/// A supervisor that does not answer for so long counts as one that is not there right now.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a [`Feed`] reports even though nothing happened: clocks on the terminal move.
const TICK: Duration = Duration::from_millis(100);

/// The supervisor of a run directory, whether it runs or not.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    client: Client,
    run_dir: RunDir,
}

impl Supervisor {
    pub(crate) fn of(run_dir: &RunDir) -> Self {
        Self {
            client: Client::new(run_dir.socket("supervisor")),
            run_dir: run_dir.clone(),
        }
    }

    /// Any supervisor, by its control socket.
    pub(crate) fn at(control: Option<&Path>, run_dir: &RunDir) -> Self {
        match control {
            Some(path) => Self {
                client: Client::new(path),
                run_dir: run_dir.clone(),
            },
            None => Self::of(run_dir),
        }
    }

    pub(crate) async fn scale(&self, name: &str, count: u32) -> anyhow::Result<ActionResult> {
        let path = format!("/v1/groups/{}/scale?count={count}", segment(name));
        self.ask(&path).await
    }

    /// Returns when all are restarted, or one of them has failed.
    pub(crate) async fn rolling_restart(
        &self,
        name: &str,
        batch: u32,
    ) -> anyhow::Result<ActionResult> {
        let path = format!("/v1/groups/{}/rolling-restart?batch={batch}", segment(name));
        self.ask(&path).await
    }

    async fn ask(&self, path: &str) -> anyhow::Result<ActionResult> {
        let answer = self.client.post(path).await;
        answer.map_err(|error| told(error, &self.run_dir))
    }

    /// What a reload would do.
    pub(crate) async fn plan(&self) -> anyhow::Result<Plan> {
        let answer = self.client.get("/v1/plan").await;
        answer.map_err(|error| told(error, &self.run_dir))
    }

    pub(crate) async fn reload(&self) -> anyhow::Result<ReloadReport> {
        let answer = self.client.reload(false).await;
        answer.map_err(|error| told(error, &self.run_dir))
    }

    /// Never answered when it comes about.
    pub(crate) async fn upgrade(
        &self,
        program: Option<&Path>,
    ) -> Result<ActionResult, ClientError> {
        let path = match program {
            Some(program) => format!(
                "/v1/upgrade?program={}",
                segment(&program.display().to_string())
            ),
            None => "/v1/upgrade".to_owned(),
        };
        self.client.post(&path).await
    }

    /// A program's log from its last lines on; `None` when there is none, or nobody to ask.
    pub(crate) async fn follow(&self, name: &str, lines: usize) -> Option<Chunks> {
        let path = format!(
            "/v1/programs/{}/logs?follow=true&tail={lines}",
            segment(name)
        );
        tokio::time::timeout(ANSWER, self.client.stream(&path))
            .await
            .ok()?
            .ok()
    }

    pub(crate) async fn programs(&self) -> anyhow::Result<Vec<ProgramStatus>> {
        let list: ProgramList = self
            .client
            .get("/v1/programs")
            .await
            .map_err(|error| told(error, &self.run_dir))?;
        Ok(list.programs)
    }

    /// The same for whoever follows: nothing when the answer does not come soon, and Ctrl-C is not kept waiting.
    pub(crate) async fn programs_soon(&self) -> Option<Vec<ProgramStatus>> {
        tokio::time::timeout(ANSWER, self.programs())
            .await
            .ok()?
            .ok()
    }

    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        self.client
            .status()
            .await
            .map_err(|error| told(error, &self.run_dir))
    }

    /// Start, stop or restart; returns when it is done, or has failed.
    pub(crate) async fn order(&self, program: &str, verb: &str) -> anyhow::Result<ActionResult> {
        let path = format!("/v1/programs/{}/{verb}?wait=true", segment(program));
        self.client
            .post(&path)
            .await
            .map_err(|error| told(error, &self.run_dir))
    }

    /// Asks it to stop all programs and to end, and waits until its processes are gone.
    pub(crate) async fn stop_and_wait(&self) -> anyhow::Result<()> {
        let processes = self.processes().await?;
        let answer = self
            .client
            .stop()
            .await
            .map_err(|error| told(error, &self.run_dir))?;
        anyhow::ensure!(
            answer.ok,
            "the supervisor does not stop: {}",
            answer.message
        );
        for process in processes {
            Ending::of(process)?.wait().await?;
        }
        Ok(())
    }

    /// The one that answers, and the one whose pid file it is; both are gone when all is over.
    async fn processes(&self) -> anyhow::Result<Vec<OwnedFd>> {
        let filed = fs::read_to_string(self.run_dir.pid_file())
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let answering = i32::try_from(self.status().await?.pid).ok();
        // One that is gone already has no descriptor, and need not be waited for.
        let open = |pid: i32| pidfd_open(Pid::from_raw(pid)).ok();
        Ok(answering
            .into_iter()
            .chain(filed)
            .filter_map(open)
            .collect())
    }

    pub(crate) fn feed(&self) -> Feed {
        Feed {
            client: self.client.clone(),
            stream: None,
            last: 0,
            told: Vec::new(),
        }
    }
}

/// What a daemon of the run directory says of itself.
pub(crate) async fn daemon_status(run_dir: &RunDir, daemon: &str) -> Result<Status, ClientError> {
    Client::new(run_dir.socket(daemon)).status().await
}

/// An error of the client, as a failure with its way out where there is one.
pub(crate) fn told(error: ClientError, run_dir: &RunDir) -> anyhow::Error {
    let flag = run_dir.flag();
    match &error {
        ClientError::NoDaemon { path, .. } => Failure::new(
            UNREACHABLE,
            format!(
                "nothing runs in {}: nobody listens on {}",
                run_dir.path().display(),
                path.display()
            ),
            format!("start it: trine up{flag}, or name the run directory: --run-dir DIR"),
        )
        .into(),
        ClientError::Connect { path, source }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Failure::new(
                UNREACHABLE,
                format!("{} belongs to another user", path.display()),
                "call trine as the user who started the site",
            )
            .into()
        }
        _ => anyhow::Error::new(error),
    }
}

/// A name as one segment of a path, or one value of a query.
pub(crate) fn segment(name: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The supervisor's events, over its restarts: says when it is worth looking again.
#[derive(Debug)]
pub(crate) struct Feed {
    client: Client,
    stream: Option<EventStream>,
    last: u64,
    told: Vec<Event>,
}

impl Feed {
    /// Resolves when something has happened, when the supervisor has begun to answer, or after a moment.
    /// Dropping the future loses no event.
    pub(crate) async fn changed(&mut self) {
        let Some(stream) = &mut self.stream else {
            match self.client.events(Some(self.last)).await {
                Ok(stream) => self.stream = Some(stream),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
            return;
        };
        match tokio::time::timeout(TICK, stream.next()).await {
            Ok(Ok(Some(event))) => {
                self.last = event.id;
                self.told.push(event);
            }
            Ok(Ok(None) | Err(_)) => self.stream = None,
            Err(_moment) => {}
        }
    }

    /// The events since the last call.
    pub(crate) fn told(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(segment("wsgi_00"), "wsgi_00");
        assert_eq!(segment("a/b:c ä"), "a%2Fb%3Ac%20%C3%A4");
    }
}
