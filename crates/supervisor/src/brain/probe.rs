//! Looking whether a starting process is ready, until it is: by asking it, by waiting for a line in its log, or for a
//! newline on its readiness descriptor.
//! Not here: how long to try (the state machine ends that), one look (`check`), or NOTIFY_SOCKET.

use super::check::{self, Manner};
use super::logs::tail::Follower;
use super::supervisor::Supervisor;
use crate::config::Ready;
use crate::error::Error;
use crate::program::state::{Event, State};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// Between two looks, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// One look takes no longer.
const LOOK: Duration = Duration::from_secs(5);

/// What was found out about a process.
#[derive(Debug)]
pub struct Found {
    pub id: String,
    pub generation: u64,
    pub what: Finding,
}

#[derive(Debug)]
pub enum Finding {
    Ready,
    /// Its liveness check has succeeded for the first time, or again.
    Healthy,
    /// It has failed too often in a row; why, for people.
    Unhealthy(String),
    /// Whatever it left behind is gone.
    Swept,
}

impl Supervisor {
    /// Begins to look, if that is how this process becomes ready, and to watch over it.
    pub fn start_probe(&mut self, id: &str) {
        self.start_health(id);
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let ready = process.record.settings.ready.clone();
        if !matches!(process.record.life.state, State::Starting { .. }) {
            return;
        }
        let generation = process.record.generation;
        let manner = self.manner(id);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let log = process.log_watch.take();
        let descriptor = process.ready_pipe.as_ref().map(|fd| fd.try_clone());
        let found = Found {
            id: id.to_owned(),
            generation,
            what: Finding::Ready,
        };
        let task = match ready {
            Ready::Age | Ready::Notify => return,
            Ready::Log { text } => {
                let Some(log) = log else { return };
                self.probes.spawn(async move {
                    says(log, text.as_bytes()).await;
                    found
                })
            }
            Ready::Descriptor { .. } => {
                let Some(Ok(descriptor)) = descriptor else {
                    return;
                };
                let Ok(mut pipe) = pipe::Receiver::from_owned_fd(descriptor) else {
                    return;
                };
                self.probes.spawn(async move {
                    let mut byte = [0];
                    while !matches!(pipe.read(&mut byte).await, Ok(1) if byte == *b"\n") {}
                    found
                })
            }
            Ready::Tcp { .. } | Ready::Http { .. } | Ready::Exec { .. } => {
                self.probes.spawn(async move {
                    asks(&ready, &manner).await;
                    found
                })
            }
        };
        if let Some(process) = self.processes.get_mut(id) {
            process.probe = Some(task);
        }
    }

    /// Somebody found something out.
    pub fn found(&mut self, found: Found) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(&found.id) else {
            return Ok(());
        };
        if let Finding::Swept = found.what {
            process.sweeping = None;
            return Ok(());
        }
        if process.record.generation != found.generation {
            return Ok(());
        }
        match found.what {
            Finding::Ready => {
                process.probe = None;
                self.feed(&found.id, Event::Ready)
            }
            Finding::Healthy => {
                process.healthy = Some(true);
                Ok(())
            }
            Finding::Unhealthy(why) => self.unhealthy(&found.id, &why),
            Finding::Swept => Ok(()),
        }
    }
}

async fn asks(ready: &Ready, manner: &Manner) {
    let mut wait = FIRST_WAIT;
    while check::look(ready, manner, LOOK).await.is_err() {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Until the text is among what is added to the log.
async fn says(mut log: Follower, text: &[u8]) {
    let mut seen: Vec<u8> = Vec::new();
    loop {
        match log.next_piece().await {
            Ok(Some(piece)) => {
                seen.extend_from_slice(&piece);
                if seen.windows(text.len()).any(|window| window == text) {
                    return;
                }
                // The text may come in two pieces.
                seen.drain(..seen.len().saturating_sub(text.len()));
            }
            // Nothing more will come, or it cannot be read: time will tell.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
