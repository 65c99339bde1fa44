//! The cores' threads, and what the control thread tells and asks them.
//!
//! Each order carries its own reply; a core that is gone answers nothing. Not here: when an order is given.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use trine_service::{Drained, drain};
use trine_sys::privileges;

use crate::access_log::{self, Target};
use crate::config::Config;
use crate::engine::{Doors, Engine};
use crate::layer4::figures::Sessions;
use crate::listen::{self, NewDoor};
use crate::tally::Tally;
use crate::times::TimesSnapshot;
use crate::tls;
use crate::upstream::fleet::Fleet;

/// What a core is told.
pub(crate) enum Order {
    Apply {
        setup: Setup,
        close: Vec<usize>,
        done: oneshot::Sender<()>,
    },
    /// Go on with other certificates for the same configuration.
    Certificates(Arc<[tls::Door]>),
    /// Go on with these access logs.
    Logs(Vec<Arc<Target>>),
    /// Names of servers have other addresses.
    Regroup(Arc<Fleet>),
    Look(oneshot::Sender<Snapshot>),
    /// Take no more connections, finish what is under way, end.
    Drain(Duration),
    /// End now.
    Stop,
}

/// What a core starts with, or goes on with.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) doors: Doors,
    pub(crate) open: Vec<NewDoor>,
    pub(crate) logs: Vec<Arc<Target>>,
    pub(crate) tls: Arc<[tls::Door]>,
    pub(crate) fleet: Arc<Fleet>,
    /// What all cores count together; only at the start.
    pub(crate) tally: Arc<Tally>,
    /// How many descriptors it may use; only at the start.
    pub(crate) room: usize,
}

/// How a core is doing.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) open_connections: u64,
    pub(crate) idle_connections: u64,
    pub(crate) tunnels: u64,
    pub(crate) waiting_requests: u64,
    pub(crate) open_files: u64,
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    /// 1xx to 5xx.
    pub(crate) statuses: [u64; 5],
    pub(crate) body_bytes: u64,
    pub(crate) upstream_failures: u64,
    pub(crate) accept_failures: u64,
    pub(crate) times: TimesSnapshot,
    pub(crate) first_bytes: TimesSnapshot,
    pub(crate) sessions: Sessions,
    pub(crate) upstream_servers: Vec<ServerSnapshot>,
}

/// How a server of an upstream is doing, as one core sees it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ServerSnapshot {
    pub(crate) address: String,
    pub(crate) active: u64,
    pub(crate) idle: u64,
    pub(crate) connects: u64,
    pub(crate) requests: u64,
    pub(crate) reused: u64,
    pub(crate) failures: u64,
    /// Of sessions of `stream`.
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// How a core ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Drained(Drained),
    Stopped { still_open: usize },
}

/// A core's thread, from outside.
#[derive(Debug)]
pub(crate) struct Core {
    orders: mpsc::Sender<Order>,
    ended: Option<oneshot::Receiver<End>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Core {
    /// Starts a core. It serves as soon as this returns.
    pub(crate) fn start(number: usize, setup: Setup) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(64);
        let (ended_sender, ended) = oneshot::channel();
        let runtime = move || {
            Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
        };
        let body = move || {
            if let Some(user) = &setup.config.user {
                // The control thread stays root: it opens logs, keys and low ports of later configurations.
                privileges::drop_thread_to(user.uid, user.gid, &user.groups)?;
            }
            runtime()?.block_on(async move {
                let end = run(setup, inbox).await?;
                // Nobody may be waiting any more.
                let _ = ended_sender.send(end);
                Ok(())
            })
        };
        let thread = std::thread::Builder::new()
            .name(format!("core-{number}"))
            .spawn(body)?;
        Ok(Self {
            orders,
            ended: Some(ended),
            thread: Some(thread),
        })
    }

    /// Gives an order; false if the core is gone.
    pub(crate) async fn tell(&self, order: Order) -> bool {
        self.orders.send(order).await.is_ok()
    }

    /// Where to send orders from elsewhere.
    pub(crate) fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// Resolves when the core's work is over; `None` if it failed.
    pub(crate) async fn ended(&mut self) -> Option<End> {
        match &mut self.ended {
            Some(ended) => {
                let end = ended.await.ok();
                self.ended = None;
                end
            }
            None => None,
        }
    }

    /// Waits for the thread, after [`ended`](Self::ended).
    pub(crate) fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(io::Error::other("a core's thread panicked")),
        }
    }
}

/// All of a core's life.
async fn run(setup: Setup, inbox: mpsc::Receiver<Order>) -> io::Result<End> {
    let Setup {
        config,
        doors,
        open,
        logs,
        tls,
        fleet,
        tally,
        room,
    } = setup;
    let engine = Engine::new(
        config,
        doors,
        tls,
        &fleet,
        tally,
        access_log::Writers::new(&logs),
        room,
    );
    let mut desk = Desk {
        engine: Rc::clone(&engine),
        open: HashMap::new(),
        inbox,
    };
    desk.open(open);
    let end = tokio::select! {
        end = desk.work() => end,
        () = Rc::clone(&engine.deadlines).watch() => unreachable("the deadlines' watch"),
        () = engine.logs.flush_regularly() => unreachable("the log's timer"),
        () = engine.sweep() => unreachable("the sweep"),
    };
    engine.logs.flush();
    Ok(end)
}

/// Loops that only end by being dropped.
fn unreachable(what: &str) -> End {
    tracing::error!("{what} has ended, which it never should");
    End::Stopped { still_open: 0 }
}

/// Takes the orders of one core.
struct Desk {
    engine: Rc<Engine>,
    /// For each open door what closes it.
    open: HashMap<usize, CancellationToken>,
    inbox: mpsc::Receiver<Order>,
}

impl Desk {
    fn open(&mut self, doors: Vec<NewDoor>) {
        for door in doors {
            // A door may have several sockets here.
            let closed = self
                .open
                .entry(door.number)
                .or_insert_with(|| self.engine.stop.child_token())
                .clone();
            let engine = Rc::clone(&self.engine);
            // Tracked like a connection: it ends first, and what it still accepts is waited for.
            self.engine.conns.spawn_local(async move {
                let number = door.number;
                if let Err(error) = listen::serve(engine, door, closed).await {
                    tracing::error!(door = number, "cannot serve a listening socket: {error}");
                }
            });
        }
    }

    /// Follows orders until one of them ends the core.
    async fn work(&mut self) -> End {
        loop {
            match self.inbox.recv().await {
                Some(Order::Drain(grace)) => return self.drain(grace).await,
                // Without anybody to give orders there is no reason to go on.
                Some(Order::Stop) | None => {
                    return End::Stopped {
                        still_open: self.connections(),
                    };
                }
                Some(order) => self.follow(order),
            }
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Apply {
                setup:
                    Setup {
                        config,
                        doors,
                        open,
                        logs,
                        tls,
                        fleet,
                        ..
                    },
                close,
                done,
            } => {
                self.engine.apply(config, doors, tls, &fleet);
                self.engine.logs.switch(&logs);
                self.open(open);
                for number in close {
                    if let Some(closed) = self.open.remove(&number) {
                        closed.cancel();
                    }
                    self.engine.deadlines.dismiss_door(number);
                }
                // Whoever gave the order may have left.
                let _ = done.send(());
            }
            Order::Certificates(doors) => self.engine.renew_tls(doors),
            Order::Logs(targets) => self.engine.logs.switch(&targets),
            Order::Regroup(fleet) => self.engine.regroup(&fleet),
            Order::Look(reply) => _ = reply.send(self.snapshot()),
            Order::Drain(_) | Order::Stop => {}
        }
    }

    async fn drain(&mut self, grace: Duration) -> End {
        let engine = Rc::clone(&self.engine);
        engine.begin_drain();
        engine.close_idle_links();
        let mut drained = std::pin::pin!(drain(&engine.stop, &engine.conns, grace));
        loop {
            tokio::select! {
                biased;
                drained = &mut drained => return End::Drained(drained),
                order = self.inbox.recv() => match order {
                    Some(Order::Stop) | None => return End::Stopped { still_open: self.connections() },
                    Some(order) => self.follow(order),
                },
            }
        }
    }

    fn connections(&self) -> usize {
        self.engine.deadlines.len()
    }

    fn snapshot(&self) -> Snapshot {
        let engine = &self.engine;
        let figures = &engine.figures;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let servers = engine.peers().into_iter().map(|peer| ServerSnapshot {
            address: peer.name.clone(),
            active: peer.figures.active.get(),
            idle: count(peer.idle()),
            connects: peer.figures.connects.get(),
            requests: peer.figures.requests.get(),
            reused: peer.figures.reused.get(),
            failures: peer.figures.failures.get(),
            received_bytes: peer.figures.received.get(),
            sent_bytes: peer.figures.sent.get(),
        });
        Snapshot {
            open_connections: count(engine.deadlines.len()),
            idle_connections: count(engine.deadlines.idle()),
            tunnels: figures.tunnels.get(),
            waiting_requests: figures.waiting.get(),
            open_files: count(engine.files.len()),
            connections: figures.connections.get(),
            requests: figures.requests.get(),
            statuses: std::array::from_fn(|class| figures.statuses[class].get()),
            body_bytes: figures.body_bytes.get(),
            upstream_failures: figures.upstream_failures.get(),
            accept_failures: figures.accept_failures.get(),
            times: figures.times.snapshot(),
            first_bytes: figures.first_bytes.snapshot(),
            sessions: figures.sessions.snapshot(),
            upstream_servers: servers.collect(),
        }
    }
}

impl Snapshot {
    /// Adds another core's figures.
    pub(crate) fn add(&mut self, other: Self) {
        self.open_connections += other.open_connections;
        self.idle_connections += other.idle_connections;
        self.tunnels += other.tunnels;
        self.waiting_requests += other.waiting_requests;
        self.open_files += other.open_files;
        self.connections += other.connections;
        self.requests += other.requests;
        for (sum, more) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += more;
        }
        self.body_bytes += other.body_bytes;
        self.upstream_failures += other.upstream_failures;
        self.accept_failures += other.accept_failures;
        self.times.add(&other.times);
        self.first_bytes.add(&other.first_bytes);
        self.sessions.add(&other.sessions);
        for server in other.upstream_servers {
            match self
                .upstream_servers
                .iter_mut()
                .find(|known| known.address == server.address)
            {
                None => self.upstream_servers.push(server),
                Some(known) => {
                    known.active += server.active;
                    known.idle += server.idle;
                    known.connects += server.connects;
                    known.requests += server.requests;
                    known.reused += server.reused;
                    known.failures += server.failures;
                    known.received_bytes += server.received_bytes;
                    known.sent_bytes += server.sent_bytes;
                }
            }
        }
    }
}
