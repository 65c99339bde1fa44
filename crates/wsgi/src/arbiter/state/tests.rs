//! Stories of events and effects. Time is virtual, processes are numbers.

use super::*;

const POLICY: Policy = Policy {
    graceful: Duration::from_secs(30),
    quick: Duration::from_secs(2),
    boot: Some(Duration::from_secs(30)),
    abort: Duration::from_secs(1),
};

/// Plays the world: spawns succeed at once and get the next number.
struct World {
    state: State,
    now: Instant,
    next: Pid,
    fork_fails: bool,
}

impl World {
    fn new(workers: usize) -> Self {
        Self {
            state: State::new(workers),
            now: Instant::now(),
            next: 1,
            fork_fails: false,
        }
    }

    /// Lets `event` happen and renders the effects.
    fn on(&mut self, event: Event) -> String {
        let mut shown = Vec::new();
        let mut queue = std::collections::VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let before = self.state.workers.clone();
            let effects = self.state.step(event, self.now, &POLICY);
            self.check_effects(&before, &effects);
            for effect in effects {
                if let Effect::Spawn { .. } = effect
                    && self.fork_fails
                {
                    shown.push("fork fails".to_owned());
                    let Effect::Spawn { generation } = effect else {
                        continue;
                    };
                    queue.push_back(Event::SpawnFailed { generation });
                } else if let Effect::Spawn { generation } = effect {
                    shown.push(format!("spawn {} of {generation}", self.next));
                    queue.push_back(Event::Spawned {
                        pid: self.next,
                        generation,
                    });
                    self.next += 1;
                } else {
                    shown.push(render(&effect));
                }
            }
            self.invariants();
        }
        shown.join(", ")
    }

    fn after(&mut self, seconds: f64) -> String {
        self.now += Duration::from_secs_f64(seconds);
        self.on(Event::Tick)
    }

    /// What may never be done, whatever happened before.
    fn check_effects(&self, before: &BTreeMap<Pid, Worker>, effects: &[Effect]) {
        let state = &self.state;
        let is_ready = |worker: &Worker| matches!(worker.stage, Stage::Ready { .. });
        for effect in effects {
            match effect {
                Effect::Spawn { .. } => {
                    assert!(!state.is_stopping(), "a spawn after the stop: {state:?}")
                }
                Effect::Terminate(pid)
                    if !state.is_stopping() && before.get(pid).is_some_and(is_ready) =>
                {
                    let left = state
                        .workers
                        .values()
                        .filter(|worker| is_ready(worker))
                        .count();
                    assert!(
                        left >= state.target,
                        "worker {pid} retired before its replacement was ready: {state:?}"
                    );
                }
                Effect::Kill(pid) => match before.get(pid).map(|worker| worker.stage) {
                    Some(Stage::Leaving { kill_at }) => {
                        assert!(kill_at <= self.now, "{pid} killed early: {state:?}")
                    }
                    stage => panic!("{pid} killed as {stage:?}: {state:?}"),
                },
                Effect::Rejected { generation, .. } => {
                    let of = |worker: &Worker| is_ready(worker) && worker.generation != *generation;
                    let count = |workers: &BTreeMap<Pid, Worker>| {
                        workers.values().filter(|one| of(one)).count()
                    };
                    assert_eq!(
                        count(before),
                        count(&state.workers),
                        "a failed reload cost a worker: {state:?}"
                    );
                }
                Effect::Exit { .. } => {
                    assert!(state.workers.is_empty(), "an exit with workers: {state:?}")
                }
                Effect::Terminate(_)
                | Effect::Quit(_)
                | Effect::Abort(_)
                | Effect::BecameReady
                | Effect::Promoted { .. }
                | Effect::Drain
                | Effect::TellStopping
                | Effect::BackOff(_)
                | Effect::Resized(_) => {}
            }
        }
    }

    fn invariants(&self) {
        let live =
            |worker: &&Worker| matches!(worker.stage, Stage::Ready { .. } | Stage::Booting { .. });
        let of_now = self
            .state
            .workers
            .values()
            .filter(live)
            .filter(|worker| worker.generation == self.state.generation);
        assert!(
            of_now.count() <= self.state.target.max(64),
            "{:?}",
            self.state
        );
        assert!(
            self.state
                .candidate
                .is_none_or(|candidate| candidate.generation > self.state.generation)
        );
    }
}

fn render(effect: &Effect) -> String {
    match effect {
        Effect::Spawn { generation } => format!("spawn of {generation}"),
        Effect::Terminate(pid) => format!("term {pid}"),
        Effect::Quit(pid) => format!("quit {pid}"),
        Effect::Abort(pid) => format!("abort {pid}"),
        Effect::Kill(pid) => format!("kill {pid}"),
        Effect::BecameReady => "ready".to_owned(),
        Effect::Promoted { generation } => format!("promoted {generation}"),
        Effect::Rejected { generation, code } => format!("rejected {generation} {code:?}"),
        Effect::Drain => "drain".to_owned(),
        Effect::TellStopping => "told".to_owned(),
        Effect::BackOff(wait) => format!("back off {wait:?}"),
        Effect::Resized(target) => format!("resized {target}"),
        Effect::Exit { code } => format!("exit {code}"),
    }
}

fn exited(pid: Pid, code: u8) -> Event {
    Event::Exited {
        pid,
        code: Some(code),
    }
}

fn killed(pid: Pid) -> Event {
    Event::Exited { pid, code: None }
}

fn ready(pid: Pid) -> Event {
    Event::Ready { pid }
}

#[track_caller]
fn check(world: &mut World, event: Event, want: &str) {
    assert_eq!(world.on(event), want, "{event:?} in {:?}", world.state);
}

/// Two workers that have served for a minute.
fn running() -> World {
    let mut world = World::new(2);
    check(&mut world, Event::Start, "spawn 1 of 1, spawn 2 of 1");
    check(&mut world, ready(1), "ready");
    check(&mut world, ready(2), "");
    assert_eq!(world.after(60.0), "");
    world
}

#[test]
fn a_graceful_stop() {
    let mut world = running();
    check(&mut world, Event::Stop, "drain, term 1, term 2, told");
    check(&mut world, Event::Stop, "");
    check(&mut world, exited(1, 0), "");
    assert_eq!(world.after(31.0), "kill 2");
    check(&mut world, killed(2), "exit 0");
}

#[test]
fn a_quick_stop_cuts_a_graceful_one_short() {
    let mut world = running();
    check(&mut world, Event::Stop, "drain, term 1, term 2, told");
    check(&mut world, Event::QuickStop, "quit 1, quit 2");
    assert_eq!(world.after(1.0), "");
    assert_eq!(world.after(1.1), "kill 1, kill 2");
    check(&mut world, killed(1), "");
    check(&mut world, killed(2), "exit 0");
}

#[test]
fn an_application_that_cannot_be_imported_at_the_start_ends_everything() {
    for code in [3, 4] {
        let mut world = World::new(2);
        check(&mut world, Event::Start, "spawn 1 of 1, spawn 2 of 1");
        check(&mut world, exited(1, code), "drain, quit 2, told");
        check(&mut world, exited(2, 0), &format!("exit {code}"));
    }
}

#[test]
fn a_dead_worker_is_replaced_and_a_failing_one_with_back_off() {
    let mut world = running();
    check(&mut world, killed(1), "spawn 3 of 1");
    check(&mut world, exited(3, 3), "back off 500ms");
    check(&mut world, killed(2), "");
    assert_eq!(world.after(0.6), "spawn 4 of 1, spawn 5 of 1");
    check(&mut world, exited(4, 3), "back off 1s");
    check(&mut world, ready(5), "spawn 6 of 1");
    check(&mut world, exited(6, 1), "back off 500ms");
}

#[test]
fn a_crash_right_after_ready_counts_as_a_failed_boot() {
    let mut world = running();
    check(&mut world, killed(1), "spawn 3 of 1");
    check(&mut world, ready(3), "");
    check(&mut world, killed(3), "back off 500ms");
    assert_eq!(world.after(0.5), "spawn 4 of 1");
}

#[test]
fn a_reload_keeps_the_old_generation_until_the_new_one_is_ready() {
    let mut world = running();
    check(&mut world, Event::Reload { workers: 2 }, "spawn 3 of 2");
    assert_eq!(world.state.generation(), 1);
    check(&mut world, ready(3), "promoted 2, term 1, spawn 4 of 2");
    check(&mut world, exited(1, 0), "");
    check(&mut world, ready(4), "term 2");
    assert_eq!(world.after(30.0), "kill 2");
    check(&mut world, killed(2), "");
    assert!(!world.state.is_reloading());
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    for failure in [exited(3, 3), exited(3, 4), killed(3)] {
        let mut world = running();
        check(&mut world, Event::Reload { workers: 5 }, "spawn 3 of 2");
        assert!(world.on(failure).starts_with("rejected 2"));
        assert_eq!((world.state.generation(), world.state.target()), (1, 2));
        check(&mut world, killed(1), "spawn 4 of 1");
    }
}

#[test]
fn a_reload_whose_worker_cannot_be_forked_changes_nothing() {
    let mut world = running();
    world.fork_fails = true;
    check(
        &mut world,
        Event::Reload { workers: 2 },
        "fork fails, rejected 2 None",
    );
    assert!(!world.state.is_reloading());
}

#[test]
fn an_import_that_hangs_is_ended_and_the_old_generation_serves() {
    let mut world = running();
    check(&mut world, Event::Reload { workers: 2 }, "spawn 3 of 2");
    assert_eq!(world.after(30.0), "abort 3");
    assert_eq!(world.after(1.0), "kill 3");
    check(&mut world, killed(3), "rejected 2 None");
}

#[test]
fn a_second_reload_takes_the_place_of_the_first() {
    let mut world = running();
    check(&mut world, Event::Reload { workers: 2 }, "spawn 3 of 2");
    check(
        &mut world,
        Event::Reload { workers: 2 },
        "quit 3, spawn 4 of 3",
    );
    check(&mut world, ready(3), "");
    check(&mut world, exited(3, 0), "");
    check(&mut world, ready(4), "promoted 3, term 1, spawn 5 of 3");
}

#[test]
fn a_death_during_a_reload_is_replaced_by_the_generation_in_force() {
    let mut world = running();
    check(&mut world, Event::Reload { workers: 2 }, "spawn 3 of 2");
    check(&mut world, killed(1), "spawn 4 of 1");
    check(&mut world, ready(3), "promoted 2, term 4, spawn 5 of 2");
}

#[test]
fn a_hung_worker_is_aborted_killed_and_replaced() {
    let mut world = running();
    check(&mut world, Event::Hung { pid: 1 }, "abort 1, spawn 3 of 1");
    check(&mut world, Event::Hung { pid: 1 }, "");
    assert_eq!(world.after(1.0), "kill 1");
    check(&mut world, killed(1), "");
}

#[test]
fn a_stop_gives_a_hung_worker_no_more_time() {
    let mut world = running();
    check(&mut world, Event::Hung { pid: 1 }, "abort 1, spawn 3 of 1");
    check(
        &mut world,
        Event::Stop,
        "drain, term 1, term 2, term 3, told",
    );
    assert_eq!(world.after(1.0), "kill 1");
}

#[test]
fn more_and_fewer() {
    let mut world = running();
    check(&mut world, Event::More, "resized 3, spawn 3 of 1");
    check(&mut world, ready(3), "");
    check(&mut world, Event::Fewer, "resized 2, term 1");
    check(&mut world, Event::Fewer, "resized 1, term 2");
    check(&mut world, Event::Fewer, "");
    check(&mut world, exited(1, 0), "");
    check(&mut world, exited(2, 0), "");
}

#[test]
fn a_worker_that_has_served_long_enough_leaves_when_another_is_ready() {
    let mut world = running();
    check(&mut world, Event::Recycle { pid: 1 }, "spawn 3 of 1");
    check(&mut world, Event::Recycle { pid: 1 }, "");
    check(&mut world, ready(3), "term 1");
    check(&mut world, exited(1, 0), "");
    // A replacement that cannot boot: the old one serves on, and it is tried again.
    check(&mut world, Event::Recycle { pid: 2 }, "spawn 4 of 1");
    check(&mut world, exited(4, 3), "back off 500ms");
    assert_eq!(world.after(0.5), "spawn 5 of 1");
    check(&mut world, ready(5), "term 2");
    // One that dies before its time is simply replaced.
    assert_eq!(world.after(2.0), "");
    check(&mut world, Event::Recycle { pid: 3 }, "spawn 6 of 1");
    check(&mut world, killed(3), "");
    check(&mut world, ready(6), "");
}

#[test]
fn recycling_all_at_once_keeps_all_serving() {
    let mut world = running();
    check(&mut world, Event::Recycle { pid: 1 }, "spawn 3 of 1");
    check(&mut world, Event::Recycle { pid: 2 }, "spawn 4 of 1");
    check(&mut world, ready(4), "term 1");
    check(&mut world, ready(3), "term 2");
}

#[test]
fn an_empty_arbiter_stays_and_a_reload_fills_it_again() {
    let mut world = running();
    check(&mut world, Event::Empty, "resized 0, term 1, term 2");
    check(&mut world, exited(1, 0), "");
    check(&mut world, exited(2, 0), "");
    check(&mut world, Event::Fewer, "");
    check(&mut world, Event::Reload { workers: 2 }, "spawn 3 of 2");
    check(&mut world, ready(3), "promoted 2, spawn 4 of 2");
    check(&mut world, ready(4), "");
    check(&mut world, Event::Empty, "resized 0, term 3, term 4");
    check(&mut world, Event::More, "resized 1, spawn 5 of 2");
}

#[test]
fn a_start_that_is_called_off_ends_with_its_code() {
    let mut world = World::new(1);
    let effects = world.state.step(Event::Start, world.now, &POLICY);
    assert_eq!(effects, [Effect::Spawn { generation: 1 }]);
    check(
        &mut world,
        Event::Halt { code: 255 },
        "drain, told, exit 255",
    );
    let mut world = running();
    check(
        &mut world,
        Event::Halt { code: 1 },
        "drain, quit 1, quit 2, told",
    );
    check(&mut world, exited(1, 0), "");
    check(&mut world, exited(2, 0), "exit 1");
}

#[test]
fn a_failing_fork_is_tried_again() {
    let mut world = World::new(1);
    let effects = world.state.step(Event::Start, world.now, &POLICY);
    assert_eq!(effects, [Effect::Spawn { generation: 1 }]);
    check(
        &mut world,
        Event::SpawnFailed { generation: 1 },
        "back off 500ms",
    );
    assert_eq!(world.after(0.5), "spawn 1 of 1");
}

/// Random events against the invariants: whatever happens, a stop ends in an exit and the target is kept. The panic's
/// text begins with the seed.
#[test]
fn simulation() {
    for seed in 0..500_u64 {
        let played = std::panic::catch_unwind(|| play(seed));
        assert!(played.is_ok(), "seed {seed}: see above");
    }
}

fn play(seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = |sides: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % sides
    };
    let mut world = World::new(3);
    world.on(Event::Start);
    for _ in 0..200 {
        let pids: Vec<Pid> = world.state.workers.keys().copied().collect();
        let pid = pids.get(dice(8) as usize).copied().unwrap_or(1);
        let event = match dice(11) {
            0..=2 => ready(pid),
            3 => killed(pid),
            4 if world.state.mode != Mode::Starting => exited(pid, 3),
            5 => Event::Hung { pid },
            6 => Event::Reload {
                workers: 1 + dice(4) as usize,
            },
            7 => Event::Recycle { pid },
            8 => Event::More,
            9 if dice(10) == 0 => Event::Empty,
            9 => Event::Fewer,
            _ => Event::Tick,
        };
        world.now += Duration::from_millis(dice(3000));
        world.fork_fails = dice(10) == 0;
        world.on(event);
        world.fork_fails = false;
    }
    // Left alone, all boots succeed: the generation in force has as many ready workers as it should.
    for _ in 0..200 {
        world.after(40.0);
        let pids: Vec<(Pid, Stage)> = world
            .state
            .workers
            .iter()
            .map(|(pid, worker)| (*pid, worker.stage))
            .collect();
        for (pid, stage) in pids {
            match stage {
                Stage::Booting { .. } => world.on(ready(pid)),
                Stage::Leaving { .. } | Stage::Killed => world.on(killed(pid)),
                Stage::Ready { .. } => String::new(),
            };
        }
    }
    assert!(!world.state.is_reloading(), "{:?}", world.state);
    let (generation, target) = (world.state.generation(), world.state.target());
    let good = |worker: &Worker| {
        worker.generation == generation && matches!(worker.stage, Stage::Ready { .. })
    };
    let good = world
        .state
        .workers
        .values()
        .filter(|worker| good(worker))
        .count();
    assert_eq!(
        (good, world.state.workers.len()),
        (target, target),
        "{:?}",
        world.state
    );
    let empty = world.state.workers.is_empty();
    let stopped = world.on(Event::Stop);
    let pids: Vec<Pid> = world.state.workers.keys().copied().collect();
    let last = pids.into_iter().map(|pid| world.on(exited(pid, 0))).last();
    let last = if empty { Some(stopped) } else { last };
    assert!(
        last.is_some_and(|last| last.ends_with("exit 0")),
        "{:?}",
        world.state
    );
}
