//! Programs that run at set times: when the next run is due, and what to do when the last one has not ended.
//! Not here: cron expressions (`crate::schedule`).

use super::supervisor::Supervisor;
use crate::config::extras::{Overlap, Schedule};
use crate::error::Error;
use crate::program::state::Event;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::time::Duration;

/// The wall clock may be set: it is looked at again after so long at the latest, while a program waits for its time.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

impl Supervisor {
    /// How long to sleep until a run is due; `None`: there is none.
    #[must_use]
    pub fn next_run_in(&self) -> Option<Duration> {
        let next = self
            .processes
            .values()
            .filter_map(|process| process.record.next_run)
            .min()?;
        let wait = Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default();
        Some(wait.min(LONGEST_SLEEP))
    }

    /// Notes when programs are to run next that have no such note yet, and forgets the notes of those without a schedule.
    pub fn plan_runs(&mut self) -> Result<(), Error> {
        let mut orders = Vec::new();
        for (id, process) in &mut self.processes {
            let schedule = process.wanted().extras.schedule.as_ref();
            let planned = match (schedule, &process.record.planned) {
                (None, None) => continue,
                (Some(schedule), Some(planned)) if schedule == planned => continue,
                (schedule, _) => schedule.cloned(),
            };
            process.record.next_run = planned.as_ref().and_then(next_after_now);
            process.record.planned = planned;
            orders.push(process.store(id));
        }
        self.link.send(&orders)
    }

    /// Starts what is due. Whether anything was.
    pub(super) fn run_due(&mut self) -> Result<bool, Error> {
        let now = Timestamp::now();
        let is_due = |at: Timestamp| at <= now;
        let due: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| process.record.next_run.is_some_and(is_due))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &due {
            self.run_now(id)?;
        }
        Ok(!due.is_empty())
    }

    fn run_now(&mut self, id: &str) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        let Some(schedule) = process.record.planned.clone() else {
            process.record.next_run = None;
            return Ok(());
        };
        // One run for all the times that went by while nobody was there.
        process.record.next_run = next_after_now(&schedule);
        let at_rest = process.record.life.at_rest();
        let is_queued = !at_rest && schedule.overlap == Overlap::Queue;
        process.record.queued |= is_queued;
        let store = process.store(id);
        self.link.send(&[store])?;
        if at_rest {
            tracing::info!("it is time for {id} ({})", schedule.cron.text());
            return self.start(id);
        }
        match schedule.overlap {
            Overlap::Skip => {
                tracing::warn!("it is time for {id}, which has not ended: leaving this run out");
                Ok(())
            }
            Overlap::Queue => {
                tracing::info!("it is time for {id}, which has not ended: once more right after");
                Ok(())
            }
            Overlap::Restart => {
                tracing::info!("it is time for {id}, which has not ended: beginning anew");
                self.feed(id, Event::Restart)
            }
        }
    }

    /// Begins the runs that were queued behind one that has ended by now.
    pub(super) fn run_queued(&mut self) -> Result<(), Error> {
        let ready: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| process.record.queued && process.record.life.at_rest())
            .map(|(id, _)| id.clone())
            .collect();
        for id in ready {
            if let Some(process) = self.processes.get_mut(&id) {
                process.record.queued = false;
            }
            self.start(&id)?;
        }
        Ok(())
    }
}

fn next_after_now(schedule: &Schedule) -> Option<Timestamp> {
    let zone = match &schedule.timezone {
        // It was there when the configuration was checked.
        Some(name) => TimeZone::get(name).unwrap_or(TimeZone::UTC),
        None => TimeZone::system(),
    };
    let now = Zoned::new(Timestamp::now(), zone);
    schedule.cron.next(&now).map(|at| at.timestamp())
}
