//! What all cores know together about the servers of upstreams: who failed, how many connections each has, and who
//! waits for one.
//!
//! It outlives a reload for servers that stay in their upstream. All of it is atomics; the rules are nginx's. Not here:
//! choosing (`balance`), or a core's own connections (`pool`).

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::capacity::seat;
use super::monitor::health::Health;
use super::names::{Book, expand};
use super::sticky::{Id, Sessions};
use super::times::Times;
use crate::config::{Config, PeerAddr, Upstream, UpstreamServer};
use crate::tls::{Dial, TlsError};

/// All upstreams of a configuration, in its order.
#[derive(Debug)]
pub(crate) struct Fleet {
    squads: Vec<ArcSwap<Squad>>,
    /// What is known of names.
    pub(crate) names: Arc<Book>,
    /// In the order of [`Config::dials`].
    pub(crate) dials: Vec<Dial>,
}

/// The servers of one upstream.
#[derive(Debug)]
pub(crate) struct Squad {
    pub(crate) upstream: Arc<Upstream>,
    /// Times are counted from here.
    base: Instant,
    /// In the order of [`Upstream::servers`].
    pub(crate) servers: Vec<Arc<Standing>>,
    /// What clients that stay with a server know it by, if they do.
    pub(crate) ids: Vec<Id>,
    /// Sessions that are learned.
    pub(crate) sessions: Option<Arc<Sessions>>,
    pub(crate) line: Arc<Line>,
}

/// How a server stands.
#[derive(Debug)]
pub(crate) struct Standing {
    addr: PeerAddr,
    health: AtomicU8,
    /// It gets no new work.
    drained: AtomicBool,
    pub(crate) checks: Checks,
    fails: AtomicU32,
    /// When it failed last, or was tried again after that; milliseconds.
    checked: AtomicU64,
    /// When it failed last.
    failed: AtomicU64,
    /// When it came back from being aside; 0: it never was.
    back: AtomicU64,
    /// How long it takes, where somebody asks for that.
    pub(crate) times: Times,
    /// Connections in use, over all cores, where somebody asks for them.
    conns: AtomicU32,
}

/// Health checks so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) passed: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// Requests that wait until a server has a connection to spare, first come first served.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: AtomicUsize,
    free: Notify,
    /// The servers' names are being asked for, and nothing is known of them yet.
    asking: AtomicBool,
}

/// A connection that counts. Dropping it lets the next request have one.
#[derive(Debug)]
pub(crate) struct Ticket {
    standing: Arc<Standing>,
    line: Arc<Line>,
}

impl Fleet {
    /// For a configuration; what was known before about its servers stays known.
    ///
    /// # Errors
    /// A certificate, key or authority that cannot be used.
    pub(crate) fn new(
        config: &Config,
        names: &Arc<Book>,
        before: Option<&Self>,
    ) -> Result<Arc<Self>, TlsError> {
        let squads = config.upstreams.iter().map(|upstream| {
            let known = before.and_then(|fleet| {
                fleet.squads().into_iter().find(|squad| {
                    squad.upstream.name == upstream.name
                        && squad.upstream.stream.is_some() == upstream.stream.is_some()
                })
            });
            let squad = Squad::new(&seat(expand(upstream, names), names), known.as_deref());
            let follows = upstream.servers.iter().any(|server| server.resolve);
            let asking = follows && squad.servers.is_empty();
            squad.line.asking.store(asking, SeqCst);
            ArcSwap::new(squad)
        });
        let squads = squads.collect();
        let dials = config
            .dials
            .iter()
            .map(Dial::new)
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(Self {
            squads,
            names: Arc::clone(names),
            dials,
        }))
    }

    /// Names have other addresses now. Returns whether that changes an upstream's servers; what is known of those that
    /// stay stays known.
    pub(crate) fn renew(&self, index: usize, config: &Arc<Upstream>) -> Option<Arc<Squad>> {
        let slot = self.squads.get(index)?;
        let before = slot.load_full();
        let upstream = seat(expand(config, &self.names), &self.names);
        if upstream.servers == before.upstream.servers
            && upstream.primaries == before.upstream.primaries
        {
            return None;
        }
        let squad = Squad::new(&upstream, Some(&before));
        slot.store(Arc::clone(&squad));
        Some(squad)
    }

    /// Every name of an upstream was asked for. Where that has brought no server, nobody waits for one any longer.
    pub(crate) fn asked(&self, index: usize) {
        let Some(slot) = self.squads.get(index) else {
            return;
        };
        let squad = slot.load();
        if squad.servers.is_empty() {
            squad.line.asking.store(false, SeqCst);
            squad.line.wake_all();
        }
    }

    /// The servers of all upstreams as they are now.
    pub(crate) fn squads(&self) -> Vec<Arc<Squad>> {
        self.squads.iter().map(ArcSwap::load_full).collect()
    }
}

impl Squad {
    pub(crate) fn new(upstream: &Arc<Upstream>, before: Option<&Self>) -> Arc<Self> {
        let servers = upstream.servers.iter().map(|server| {
            let known = before.and_then(|squad| {
                let mut servers = squad.servers.iter();
                servers.find(|standing| standing.addr == server.addr)
            });
            let standing =
                known.map_or_else(|| Arc::new(Standing::new(server.addr.clone())), Arc::clone);
            let health = Health::at_start(upstream.health.as_ref(), standing.health());
            standing.health.store(health as u8, Relaxed);
            standing
        });
        let sticky = upstream.sticky.as_deref();
        let learn = sticky.and_then(|sticky| sticky.learn.as_ref());
        let sessions = learn.map(|learn| {
            let known = before.and_then(|squad| squad.sessions.as_ref());
            let known = known.filter(|known| known.fits(learn));
            known.map_or_else(|| Arc::new(Sessions::new(learn)), Arc::clone)
        });
        let bound = upstream.servers.iter().filter(|_| sticky.is_some());
        Arc::new(Self {
            ids: bound.map(Id::of).collect(),
            sessions,
            upstream: Arc::clone(upstream),
            base: before.map_or_else(Instant::now, |squad| squad.base),
            servers: servers.collect(),
            line: before.map_or_else(Arc::default, |squad| Arc::clone(&squad.line)),
        })
    }

    /// Milliseconds, never 0.
    pub(crate) fn now(&self) -> u64 {
        let since = self.base.elapsed().as_millis();
        u64::try_from(since).unwrap_or(u64::MAX) + 1
    }

    /// Takes a connection of a server, if it may have one more.
    pub(crate) fn ticket(&self, index: usize, max_conns: u32) -> Option<Ticket> {
        let standing = self.servers.get(index)?;
        let most = if max_conns == 0 { u32::MAX } else { max_conns };
        let more = |conns| (conns < most).then_some(conns + 1);
        standing.conns.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Ticket {
            standing: Arc::clone(standing),
            line: Arc::clone(&self.line),
        })
    }
}

impl Standing {
    fn new(addr: PeerAddr) -> Self {
        Self {
            addr,
            health: AtomicU8::new(Health::Unknown as u8),
            drained: AtomicBool::new(false),
            checks: Checks::default(),
            fails: AtomicU32::new(0),
            checked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            back: AtomicU64::new(0),
            times: Times::default(),
            conns: AtomicU32::new(0),
        }
    }

    pub(crate) fn conns(&self) -> u32 {
        self.conns.load(Relaxed)
    }

    /// As it is written in logs.
    pub(crate) fn name(&self) -> &PeerAddr {
        &self.addr
    }

    pub(crate) fn health(&self) -> Health {
        Health::from_number(self.health.load(Relaxed))
    }

    /// Its checks say how it is. One that comes back starts slowly.
    pub(crate) fn set_health(&self, health: Health, now: u64) {
        let before = self.health.swap(health as u8, Relaxed);
        if Health::from_number(before) == Health::Down && health == Health::Up {
            self.fails.store(0, Relaxed);
            self.back.store(now, Relaxed);
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    /// Whether it gets new work. Returns whether that is a change.
    pub(crate) fn drain(&self, drained: bool) -> bool {
        self.drained.swap(drained, Relaxed) != drained
    }

    /// Whether nothing but failures of requests could keep it from being asked.
    pub(crate) fn is_in(&self) -> bool {
        self.health().is_good() && !self.is_drained()
    }

    pub(crate) fn fails(&self) -> u32 {
        self.fails.load(Relaxed)
    }

    /// Whether failures have put it aside.
    pub(crate) fn is_aside(&self, server: &UpstreamServer, now: u64) -> bool {
        server.max_fails > 0
            && self.fails() >= server.max_fails
            && now.saturating_sub(self.checked.load(Relaxed)) <= millis(server.fail_timeout)
    }

    /// It was chosen.
    pub(crate) fn chosen(&self, server: &UpstreamServer, now: u64) {
        // One that failed is tried by one request; the others wait for how that ends.
        if self.fails() > 0
            && now.saturating_sub(self.checked.load(Relaxed)) > millis(server.fail_timeout)
        {
            self.checked.store(now, Relaxed);
        }
    }

    /// It failed a request. Returns whether that puts it aside.
    pub(crate) fn failed(&self, server: &UpstreamServer, now: u64) -> bool {
        let fails = self.fails.fetch_add(1, Relaxed) + 1;
        self.failed.store(now, Relaxed);
        self.checked.store(now, Relaxed);
        server.max_fails > 0 && fails == server.max_fails
    }

    /// It answered a request.
    pub(crate) fn answered(&self, server: &UpstreamServer, now: impl FnOnce() -> u64) {
        let fails = self.fails();
        if fails == 0 {
            return;
        }
        let was_aside = server.max_fails > 0 && fails >= server.max_fails;
        let tried_again = self.failed.load(Relaxed) < self.checked.load(Relaxed);
        if was_aside || tried_again {
            self.fails.store(0, Relaxed);
            if was_aside {
                self.back.store(now(), Relaxed);
            }
        }
    }

    /// How much of its weight counts, in hundredths.
    pub(crate) fn share(&self, server: &UpstreamServer, now: u64) -> i64 {
        let back = self.back.load(Relaxed);
        let slow = millis(server.slow_start);
        if back == 0 || slow == 0 {
            return 100;
        }
        let part = now.saturating_sub(back).saturating_mul(100) / slow;
        i64::try_from(part).unwrap_or(100).clamp(1, 100)
    }
}

impl Line {
    /// Whether requests wait; whoever comes now has to wait behind them.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(SeqCst) == 0
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether it may still turn out which servers there are.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.load(SeqCst)
    }

    /// Tries until it brings something: at once, and then each time that something may have changed.
    pub(crate) async fn until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut free = std::pin::pin!(self.free.notified());
            // From here on nothing that becomes free goes unnoticed.
            free.as_mut().enable();
            if let Some(found) = attempt() {
                return found;
            }
            free.await;
        }
    }

    /// All that wait look again.
    pub(crate) fn wake_all(&self) {
        self.free.notify_waiters();
    }

    /// Joins the line, unless `most` are in it.
    pub(crate) fn join(&self, most: usize) -> Option<Waiting<'_>> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        self.waiting.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Waiting(self))
    }
}

/// A place in the line. Dropping it leaves the line.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Line);

impl Waiting<'_> {
    /// Tries until it brings something: at once, and then each time that a connection may have become free.
    pub(crate) async fn until<T>(&self, attempt: impl FnMut() -> Option<T>) -> T {
        self.0.until(attempt).await
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.standing.conns.fetch_sub(1, SeqCst);
        if !self.line.is_empty() {
            self.line.free.notify_one();
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn server(max_fails: u32, max_conns: u32) -> UpstreamServer {
        UpstreamServer {
            max_fails,
            max_conns,
            slow_start: Duration::from_secs(10),
            ..UpstreamServer::new(PeerAddr::Name("a".to_owned(), 80))
        }
    }

    #[test]
    fn failures_put_aside_for_a_while() {
        let server = server(2, 0);
        let standing = Standing::new(server.addr.clone());
        let aside = |now| standing.is_aside(&server, now);
        assert!(!standing.failed(&server, 1000));
        assert!(!aside(1000));
        // An answer in between does not wash a failure away.
        standing.answered(&server, || 1500);
        assert!(standing.failed(&server, 2000));
        assert!(aside(2001) && aside(12_000) && !aside(12_001));
        // One request tries it; the others wait for how that ends.
        standing.chosen(&server, 12_001);
        assert!(aside(12_002));
        assert_eq!(standing.share(&server, 12_500), 100);
        standing.answered(&server, || 12_500);
        assert!(!aside(12_501) && standing.fails() == 0);
        assert_eq!(standing.share(&server, 12_500), 1);
        assert_eq!(standing.share(&server, 17_500), 50);
        assert_eq!(standing.share(&server, 32_500), 100);
    }

    #[test]
    fn max_fails_of_zero_never_puts_aside() {
        let server = server(0, 0);
        let standing = Standing::new(server.addr.clone());
        for now in 1..100 {
            assert!(!standing.failed(&server, now));
        }
        assert!(!standing.is_aside(&server, 100));
    }

    #[test]
    fn nobody_gets_more_connections_than_there_are() {
        let upstream = Arc::new(Upstream {
            servers: vec![server(1, 2)],
            ..Upstream::single("a", PeerAddr::Name("a".to_owned(), 80), Default::default())
        });
        let squad = Squad::new(&upstream, None);
        let first = squad.ticket(0, 2);
        let second = squad.ticket(0, 2);
        assert!(first.is_some() && second.is_some() && squad.ticket(0, 2).is_none());
        let waiting = squad.line.join(1).unwrap();
        assert!(squad.line.join(1).is_none());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let third = runtime.block_on(async {
            let (ticket, ()) = tokio::join!(waiting.until(|| squad.ticket(0, 2)), async {
                tokio::task::yield_now().await;
                drop(first);
            });
            ticket
        });
        drop(waiting);
        assert!(squad.line.is_empty() && squad.servers[0].conns() == 2);
        drop((second, third));
        assert_eq!(squad.servers[0].conns(), 0);
    }

    #[test]
    fn a_reload_keeps_what_is_known() {
        let addr = PeerAddr::Name("a".to_owned(), 80);
        let upstream = Arc::new(Upstream::single("a", addr, Default::default()));
        let before = Squad::new(&upstream, None);
        before.servers[0].failed(&upstream.servers[0], 5);
        let after = Squad::new(&upstream, Some(&before));
        assert_eq!(after.servers[0].fails(), 1);
    }
}
