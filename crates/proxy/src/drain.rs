//! The end of the daemon: gracefully with a deadline, or at once.
//!
//! Not here: what a core does to end (`cores`), and which signal means which end (`daemon`).

use tokio::sync::mpsc;
use trine_service::signals::{AsyncSignals, Signal};
use trine_service::{Drained, Phase};

use crate::control::Ask;
use crate::cores::{Core, End, Order};
use crate::daemon::{Daemon, tell};
use crate::error::Error;

impl Daemon {
    /// Ends gracefully: no new connections, time for those there are. A second signal cuts that short.
    pub(crate) async fn drain(
        &mut self,
        signals: &mut AsyncSignals,
        asks: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), Error> {
        let grace = self.config.timeouts.shutdown;
        self.public.phase.set(Phase::Draining);
        self.public
            .update(|state| state.status_text = "draining".to_owned());
        self.announce();
        self.leave();
        tracing::info!("draining, for {grace:?} at most");
        for core in &self.cores {
            core.tell(Order::Drain(grace)).await;
        }
        let mut ended = 0;
        while ended < self.cores.len() {
            let hurry = tokio::select! {
                biased;
                end = self.cores[ended].ended() => {
                    report_end(ended, end);
                    ended += 1;
                    continue;
                }
                signal = signals.next() => matches!(signal, Ok(Signal::SIGTERM | Signal::SIGQUIT | Signal::SIGINT) | Err(_)),
                Some(ask) = asks.recv() => matches!(ask, Ask::Stop),
            };
            if hurry {
                tracing::warn!("told again to stop: ending now");
                for core in &self.cores {
                    core.tell(Order::Stop).await;
                }
            }
        }
        self.join()
    }

    pub(crate) async fn stop(&mut self) -> Result<(), Error> {
        self.public.phase.set(Phase::Draining);
        self.announce();
        self.leave();
        for core in &self.cores {
            core.tell(Order::Stop).await;
        }
        for (number, core) in self.cores.iter_mut().enumerate() {
            report_end(number, core.ended().await);
        }
        self.join()
    }

    /// What the end begins with: the sockets are the cores' alone, or a successor's.
    fn leave(&mut self) {
        if self.succession.has_successor() {
            self.book.leave_files();
        } else {
            tell(self.notifier.stopping());
        }
        self.book.release();
        self.cores.append(&mut self.retiring);
    }

    /// WINCH: finishes what is under way and takes nothing more, but stays.
    pub(crate) async fn quiesce(&mut self) {
        tracing::info!("gracefully shutting down the cores; HUP has them serve again");
        for core in &self.cores {
            core.tell(Order::Drain(self.config.timeouts.shutdown)).await;
        }
        self.retiring.append(&mut self.cores);
        self.publish_cores();
    }

    /// A core that was told to finish has done so.
    pub(crate) fn retired(&mut self, number: usize) {
        let mut core = self.retiring.swap_remove(number);
        match core.join() {
            Ok(()) => tracing::info!("a core has finished"),
            Err(error) => tracing::error!("a core has failed: {error}"),
        }
    }

    fn join(&mut self) -> Result<(), Error> {
        let joined = self
            .cores
            .iter_mut()
            .map(|core| core.join().map_err(Error::CoreFailed));
        let joined: Vec<_> = joined.collect();
        self.log_thread.settle();
        joined.into_iter().collect()
    }

    pub(crate) fn core_failure(&mut self, number: usize) -> Error {
        let failed = self.cores.get_mut(number).map(Core::join);
        Error::CoreFailed(match failed {
            Some(Err(source)) => source,
            Some(Ok(())) | None => std::io::Error::other("it ended without being told to"),
        })
    }
}

fn report_end(number: usize, end: Option<End>) {
    match end {
        Some(End::Drained(Drained::Clean)) => tracing::debug!(core = number, "drained"),
        Some(End::Drained(Drained::Cut { still_open }) | End::Stopped { still_open })
            if still_open > 0 =>
        {
            tracing::warn!(core = number, "ended with {still_open} connections open");
        }
        Some(_) => {}
        None => tracing::error!(core = number, "failed"),
    }
}
