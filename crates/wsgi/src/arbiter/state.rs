//! The life of the worker processes as one pure function: what happened goes in, what is to be done comes out.
//!
//! A reload makes a candidate generation: one new worker boots and proves itself while the old generation serves.
//! Only when it is ready are the others started, and for each that is ready one old worker retires. A candidate that
//! fails changes nothing.
//! Not here: processes, signals, clocks (see `perform`).

mod model;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::Mode;
pub use model::{Effect, Event, Pid, Policy, Stage, Worker};

#[derive(Debug)]
pub struct State {
    mode: Mode,
    target: usize,
    generation: u64,
    /// The highest number given to a generation so far.
    newest: u64,
    candidate: Option<Candidate>,
    workers: BTreeMap<Pid, Worker>,
    /// Boots that failed one after the other.
    failures: u32,
    retry_at: Option<Instant>,
    /// Spawns asked for, not yet told of.
    spawning: usize,
    /// Exit was told.
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    generation: u64,
    target: usize,
}

/// gunicorn's codes for an application that cannot be loaded.
const BOOT_CODES: [u8; 2] = [3, 4];
/// A worker that ends sooner than this after it was ready counts as a failed boot.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

impl State {
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            mode: Mode::Starting,
            target: workers,
            generation: 1,
            newest: 1,
            candidate: None,
            workers: BTreeMap::new(),
            failures: 0,
            retry_at: None,
            spawning: 0,
            ended: false,
        }
    }

    #[must_use]
    pub fn workers(&self) -> &BTreeMap<Pid, Worker> {
        &self.workers
    }

    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    #[must_use]
    pub fn target(&self) -> usize {
        self.target
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.mode, Mode::Stopping { .. })
    }

    /// No worker was ever ready.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.mode == Mode::Starting
    }

    /// A reload is under way.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.candidate.is_some()
    }

    /// The generation that a [`Event::Reload`] now would make.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        self.newest + 1
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn next_tick(&self, policy: &Policy) -> Option<Instant> {
        let deadlines = self
            .workers
            .values()
            .filter_map(|worker| match worker.stage {
                Stage::Booting { since } => policy.boot.map(|boot| since + boot),
                Stage::Leaving { kill_at } => Some(kill_at),
                Stage::Ready { .. } | Stage::Killed => None,
            });
        deadlines.chain(self.retry_at).min()
    }

    /// Goes on by one event.
    #[must_use = "a dropped effect is a signal or a process that never happens"]
    pub fn step(&mut self, event: Event, now: Instant, policy: &Policy) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Start => {}
            Event::Spawned { pid, generation } => {
                self.spawning = self.spawning.saturating_sub(1);
                let worker = Worker {
                    generation,
                    stage: Stage::Booting { since: now },
                    hung: false,
                    retiring: false,
                };
                self.workers.insert(pid, worker);
            }
            Event::SpawnFailed { generation } => {
                self.spawning = self.spawning.saturating_sub(1);
                match self.candidate.filter(|one| one.generation == generation) {
                    Some(_) => {
                        self.candidate = None;
                        effects.push(Effect::Rejected {
                            generation,
                            code: None,
                        });
                    }
                    None => self.back_off(now, &mut effects),
                }
            }
            Event::Ready { pid } => self.ready(pid, now, policy, &mut effects),
            Event::Exited { pid, code } => self.exited(pid, code, now, policy, &mut effects),
            Event::Hung { pid } => self.abort(pid, now, policy, &mut effects),
            Event::Recycle { pid } => {
                let ready = |worker: &&mut Worker| matches!(worker.stage, Stage::Ready { .. });
                if let Some(worker) = self.workers.get_mut(&pid).filter(ready) {
                    worker.retiring = true;
                }
            }
            Event::Halt { code } => {
                self.spawning = self.spawning.saturating_sub(1);
                self.stop(code, true, now, policy, &mut effects);
            }
            Event::Stop => self.stop(0, false, now, policy, &mut effects),
            Event::QuickStop => self.stop(0, true, now, policy, &mut effects),
            Event::Reload { workers } => self.reload(workers, now, policy, &mut effects),
            Event::More => self.resize(self.target + 1, &mut effects),
            Event::Fewer if self.target <= 1 => {}
            Event::Fewer => self.resize(self.target - 1, &mut effects),
            Event::Empty => self.resize(0, &mut effects),
            Event::Tick => self.tick(now, policy, &mut effects),
        }
        self.fill(now, policy, &mut effects);
        effects
    }

    fn ready(&mut self, pid: Pid, now: Instant, policy: &Policy, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&pid) else {
            return;
        };
        if !matches!(worker.stage, Stage::Booting { .. }) {
            return;
        }
        worker.stage = Stage::Ready { since: now };
        let generation = worker.generation;
        self.failures = 0;
        self.retry_at = None;
        if self.mode == Mode::Starting {
            self.mode = Mode::Running;
            effects.push(Effect::BecameReady);
        }
        if let Some(candidate) = self
            .candidate
            .filter(|candidate| candidate.generation == generation)
        {
            self.candidate = None;
            self.generation = generation;
            self.target = candidate.target;
            effects.push(Effect::Promoted { generation });
        }
        self.retire_surplus(now, policy, effects);
    }

    /// Old workers leave as new ones are ready for them, then those to be recycled, then what is too many: the oldest
    /// first.
    fn retire_surplus(&mut self, now: Instant, policy: &Policy, effects: &mut Vec<Effect>) {
        let current = self.generation;
        let ready = |worker: &Worker| matches!(worker.stage, Stage::Ready { .. });
        let serving = self.workers.values().filter(|worker| ready(worker)).count();
        let candidate = self.candidate.map(|candidate| candidate.generation);
        let mut surplus = serving.saturating_sub(self.target);
        // All of the old generation that still boot are of no use any more.
        let old =
            |worker: &Worker| worker.generation != current && Some(worker.generation) != candidate;
        let mut leaving: Vec<Pid> = Vec::new();
        for (pid, worker) in &self.workers {
            if old(worker) && matches!(worker.stage, Stage::Booting { .. }) {
                leaving.push(*pid);
            }
        }
        let mut by_age: Vec<(bool, bool, Instant, Pid)> = Vec::new();
        for (pid, worker) in &self.workers {
            if let Stage::Ready { since } = worker.stage
                && Some(worker.generation) != candidate
            {
                by_age.push((!old(worker), !worker.retiring, since, *pid));
            }
        }
        by_age.sort_unstable();
        for (_, _, _, pid) in by_age {
            if surplus == 0 {
                break;
            }
            surplus -= 1;
            leaving.push(pid);
        }
        for pid in leaving {
            self.leave(pid, now + policy.graceful);
            effects.push(Effect::Terminate(pid));
        }
    }

    fn leave(&mut self, pid: Pid, kill_at: Instant) {
        if let Some(worker) = self.workers.get_mut(&pid) {
            worker.stage = Stage::Leaving { kill_at };
        }
    }

    fn exited(
        &mut self,
        pid: Pid,
        code: Option<u8>,
        now: Instant,
        policy: &Policy,
        effects: &mut Vec<Effect>,
    ) {
        let Some(worker) = self.workers.remove(&pid) else {
            return;
        };
        if self.is_stopping() {
            return;
        }
        let failed_boot = match worker.stage {
            Stage::Booting { .. } => true,
            Stage::Ready { since } => now.saturating_duration_since(since) < SHORT_LIFE,
            // Left as it was told to, unless it hung while booting.
            Stage::Leaving { .. } | Stage::Killed => false,
        };
        let candidate = self
            .candidate
            .filter(|candidate| candidate.generation == worker.generation);
        if let Some(candidate) = candidate {
            self.candidate = None;
            effects.push(Effect::Rejected {
                generation: candidate.generation,
                code,
            });
            return;
        }
        let booting = matches!(worker.stage, Stage::Booting { .. });
        if self.mode == Mode::Starting
            && booting
            && code.is_some_and(|code| BOOT_CODES.contains(&code))
        {
            self.stop(code.unwrap_or_default(), true, now, policy, effects);
            return;
        }
        if failed_boot || worker.hung && self.mode == Mode::Starting {
            self.back_off(now, effects);
        }
    }

    fn back_off(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let wait = FIRST_BACK_OFF
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST_BACK_OFF);
        self.failures += 1;
        self.retry_at = Some(now + wait);
        effects.push(Effect::BackOff(wait));
    }

    fn abort(&mut self, pid: Pid, now: Instant, policy: &Policy, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&pid) else {
            return;
        };
        match worker.stage {
            Stage::Booting { .. } | Stage::Ready { .. } => {
                worker.stage = Stage::Leaving {
                    kill_at: now + policy.abort,
                };
                worker.hung = true;
                effects.push(Effect::Abort(pid));
            }
            Stage::Leaving { .. } | Stage::Killed => {}
        }
    }

    fn stop(
        &mut self,
        code: u8,
        quick: bool,
        now: Instant,
        policy: &Policy,
        effects: &mut Vec<Effect>,
    ) {
        let kill_at = now + if quick { policy.quick } else { policy.graceful };
        let before = self.mode;
        if let Mode::Stopping { .. } = before {
            if quick {
                for worker in self.workers.values_mut() {
                    if let Stage::Leaving { kill_at: at } = &mut worker.stage {
                        *at = (*at).min(kill_at);
                    }
                }
                effects.extend(self.workers.keys().map(|pid| Effect::Quit(*pid)));
            }
            return;
        }
        self.mode = Mode::Stopping { code };
        self.candidate = None;
        self.retry_at = None;
        effects.push(Effect::Drain);
        for (pid, worker) in &mut self.workers {
            match &mut worker.stage {
                Stage::Killed => {}
                // One that hangs already gets no more time.
                Stage::Leaving { kill_at: at } => *at = (*at).min(kill_at),
                stage => *stage = Stage::Leaving { kill_at },
            }
            effects.push(if quick {
                Effect::Quit(*pid)
            } else {
                Effect::Terminate(*pid)
            });
        }
        effects.push(Effect::TellStopping);
    }

    fn reload(&mut self, workers: usize, now: Instant, policy: &Policy, effects: &mut Vec<Effect>) {
        if self.is_stopping() {
            return;
        }
        // A newer reload takes the place of one that has not proved itself yet.
        if let Some(before) = self.candidate.take() {
            let late: Vec<Pid> = self
                .workers
                .iter()
                .filter(|(_, worker)| worker.generation == before.generation)
                .map(|(pid, _)| *pid)
                .collect();
            for pid in late {
                self.leave(pid, now + policy.quick);
                effects.push(Effect::Quit(pid));
            }
        }
        self.newest += 1;
        if self.mode == Mode::Starting {
            // Nothing serves yet: there is no old generation to keep.
            self.generation = self.newest;
            self.target = workers;
            self.retry_at = None;
            self.failures = 0;
            self.retire_surplus(now, policy, effects);
            return;
        }
        self.candidate = Some(Candidate {
            generation: self.newest,
            target: workers,
        });
        self.spawning += 1;
        effects.push(Effect::Spawn {
            generation: self.newest,
        });
    }

    fn resize(&mut self, target: usize, effects: &mut Vec<Effect>) {
        if self.is_stopping() || target == self.target {
            return;
        }
        self.target = target;
        effects.push(Effect::Resized(target));
    }

    fn tick(&mut self, now: Instant, policy: &Policy, effects: &mut Vec<Effect>) {
        let mut late = Vec::new();
        for (pid, worker) in &mut self.workers {
            match worker.stage {
                Stage::Leaving { kill_at } if kill_at <= now => {
                    worker.stage = Stage::Killed;
                    effects.push(Effect::Kill(*pid));
                }
                Stage::Booting { since } if policy.boot.is_some_and(|boot| since + boot <= now) => {
                    late.push(*pid);
                }
                Stage::Booting { .. }
                | Stage::Ready { .. }
                | Stage::Leaving { .. }
                | Stage::Killed => {}
            }
        }
        for pid in late {
            self.abort(pid, now, policy, effects);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
    }

    /// As many workers of the generation in force as there should be; at the end, the end.
    fn fill(&mut self, now: Instant, policy: &Policy, effects: &mut Vec<Effect>) {
        if let Mode::Stopping { code } = self.mode {
            if self.workers.is_empty() && self.spawning == 0 && !self.ended {
                self.ended = true;
                effects.push(Effect::Exit { code });
            }
            return;
        }
        if self.mode == Mode::Running {
            self.retire_surplus(now, policy, effects);
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        let current = self.generation;
        let live = |worker: &&Worker| {
            worker.generation == current
                && !worker.retiring
                && matches!(worker.stage, Stage::Booting { .. } | Stage::Ready { .. })
        };
        let live = self.workers.values().filter(live).count();
        let candidates = usize::from(self.candidate.is_some_and(|candidate| {
            !self
                .workers
                .values()
                .any(|worker| worker.generation == candidate.generation)
        }));
        let under_way = self.spawning.saturating_sub(candidates);
        for _ in live + under_way..self.target {
            self.spawning += 1;
            effects.push(Effect::Spawn {
                generation: current,
            });
        }
    }
}

#[cfg(test)]
mod tests;
