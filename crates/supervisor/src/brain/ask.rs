//! What others may ask the owner of the processes for. Each request carries its own way back.
//! Not here: HTTP (see `control`).

use super::supervisor::Supervisor;
use crate::error::Error;
use tokio::sync::{mpsc, oneshot};
use trine_control::{ProgramStatus, ReloadReport};

pub type Asks = mpsc::Receiver<Ask>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Start,
    Stop,
    Restart,
}

impl Act {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "start" => Some(Self::Start),
            "stop" => Some(Self::Stop),
            "restart" => Some(Self::Restart),
            _ => None,
        }
    }
}

type Look = Box<dyn FnOnce(&Supervisor) + Send>;
type Deed = Box<dyn FnOnce(&mut Supervisor) -> Result<(), Error> + Send>;

pub enum Ask {
    /// Read something out.
    Look {
        look: Look,
    },
    /// `wait`: answer when the processes are neither starting nor stopping. `None`: there is no such program.
    Act {
        name: String,
        act: Act,
        wait: bool,
        reply: oneshot::Sender<Option<Vec<ProgramStatus>>>,
    },
    Reload {
        dry_run: bool,
        reply: oneshot::Sender<ReloadReport>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
    /// Change something that has no variant of its own.
    Do {
        deed: Deed,
    },
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Look { .. } => f.write_str("Look"),
            Self::Act { name, act, .. } => write!(f, "Act({act:?} {name})"),
            Self::Reload { dry_run, .. } => write!(f, "Reload(dry_run: {dry_run})"),
            Self::Stop { .. } => f.write_str("Stop"),
            Self::Do { .. } => f.write_str("Do"),
        }
    }
}

/// An answer that is owed once processes are settled.
#[derive(Debug)]
pub struct Waiter {
    pub ids: Vec<String>,
    pub wait: bool,
    pub reply: Option<oneshot::Sender<Option<Vec<ProgramStatus>>>>,
}

/// Something that is owed once the processes have come that far.
#[derive(Default)]
pub struct Watches(Vec<Watch>);

/// Whether it is done with.
type Watch = Box<dyn FnMut(&Supervisor) -> bool + Send>;

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watches({})", self.0.len())
    }
}

impl Supervisor {
    /// Asks after each event, beginning with this one, until `is_done` says so.
    pub fn watch(&mut self, is_done: impl FnMut(&Self) -> bool + Send + 'static) {
        self.watches.0.push(Box::new(is_done));
    }

    pub fn look_at_watches(&mut self) {
        if self.watches.0.is_empty() {
            return;
        }
        let mut watches = std::mem::take(&mut self.watches.0);
        watches.retain_mut(|is_done| !is_done(self));
        self.watches.0 = watches;
    }
}

/// Asks the owner. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Ask>,
}

/// The owner has ended.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor is ending")]
pub struct Ending;

impl Handle {
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Asks) {
        let (inbox, asks) = mpsc::channel(capacity);
        (Self { inbox }, asks)
    }

    /// Reads something out of the owner's state. Dropping the future changes nothing.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Supervisor) -> T + Send + 'static,
    ) -> Result<T, Ending> {
        self.ask(|reply| Ask::Look {
            look: Box::new(move |supervisor| drop(reply.send(look(supervisor)))),
        })
        .await
    }

    /// Dropping the future does not call the action off.
    pub async fn act(
        &self,
        name: String,
        act: Act,
        wait: bool,
    ) -> Result<Option<Vec<ProgramStatus>>, Ending> {
        self.ask(|reply| Ask::Act {
            name,
            act,
            wait,
            reply,
        })
        .await
    }

    pub async fn reload(&self, dry_run: bool) -> Result<ReloadReport, Ending> {
        self.ask(|reply| Ask::Reload { dry_run, reply }).await
    }

    pub async fn stop(&self) -> Result<(), Ending> {
        self.ask(|reply| Ask::Stop { reply }).await
    }

    /// Has the owner do something that answers by itself, now or later. Dropping the future does not call it off.
    pub async fn carry_out<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Supervisor, oneshot::Sender<T>) -> Result<(), Error> + Send + 'static,
    ) -> Result<T, Ending> {
        self.ask(|reply| Ask::Do {
            deed: Box::new(move |supervisor| deed(supervisor, reply)),
        })
        .await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Ending> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(ask(reply)).await.map_err(|_| Ending)?;
        answer.await.map_err(|_| Ending)
    }
}
