//! A seeded simulation: many clients of a few keys, origins that fail in every way, orders to forget, and a clock.
//!
//! The real store (`Zone`), the real flights, the real choice (`plan`) and the real policy are driven; sockets, tasks and
//! waiting are not: a client is a state that is stepped.

use std::sync::Arc;
use std::time::Duration;

use trine_cache::reuse::{decide, may_cover_error};
use trine_cache::store::{Exchange, judge};
use trine_cache::{Fields, Kept, Lifetime, Seconds};

use super::Entry;
use super::flight::Flight;
use super::look::{Plan, plan};
use super::purge::Purge;
use super::zone::{Seen, Zone};
use crate::config::CacheRules;
use crate::dice::Dice;
use crate::template::Template;

const KEYS: usize = 4;
const CLIENTS: usize = 40;
const AGE: Duration = Duration::from_secs(3600);

/// What an origin says of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    MaxAge(Seconds),
    Swr,
    Private,
    NoCache,
    MustRevalidate,
    ForErrors,
}

/// One resource at the origin.
struct Resource {
    says: Says,
    /// Grows with each change.
    version: u64,
    /// The version when it was last forgotten by order: older ones must not come to requests that begin later.
    forgotten: u64,
    down: bool,
}

enum Client {
    Idle,
    /// It has begun, and nobody has answered.
    Asking {
        key: usize,
        begun: Begun,
    },
    Waiting {
        key: usize,
        begun: Begun,
        on: Arc<tokio::sync::Semaphore>,
    },
    Fetching(Fetching),
}

/// What was true when a request began.
#[derive(Clone, Copy)]
struct Begun {
    at: Seconds,
    forgotten: u64,
}

struct Fetching {
    key: usize,
    begun: Begun,
    stored: Option<Arc<Entry>>,
    flight: Option<Flight>,
    seen: Seen,
    /// The origin reads its state when it is asked.
    version: u64,
    asked_at: Seconds,
}

struct World {
    dice: Dice,
    now: Seconds,
    zone: Zone,
    rules: CacheRules,
    resources: Vec<Resource>,
    clients: Vec<Client>,
    asked: u64,
    served: u64,
    hits: u64,
    owners: u64,
}

fn rules(dice: &mut Dice) -> CacheRules {
    let mut rules = CacheRules {
        zone: 0,
        key: Template::literal("k"),
        unkeyed: Arc::default(),
        valid: Vec::new(),
        bypass: Vec::new(),
        no_store: Vec::new(),
        purge: Vec::new(),
        stale: Default::default(),
        lock: (dice.below(3) > 0).then_some(AGE),
        lock_age: AGE,
        in_background: false,
        validates: true,
        converts_head: false,
        range_offset: None,
        min_uses: 1,
        ignored: Vec::new(),
        policy: trine_cache::Rules {
            heed_requests: false,
            ..trine_cache::Rules::default()
        },
    };
    rules.stale.on_error = dice.below(2) == 0;
    rules.stale.while_updating = dice.below(2) == 0;
    rules
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let resources = (0..KEYS).map(|_| Resource {
            says: match dice.below(6) {
                0 => Says::Swr,
                1 => Says::Private,
                2 => Says::NoCache,
                3 => Says::MustRevalidate,
                4 => Says::ForErrors,
                _ => Says::MaxAge(dice.below(5)),
            },
            version: 1,
            forgotten: 0,
            down: false,
        });
        let resources = resources.collect();
        let rules = rules(&mut dice);
        Self {
            zone: Zone::new("z".to_owned(), 1 << 16, AGE, None),
            now: 1_000_000,
            rules,
            resources,
            clients: (0..CLIENTS).map(|_| Client::Idle).collect(),
            dice,
            asked: 0,
            served: 0,
            hits: 0,
            owners: 0,
        }
    }

    fn name(key: usize) -> Vec<u8> {
        format!("key/{key}").into_bytes()
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..4 => self.now += self.dice.below(4),
            4..6 => {
                let at = self.key();
                self.resources[at].version += 1;
            }
            6..8 => {
                let at = self.key();
                self.resources[at].down = self.dice.below(2) == 0;
            }
            8 => {
                let at = self.key();
                self.zone.purge(&Purge::Key(Self::name(at)));
                self.resources[at].forgotten = self.resources[at].version;
            }
            9 => {
                let purge = match self.dice.below(3) {
                    0 => Purge::All,
                    1 => Purge::Prefix(b"key/".to_vec()),
                    _ => Purge::Tag(b"all".to_vec()),
                };
                self.zone.purge(&purge);
                for resource in &mut self.resources {
                    resource.forgotten = resource.version;
                }
            }
            _ => {
                let at = usize::try_from(self.dice.below(CLIENTS as u64)).unwrap();
                let client = std::mem::replace(&mut self.clients[at], Client::Idle);
                self.clients[at] = self.go_on(client);
            }
        }
        let (_, bytes) = self.zone.size();
        assert!(bytes <= 1 << 16, "{bytes} bytes");
    }

    fn key(&mut self) -> usize {
        usize::try_from(self.dice.below(KEYS as u64)).unwrap()
    }

    fn go_on(&mut self, client: Client) -> Client {
        match client {
            Client::Idle => {
                let key = self.key();
                let begun = Begun {
                    at: self.now,
                    forgotten: self.resources[key].forgotten,
                };
                Client::Asking { key, begun }
            }
            Client::Asking { key, begun } => self.look(key, begun),
            Client::Waiting { key, begun, on } if on.is_closed() => self.look(key, begun),
            waiting @ Client::Waiting { .. } => waiting,
            Client::Fetching(fetching) => self.answered(fetching),
        }
    }

    /// What `look` does, without waiting.
    fn look(&mut self, key: usize, begun: Begun) -> Client {
        let name = Self::name(key);
        let none = Fields(&[]);
        let found = self.zone.find(&name, none);
        let kept = found.entry.as_ref().map(|entry| &entry.kept);
        let decision = decide("GET", none, kept, self.now, self.rules.policy);
        let plan = plan(decision, &found, &self.rules);
        let fetch = |world: &mut Self, stored, flight| {
            world.asked += 1;
            Client::Fetching(Fetching {
                key,
                begun,
                stored,
                flight,
                seen: found.seen,
                version: world.resources[key].version,
                asked_at: world.now,
            })
        };
        match plan {
            Plan::Serve(entry, _) => {
                assert!(
                    entry.kept.stale_for(self.now).is_none(),
                    "stale, and nobody asked for it"
                );
                assert!(!entry.kept.no_cache);
                self.hit(key, begun, &entry);
                Client::Idle
            }
            Plan::Meanwhile(entry) => match self.zone.take_off(&name, AGE) {
                Ok(flight) => fetch(self, Some(entry), Some(flight)),
                Err(_) => {
                    let allowed =
                        self.rules.stale.while_updating || entry.kept.stale_while_revalidate > 0;
                    assert!(allowed && !entry.kept.never_stale && !entry.kept.no_cache);
                    self.hit(key, begun, &entry);
                    Client::Idle
                }
            },
            Plan::NotCached => panic!("nobody asks for that"),
            Plan::Fetch(..) => {
                let stored = found.entry.clone();
                if self.rules.lock.is_none() || found.passes {
                    return fetch(self, stored, None);
                }
                match self.zone.take_off(&name, AGE) {
                    Ok(flight) => fetch(self, stored, Some(flight)),
                    Err(taken) => {
                        assert!(self.in_the_air(key) >= 1, "waits for nobody");
                        let on = taken.landed;
                        Client::Waiting { key, begun, on }
                    }
                }
            }
        }
    }

    /// How many fetch a key for others.
    fn in_the_air(&self, key: usize) -> usize {
        let flies = |client: &&Client| matches!(client, Client::Fetching(fetching) if fetching.key == key && fetching.flight.is_some());
        self.clients.iter().filter(flies).count()
    }

    /// A client gets what is kept.
    fn hit(&mut self, key: usize, begun: Begun, entry: &Entry) {
        assert_eq!(entry.key, Self::name(key));
        assert_ne!(
            self.resources[key].says,
            Says::Private,
            "another's own answer"
        );
        let version: u64 = std::str::from_utf8(&entry.body).unwrap().parse().unwrap();
        assert!(version <= self.resources[key].version);
        assert!(
            version >= begun.forgotten,
            "version {version} was forgotten before the request began, at {}",
            begun.at
        );
        self.served += 1;
        self.hits += 1;
    }

    fn fields(&self, key: usize) -> Vec<(&'static [u8], Vec<u8>)> {
        let said = match self.resources[key].says {
            Says::MaxAge(time) => format!("max-age={time}"),
            Says::Swr => "max-age=2, stale-while-revalidate=3".to_owned(),
            Says::Private => "private, max-age=60".to_owned(),
            Says::NoCache => "no-cache".to_owned(),
            Says::MustRevalidate => "max-age=2, must-revalidate".to_owned(),
            Says::ForErrors => "max-age=2, stale-if-error=4".to_owned(),
        };
        vec![
            (b"cache-control", said.into_bytes()),
            (b"etag", b"\"v\"".to_vec()),
        ]
    }

    /// The origin answers, or fails.
    fn answered(&mut self, mut fetching: Fetching) -> Client {
        let key = fetching.key;
        self.served += 1;
        assert!(fetching.version >= fetching.begun.forgotten);
        if self.resources[key].down {
            if let Some(stored) = fetching.stored.take() {
                let configured = self.rules.stale.on_error;
                if may_cover_error(
                    Fields(&[]),
                    &stored.kept,
                    self.now,
                    self.rules.policy,
                    configured,
                ) {
                    assert!(!stored.kept.never_stale && !stored.kept.no_cache);
                    assert!(configured || self.resources[key].says == Says::ForErrors);
                }
            }
            // Whoever waits goes on.
            return Client::Idle;
        }
        match self.judge(&fetching) {
            Some(kept) => {
                let entry = Entry {
                    key: Self::name(key),
                    vary_key: Vec::new(),
                    kept,
                    head: b"HTTP/1.1 200 OK\r\nCache-Tag: all\r\n".to_vec(),
                    body: fetching.version.to_string().into_bytes().into(),
                    sent: std::sync::atomic::AtomicBool::new(false),
                    ready: std::sync::Mutex::default(),
                };
                self.zone.keep(&Arc::new(entry), fetching.seen);
            }
            None => {
                self.owners += 1;
                if fetching.flight.take().is_some() {
                    self.zone.pass(&Self::name(key));
                }
            }
        }
        Client::Idle
    }

    fn judge(&self, fetching: &Fetching) -> Option<Kept> {
        let fields = self.fields(fetching.key);
        let fields: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(name, value)| (*name, &value[..]))
            .collect();
        let exchange = Exchange {
            method: "GET",
            request: Fields(&[]),
            status: 200,
            answer: Fields(&fields),
            asked_at: fetching.asked_at,
            answered_at: self.now,
        };
        judge(&exchange, Lifetime::Said, self.rules.policy).ok()
    }

    /// Nothing new begins: all that wait come to their end.
    fn finish(&mut self) {
        for _ in 0..CLIENTS * 4 {
            for at in 0..CLIENTS {
                let client = std::mem::replace(&mut self.clients[at], Client::Idle);
                if !matches!(client, Client::Idle) {
                    self.clients[at] = self.go_on(client);
                }
            }
        }
        let left = self
            .clients
            .iter()
            .filter(|client| !matches!(client, Client::Idle))
            .count();
        assert_eq!(left, 0, "clients that wait for ever");
        for key in 0..KEYS {
            assert!(
                self.zone.take_off(&Self::name(key), AGE).is_ok(),
                "a flight that nobody has"
            );
        }
    }
}

#[test]
fn many_clients_failing_origins_and_a_clock() {
    let (mut asked, mut served, mut hits, mut owners) = (0, 0, 0, 0);
    for seed in 0..120 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..3000 {
                world.step();
            }
            world.finish();
            (world.asked, world.served, world.hits, world.owners)
        });
        let Ok(run) = run else { panic!("seed {seed}") };
        asked += run.0;
        served += run.1;
        hits += run.2;
        owners += run.3;
    }
    // Everything has happened, and the cache was worth something.
    assert!(
        served > asked && hits > 10_000 && owners > 1000,
        "{asked} {served} {hits} {owners}"
    );
}
