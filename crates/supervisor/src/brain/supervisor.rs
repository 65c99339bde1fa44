//! The one owner of all processes: takes in reports, messages, asks and time, one after the other, and turns each into
//! an event of a process. Not here: what an event does to a life (`program::state`), how effects are carried out
//! (`perform`), how the first table is read (`adopt`), what is reported (`reports`) and asked for (`asked`).

use super::ask::{Asks, Waiter, Watches};
use super::cgroup::Cgroups;
use super::events::Events;
use super::link::Link;
use super::logs::Key;
use super::logs::pump::Pump;
use super::main_log::MainLog;
use super::notify::NotifySocket;
use super::probe::Found;
use super::process::Process;
use super::rolling::{Asker, Rolling};
use super::servers::Servers;
use super::start::House;
use super::upgrade::Upgrades;
use crate::clock;
use crate::config::{Config, Overrides};
use crate::error::Error;
use crate::holder::wire::Order;
use crate::program::moment::Moment;
use crate::program::state::Event;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use trine_control::ReloadReport;
use trine_control::server::EventHub;
use trine_service::{Phase, PhaseCell};

/// What the next brain needs to know of the supervisor itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    pub started: Moment,
    /// Configurations put into effect.
    pub generation: u64,
    /// READY=1 was sent.
    pub ready: bool,
    /// Since when all is being stopped.
    pub closing: Option<Moment>,
    /// That is to start everything anew afterwards.
    #[serde(default)]
    pub restarting: bool,
    pub last_reload: Option<ReloadReport>,
    /// Upgrades that a brain has taken note of.
    #[serde(default)]
    pub upgrades: u64,
    /// What the supervisor ends with: the code of the program that decided it.
    #[serde(default)]
    pub exit_code: u8,
    /// How many processes programs were scaled to.
    #[serde(default)]
    pub numprocs: BTreeMap<String, u32>,
    /// Rolling restarts under way.
    #[serde(default)]
    pub rolling: Vec<Rolling>,
}

/// So long after everything has been started, whoever waited for that has asked about it too.
const CALM: Duration = Duration::from_secs(1);

pub const DAEMON_KEY: &str = "daemon";
pub const CONFIG_KEY: &str = "config";

#[derive(Debug)]
pub struct Supervisor {
    pub link: Link,
    pub config: Config,
    pub overrides: Overrides,
    pub daemon: Daemon,
    pub processes: BTreeMap<String, Process>,
    pub house: House,
    pub pump: Pump,
    /// Reading ends of log pipes that the holder has just made, or why not, until they are connected.
    pub pipes: BTreeMap<Key, Result<OwnedFd, String>>,
    pub log: MainLog,
    pub hub: EventHub,
    pub phase: PhaseCell,
    pub holder_pid: i32,
    pub brains: u64,
    pub upgrades: Upgrades,
    /// Held for programs, by key: the actual address.
    pub sockets: BTreeMap<String, String>,
    /// A reload may have left sockets that nobody names.
    pub sockets_may_be_unnamed: bool,
    pub probes: JoinSet<Found>,
    pub waiters: Vec<Waiter>,
    pub watches: Watches,
    /// Read by `reloadConfig`, and not all of it in force.
    pub reread: Option<Config>,
    /// For what background tasks find out before they end.
    pub findings: UnboundedSender<Found>,
    /// The other end of it, until the loop takes it.
    pub heard: Option<UnboundedReceiver<Found>>,
    pub cgroups: Option<Cgroups>,
    pub askers: Vec<Asker>,
    pub events: Events,
    /// When the log next says for whom we wait.
    pub report_at: Option<Moment>,
    pub servers: Servers,
    /// When memory that only the start needed is given back.
    pub rest_at: Option<Moment>,
}

impl Supervisor {
    /// Until everything is stopped.
    pub async fn run(&mut self, notify: &NotifySocket, asks: &mut Asks) -> Result<(), Error> {
        let (_, nobody) = tokio::sync::mpsc::unbounded_channel();
        let mut heard = self.heard.take().unwrap_or(nobody);
        self.advance().await?;
        while self.phase.get() != Phase::Gone {
            let until_due = self.next_deadline().map(|at| at - clock::now());
            let until_due = until_due.into_iter().chain(self.next_run_in()).min();
            let timer = async move {
                match until_due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            // In this order: exits before time, so that a dead process is never found to have lived long enough.
            tokio::select! {
                biased;
                letter = self.link.next() => {
                    let (report, fds) = letter?;
                    self.reported(report, fds)?;
                    while let Some((report, fds)) = self.link.next_here()? {
                        self.reported(report, fds)?;
                    }
                    self.notified(notify)?;
                }
                readable = notify.readable() => {
                    readable.map_err(|source| Error::Brain { doing: "listen to programs", source })?;
                    self.notified(notify)?;
                }
                Some(found) = self.probes.join_next(), if !self.probes.is_empty() => {
                    if let Ok(found) = found {
                        self.found(found)?;
                    }
                }
                Some(found) = heard.recv() => self.found(found)?,
                Some(Ok(id)) = self.events.spoke.join_next(), if !self.events.spoke.is_empty() => {
                    self.spoke(&id)?;
                }
                Some(heard) = self.pump.heard.recv() => self.output_event(heard)?,
                Some(ask) = asks.recv() => self.asked(ask)?,
                () = timer => {
                    if !self.tick_events()? {
                        self.tick()?;
                    }
                }
            }
            self.advance().await?;
        }
        self.settle_logs().await;
        Ok(())
    }

    fn next_deadline(&self) -> Option<Moment> {
        let processes = self.processes.values().filter_map(Process::deadline);
        processes
            .chain(self.next_tick())
            .chain(self.report_at)
            .chain(self.rest_at)
            .min()
    }

    fn tick(&mut self) -> Result<(), Error> {
        let now = clock::now();
        let is_due = |process: &Process| {
            process.deadline().is_some_and(|deadline| deadline <= now) && !has_ended(process)
        };
        let due: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| is_due(process))
            .map(|(id, _)| id.clone())
            .collect();
        let reports = self.report_at.is_some_and(|at| at <= now);
        let rests = self.rest_at.is_some_and(|at| at <= now);
        if rests {
            self.rest()?;
        }
        let is_other = self.check_watchdogs(now)? | self.run_due()? | reports | rests;
        if due.is_empty() && (is_other || !self.some_have_ended(now)) {
            return Ok(());
        }
        if due.is_empty() {
            // All that is due has ended, and the report of it is on its way.
            let letter = self.link.read_waiting()?;
            return self.reported(letter.0, letter.1);
        }
        due.into_iter()
            .try_for_each(|id| self.feed(&id, Event::Tick))
    }

    /// Whether a process that is due has ended without a report of it so far.
    fn some_have_ended(&self, now: Moment) -> bool {
        let mut all = self.processes.values();
        all.any(|process| {
            process.deadline().is_some_and(|deadline| deadline <= now) && has_ended(process)
        })
    }

    /// What follows from the state of everything, after each event.
    async fn advance(&mut self) -> Result<(), Error> {
        self.report_waiting();
        self.plan_runs()?;
        self.start_waiting()?;
        self.run_queued()?;
        self.roll_on()?;
        self.retire().await?;
        self.release_unnamed()?;
        self.answer_waiters();
        self.look_at_watches();
        self.deliver_events()?;
        if self.phase.get() == Phase::Starting
            && self.processes.keys().all(|id| self.is_settled(id))
        {
            self.become_ready()?;
        }
        if self.daemon.closing.is_some() {
            self.stop_next_batch().await?;
        }
        Ok(())
    }

    /// Neither on the way up nor on the way down, nor waiting for something that may yet come.
    fn is_settled(&self, id: &str) -> bool {
        self.processes.get(id).is_none_or(|process| {
            process.is_settled() && (!process.record.waiting || self.waits_in_vain(id))
        })
    }

    fn become_ready(&mut self) -> Result<(), Error> {
        let running = self
            .processes
            .values()
            .filter(|process| process.is_ready())
            .count();
        let text = format!("{running} of {} programs running", self.processes.len());
        self.set_phase(Phase::Ready);
        if !self.daemon.ready {
            self.daemon.ready = true;
            let store = self.store_daemon();
            self.link.send(&[
                store,
                Order::Notify {
                    text: format!("READY=1\nSTATUS={text}"),
                },
            ])?;
            tracing::info!("ready: {text}");
        }
        self.rest_at = Some(clock::now() + CALM);
        Ok(())
    }

    /// After much work: memory that it took and that nobody needs now goes back, here and in the holder.
    fn rest(&mut self) -> Result<(), Error> {
        self.rest_at = None;
        trine_sys::memory::give_back();
        self.link.send(&[Order::Rest])
    }

    pub fn set_phase(&self, phase: Phase) {
        if self.phase.set(phase) {
            self.hub
                .push("phase", serde_json::json!({ "phase": phase }));
        }
    }

    #[must_use]
    pub fn store_daemon(&self) -> Order {
        Order::Store {
            key: DAEMON_KEY.to_owned(),
            value: serde_json::to_string(&self.daemon).ok(),
        }
    }

    fn answer_waiters(&mut self) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.retain_mut(|waiter| {
            let is_settled = |id: &String| self.is_settled(id);
            let is_done = !waiter.wait || waiter.ids.iter().all(is_settled);
            if is_done && let Some(reply) = waiter.reply.take() {
                let _ = reply.send(Some(self.statuses(&waiter.ids)));
            }
            !is_done
        });
        self.waiters = waiters;
    }
}

/// Whether the kernel says that the process is gone, though the holder's report may still be on its way.
fn has_ended(process: &Process) -> bool {
    let Some(pidfd) = &process.pidfd else {
        return false;
    };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}
