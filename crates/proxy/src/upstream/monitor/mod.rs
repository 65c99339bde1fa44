//! Keeps an eye on upstream servers beside the requests: a thread of its own, which the cores never wait for.
//!
//! What it finds it writes into the [`Fleet`]. It begins with the first configuration that has something to watch, and
//! with each reload it goes on with the new one. Not here: what a check's results come to (`health`), or one check
//! (`probe`).

mod capacity;
mod follow;
pub(crate) mod health;
mod probe;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trine_service::exit::chain;
use trine_sys::privileges;

use super::fleet::{Fleet, Squad};
use crate::config::{Config, HealthCheck, Identity, Upstream};
use crate::control::Public;
use crate::cores::Order;
use health::{Change, Course, Health, step};
use probe::probe;

/// What is to be watched.
struct Watched {
    config: Arc<Config>,
    fleet: Arc<Fleet>,
    /// Who is told of other addresses.
    cores: Vec<mpsc::Sender<Order>>,
}

/// The thread, from outside. It ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    inbox: Option<mpsc::UnboundedSender<Watched>>,
}

impl Monitor {
    /// Goes on with a configuration that has come into effect.
    pub(crate) fn follow(
        &mut self,
        config: &Arc<Config>,
        fleet: &Arc<Fleet>,
        cores: Vec<mpsc::Sender<Order>>,
        public: &Arc<Public>,
    ) {
        let idle = !config.upstreams.iter().any(|one| is_watched(one));
        if idle && self.inbox.is_none() {
            return;
        }
        let watched = Watched {
            config: Arc::clone(config),
            cores,
            fleet: Arc::clone(fleet),
        };
        let refused = match &self.inbox {
            Some(inbox) => inbox.send(watched).err().map(|error| error.0),
            None => Some(watched),
        };
        let Some(watched) = refused else { return };
        let (inbox, orders) = mpsc::unbounded_channel();
        let sent = inbox.send(watched).is_ok();
        let (user, public) = (config.user.clone(), Arc::clone(public));
        let started = std::thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(move || match run(user.as_ref(), &public, orders) {
                Ok(()) => {}
                Err(error) => tracing::error!("upstream servers are not watched: {error}"),
            });
        match started {
            Ok(_) => self.inbox = sent.then_some(inbox),
            Err(error) => tracing::error!("upstream servers are not watched: {error}"),
        }
    }
}

/// All of the thread's life.
fn run(
    user: Option<&Identity>,
    public: &Arc<Public>,
    mut orders: mpsc::UnboundedReceiver<Watched>,
) -> std::io::Result<()> {
    if let Some(user) = user {
        privileges::drop_thread_to(user.uid, user.gid, &user.groups)?;
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        // What is under way is dropped with the configuration that asked for it.
        let mut tasks = JoinSet::new();
        while let Some(watched) = orders.recv().await {
            tasks.abort_all();
            tasks = JoinSet::new();
            let watched = Rc::new(watched);
            for (index, upstream) in watched.config.upstreams.iter().enumerate() {
                if is_watched(upstream) {
                    let (watched, public) = (Rc::clone(&watched), Arc::clone(public));
                    tasks.spawn_local(watch(index, watched, public));
                }
            }
        }
    });
    Ok(())
}

/// Whether there is anything to do for an upstream.
fn is_watched(upstream: &Upstream) -> bool {
    upstream.health.is_some()
        || upstream.capacity.is_some()
        || upstream.servers.iter().any(|server| server.resolve)
}

/// What is found out about the servers of an upstream, for those who use them.
struct Fresh<'a> {
    index: usize,
    upstream: &'a Arc<Upstream>,
    fleet: &'a Arc<Fleet>,
    cores: &'a [mpsc::Sender<Order>],
    public: &'a Public,
    /// Hears of other servers.
    changed: mpsc::Sender<()>,
}

impl Fresh<'_> {
    /// Something is news: the upstream gets its servers anew.
    async fn servers(&self) {
        let Some(squad) = self.fleet.renew(self.index, self.upstream) else {
            return;
        };
        let name = &self.upstream.name;
        let servers: Vec<_> = squad
            .servers
            .iter()
            .map(|one| one.name().to_string())
            .collect();
        tracing::info!(upstream = %name, "servers are now {}", servers.join(", "));
        let data = json!({ "upstream": name, "servers": servers });
        self.public.events.push("upstream.servers", data);
        for core in self.cores {
            // One that is gone has no requests.
            let _ = core.send(Order::Regroup(Arc::clone(self.fleet))).await;
        }
        // It begins anew before long if it has not begun yet.
        let _ = self.changed.try_send(());
    }
}

/// Follows the names of an upstream's servers and the workers behind them, and checks those that there are, for as long
/// as it is polled.
async fn watch(index: usize, watched: Rc<Watched>, public: Arc<Public>) {
    let Watched {
        config,
        fleet,
        cores,
    } = &*watched;
    let Some(upstream) = config.upstreams.get(index) else {
        return;
    };
    let (changed, mut changes) = mpsc::channel(1);
    let fresh = Fresh {
        index,
        upstream,
        fleet,
        cores,
        public: &public,
        changed,
    };
    let follow = follow::follow(&fresh);
    let seats = async {
        if let Some(control) = &upstream.capacity {
            capacity::follow(control, &fresh).await;
        }
    };
    let check = async {
        loop {
            let Some(squad) = fleet.squads().into_iter().nth(index) else {
                return;
            };
            if upstream.health.is_none() {
                return;
            }
            let checks = check_all(squad, Arc::clone(fleet), Arc::clone(&public));
            // With other servers it begins anew; what is known of those that stay stays known.
            tokio::select! {
                () = checks => {
                    if changes.recv().await.is_none() {
                        return;
                    }
                }
                Some(()) = changes.recv() => {}
            }
        }
    };
    tokio::join!(follow, seats, check);
}

/// Checks the servers of an upstream for as long as it is polled.
async fn check_all(squad: Arc<Squad>, fleet: Arc<Fleet>, public: Arc<Public>) {
    let mut tasks = JoinSet::new();
    for (index, server) in squad.upstream.servers.iter().enumerate() {
        if !server.down {
            let (squad, fleet) = (Arc::clone(&squad), Arc::clone(&fleet));
            tasks.spawn_local(check_one(index, squad, fleet, Arc::clone(&public)));
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Checks one server again and again.
async fn check_one(index: usize, squad: Arc<Squad>, fleet: Arc<Fleet>, public: Arc<Public>) {
    let Some(check) = &squad.upstream.health else {
        return;
    };
    let standing = &squad.servers[index];
    let mut course = Course {
        health: standing.health(),
        against: 0,
    };
    loop {
        let result = probe(&squad.upstream.servers[index].addr, check, &fleet.dials).await;
        let count = match result {
            Ok(()) => &standing.checks.passed,
            Err(_) => &standing.checks.failed,
        };
        count.fetch_add(1, Relaxed);
        let (next, change) = step(course, result.is_ok(), check);
        course = next;
        standing.set_health(course.health, squad.now());
        let why = result.as_ref().err().map(|sick| chain(sick));
        if let Some(why) = &why {
            tracing::debug!(upstream = %squad.upstream.name, server = %standing.name(), "health check failed: {why}");
        }
        if let Some(change) = change {
            tell(change, &squad, index, check, why.as_deref(), &public);
        }
        tokio::time::sleep(pause(check)).await;
    }
}

/// A server is asked no more, or is asked again: for the log, and for who follows the events.
fn tell(
    change: Change,
    squad: &Squad,
    index: usize,
    check: &HealthCheck,
    why: Option<&str>,
    public: &Public,
) {
    let name = squad.servers[index].name();
    let upstream = &squad.upstream.name;
    match change {
        Change::Down => tracing::error!(
            upstream = %upstream, server = %name, fails = check.fails,
            "upstream server is unhealthy and is asked no more: {}", why.unwrap_or_default()
        ),
        Change::Up => tracing::warn!(
            upstream = %upstream, server = %name, passes = check.passes,
            "upstream server is healthy and is asked from now on"
        ),
    }
    let health = match change {
        Change::Down => Health::Down,
        Change::Up => Health::Up,
    };
    let data = json!({ "upstream": upstream, "server": name.to_string(), "health": health.word(), "cause": why });
    public.events.push("upstream.health", data);
}

/// How long until the next check.
fn pause(check: &HealthCheck) -> Duration {
    if check.jitter.is_zero() {
        return check.interval;
    }
    // Each of these hashes with keys of its own.
    let chance = RandomState::new().build_hasher().finish() % 1000;
    check.interval + check.jitter.mul_f64(chance as f64 / 1000.0)
}
