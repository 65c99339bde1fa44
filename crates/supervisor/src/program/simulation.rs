//! A seeded world around `step`: a process that obeys, ignores signals, crashes, cannot be spawned, and a brain that
//! forgets everything but the written life. Invariants are checked after every step.

use super::backoff::{Backoff, Exponential};
use super::moment::Moment;
use super::state::{
    AutoRestart, Effect, Event, Exit, Gate, Life, Policy, SIGKILL, Scope, State, step,
};
use std::time::Duration;

/// xorshift64*: small, seeded, good enough to wander about.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

struct World {
    dice: Dice,
    policy: Policy,
    life: Life,
    now: Moment,
    /// The process of the holder's slot.
    alive: bool,
    /// Reports on their way to the brain.
    mail: Vec<Event>,
    obeys: bool,
    last_wish_is_stop: bool,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let secs = |dice: &mut Dice, most| Duration::from_secs(dice.roll(most));
        let policy = Policy {
            auto_restart: [
                AutoRestart::Never,
                AutoRestart::Always,
                AutoRestart::Unexpected,
            ][dice.roll(3) as usize],
            exit_codes: vec![0, 2],
            start_secs: secs(&mut dice, 4),
            start_retries: dice.roll(4) as u32,
            backoff: if dice.one_in(2) {
                Backoff::default()
            } else {
                Backoff::Exponential(Exponential {
                    jitter: dice.one_in(2),
                    forgiven_after: secs(&mut dice, 20),
                    ..Exponential::default()
                })
            },
            stop_signal: 15,
            stop_scope: Scope::Main,
            stop_wait: secs(&mut dice, 5),
            kill_scope: Scope::Group,
            gate: if dice.one_in(2) {
                Gate::Age
            } else {
                Gate::Told {
                    within: Duration::from_secs(3),
                }
            },
        };
        Self {
            dice,
            policy,
            life: Life::default(),
            now: Moment::default(),
            alive: false,
            mail: Vec::new(),
            obeys: true,
            last_wish_is_stop: true,
            trace: Vec::new(),
        }
    }

    fn feed(&mut self, event: Event) {
        let before = self.life.clone();
        let (life, effects) = step(before.clone(), event, self.now, &self.policy);
        self.trace.push(format!(
            "{:?} {event:?}: {:?} -> {:?} {effects:?}",
            self.now, before.state, life.state
        ));
        self.life = life;
        for effect in effects {
            match effect {
                Effect::Spawn => self.spawn(),
                Effect::Signal { signal, .. } => self.signal(signal),
                Effect::Announce { from, to, .. } => assert_ne!(from, to),
            }
        }
        self.check_invariants();
    }

    fn spawn(&mut self) {
        assert!(!self.alive, "two processes at once");
        assert!(
            !self
                .mail
                .iter()
                .any(|event| matches!(event, Event::Exited { .. })),
            "spawned over an unread exit"
        );
        if self.dice.one_in(8) {
            self.mail.push(Event::SpawnFailed);
        } else {
            self.alive = true;
            self.obeys = !self.dice.one_in(3);
            self.mail.push(Event::Spawned);
        }
    }

    fn signal(&mut self, signal: i32) {
        if self.alive && (signal == SIGKILL || (self.obeys && self.dice.one_in(2))) {
            self.die(Exit::Signal {
                signal,
                core: false,
            });
        }
    }

    fn die(&mut self, exit: Exit) {
        self.alive = false;
        self.mail.push(Event::Exited { exit, at: self.now });
    }

    fn check_invariants(&self) {
        let reports_end =
            |event: &Event| matches!(event, Event::Exited { .. } | Event::SpawnFailed);
        if self.alive || self.mail.iter().any(reports_end) {
            assert!(self.life.has_process(), "a process is forgotten");
        } else {
            assert!(
                !self.life.has_process(),
                "waits for a process that is not there"
            );
        }
        let must_wake = !self.life.at_rest() && !matches!(self.life.state, State::Running { .. });
        assert_eq!(
            self.life.deadline(&self.policy).is_some(),
            must_wake,
            "stuck, or woken for nothing"
        );
        assert!(
            self.life.failures <= self.policy.start_retries,
            "did not give up"
        );
        if self.life.at_rest() {
            assert!(!self.alive);
        }
        if self.last_wish_is_stop {
            assert!(
                matches!(self.life.state, State::Stopping { .. }) || self.life.at_rest(),
                "runs although it was told to stop"
            );
        }
    }

    fn wish(&mut self, event: Event) {
        // A start is refused in BACKOFF (supervisord: already started), so the wish before it stays.
        self.last_wish_is_stop = event == Event::Stop;
        self.feed(event);
    }

    fn turn(&mut self) {
        match self.dice.roll(10) {
            0 => self.wish(Event::Start),
            1 => self.wish(Event::Restart),
            2 if self.dice.one_in(2) => self.wish(Event::Stop),
            3 if self.alive => {
                let code = self.dice.roll(4) as i32;
                self.die(Exit::Code(code));
            }
            4 if self.alive => self.feed(Event::Ready),
            // The brain dies and reads its last words: nothing but the written life remains.
            5 => {
                let written = serde_json::to_string(&self.life).unwrap();
                self.life = serde_json::from_str(&written).unwrap();
            }
            _ => self.now = self.now + Duration::from_millis(self.dice.roll(1500)),
        }
        if !self.mail.is_empty() && self.dice.one_in(2) {
            let event = self.mail.remove(0);
            self.feed(event);
        }
        // Ticks only while nothing is known to have ended.
        if self.mail.is_empty()
            && self
                .life
                .deadline(&self.policy)
                .is_some_and(|deadline| deadline <= self.now)
        {
            self.feed(Event::Tick);
        }
    }

    /// Told to stop for good, it is at rest within bounded time, whatever the process does.
    fn settle(&mut self) {
        self.wish(Event::Stop);
        for _ in 0..200 {
            while !self.mail.is_empty() {
                let event = self.mail.remove(0);
                self.feed(event);
            }
            if self.life.at_rest() {
                return;
            }
            self.now = self.now + Duration::from_secs(1);
            if self.mail.is_empty() {
                self.feed(Event::Tick);
            }
        }
        panic!("never came to rest");
    }
}

#[test]
fn ten_thousand_lives() {
    for seed in 0..10_000 {
        let mut world = World::new(seed);
        let run = std::panic::AssertUnwindSafe(|| {
            for _ in 0..100 {
                world.turn();
            }
            world.settle();
        });
        if let Err(panic) = std::panic::catch_unwind(run) {
            let tail = world
                .trace
                .iter()
                .rev()
                .take(12)
                .rev()
                .cloned()
                .collect::<Vec<_>>()
                .join("\n");
            eprintln!("seed {seed}, policy {:?}\n{tail}", world.policy);
            std::panic::resume_unwind(panic);
        }
    }
}
