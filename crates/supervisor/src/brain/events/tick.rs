//! TICK events: at whole multiples of their periods on the wall clock, and only while somebody wants them, so that an
//! idle supervisor sleeps.
//! Not here: waiting.

use crate::brain::supervisor::Supervisor;
use crate::clock;
use crate::error::Error;
use crate::program::moment::Moment;
use std::time::Duration;

const PERIODS: [(u64, &str); 3] = [(5, "TICK_5"), (60, "TICK_60"), (3600, "TICK_3600")];

#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// For each period that is wanted: its kind, and the slice that was told last.
    wanted: Vec<(u64, &'static str, u64)>,
    due: Option<Moment>,
}

impl Ticks {
    pub(super) fn ask(&mut self, is_wanted: impl Fn(&str) -> bool) {
        let now = seconds();
        self.wanted = PERIODS
            .into_iter()
            .filter(|(_, kind)| is_wanted(kind))
            .map(|(period, kind)| (period, kind, now - now % period))
            .collect();
        self.rearm();
    }

    fn rearm(&mut self) {
        let next = self
            .wanted
            .iter()
            .map(|(period, _, told)| told + period)
            .min();
        self.due = next.map(|next| {
            let now = jiff::Timestamp::now().as_millisecond();
            let wait = i64::try_from(next).unwrap_or(i64::MAX).saturating_mul(1000) - now;
            // A clock that was set makes the next one late by one period at most.
            let longest = self
                .wanted
                .iter()
                .map(|(period, _, _)| *period)
                .min()
                .unwrap_or(5);
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
            clock::now() + wait.min(Duration::from_secs(longest))
        });
    }
}

fn seconds() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

impl Supervisor {
    pub(in crate::brain) fn next_tick(&self) -> Option<Moment> {
        let farewell = self
            .events
            .farewell
            .filter(|_| !self.events.farewell_is_over);
        self.events.ticks.due.into_iter().chain(farewell).min()
    }

    /// Whether a tick was due, and has happened.
    pub(in crate::brain) fn tick_events(&mut self) -> Result<bool, Error> {
        if self
            .events
            .farewell
            .is_some_and(|until| until <= clock::now())
        {
            let was_over = std::mem::replace(&mut self.events.farewell_is_over, true);
            if !was_over {
                return Ok(true);
            }
        }
        if self.events.ticks.due.is_none_or(|due| due > clock::now()) {
            return Ok(false);
        }
        let now = seconds();
        let mut fallen = Vec::new();
        for (period, kind, told) in &mut self.events.ticks.wanted {
            let slice = now - now % *period;
            if slice != *told {
                *told = slice;
                fallen.push((*kind, slice));
            }
        }
        self.events.ticks.rearm();
        for (kind, slice) in fallen {
            self.happened(kind, &format!("when:{slice}"))?;
        }
        Ok(true)
    }
}
