//! Asking the holder to make way for a newer program. Not here: how that is done (see `holder::upgrade`).

use super::control::{Control, ending};
use super::supervisor::Supervisor;
use crate::error::Error;
use crate::holder::wire::{Failure, Order, Ticket};
use tokio::sync::oneshot;
use trine_control::ProblemDocument;
use trine_control::server::Response;

/// Why an upgrade did not come about. There is no answer when it does: this brain ends with the old holder.
type Refusal = oneshot::Sender<String>;

/// Upgrades that were done, and those that are asked for.
#[derive(Debug)]
pub struct Upgrades {
    pub done: u64,
    asked: Vec<(Ticket, Refusal)>,
}

impl Upgrades {
    #[must_use]
    pub fn new(done: u64) -> Self {
        Self {
            done,
            asked: Vec::new(),
        }
    }
}

impl Supervisor {
    fn upgrade(&mut self, program: Option<String>, refusal: Refusal) -> Result<(), Error> {
        if self.daemon.closing.is_some() {
            let _ = refusal.send("everything is being stopped".to_owned());
            return Ok(());
        }
        let name = program.as_deref().unwrap_or("the program at our own path");
        tracing::info!("asked to make way for {name}");
        let ticket = self.link.ticket();
        self.upgrades.asked.push((ticket, refusal));
        self.link.send(&[Order::Upgrade { ticket, program }])
    }

    pub fn not_upgraded(&mut self, ticket: Ticket, failure: Failure) {
        let asked = &mut self.upgrades.asked;
        if let Some(place) = asked.iter().position(|(known, _)| *known == ticket) {
            let (_, refusal) = asked.swap_remove(place);
            tracing::error!("not upgraded: {}", failure.text);
            let _ = refusal.send(failure.text);
        }
    }
}

impl Control {
    /// Answers only when it is refused: otherwise the connection ends, and the next brain tells of one more upgrade.
    pub(super) async fn upgrade(&self, program: Option<&str>) -> Result<Response, ProblemDocument> {
        let program = program.map(str::to_owned);
        let reason = self
            .handle
            .carry_out(move |supervisor, refusal| supervisor.upgrade(program, refusal))
            .await
            .map_err(ending)?;
        Err(ProblemDocument::new(409, reason))
    }
}
