//! `/metrics`: counters of the workers' shared memory, summed up when somebody asks. Nobody is stopped for it.
//!
//! Not here: how it travels (`control`), and who counts (`slots`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use trine_control::metrics::{Family, Histogram, Metrics};
use trine_sys::process::{self, Pid};

use crate::slots::{BUCKETS, WorkerSlot, upper_end};

use super::Arbiter;
use super::cause::Cause;
use super::children::Children;

/// What workers have counted; kept of those that have ended, so that counters only grow.
#[derive(Debug, Default)]
pub(super) struct Totals {
    requests: u64,
    statuses: [u64; 5],
    took: [u64; BUCKETS],
    queued: [u64; BUCKETS],
    queued_us: u64,
    lock_us: u64,
    accepted: u64,
    busy_us: u64,
    /// Worker processes that have ended, by cause.
    ended: BTreeMap<Cause, u64>,
}

impl Totals {
    fn add(&mut self, slot: &WorkerSlot) {
        let one = |sum: &mut u64, counter: &AtomicU64| *sum += counter.load(Relaxed);
        one(&mut self.requests, &slot.requests);
        one(&mut self.accepted, &slot.accepted);
        one(&mut self.busy_us, &slot.busy_us);
        one(&mut self.queued_us, &slot.queued_us);
        one(&mut self.lock_us, &slot.lock_us);
        let many = |sums: &mut [u64], counters: &[AtomicU64]| {
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.load(Relaxed);
            }
        };
        many(&mut self.statuses, &slot.statuses);
        many(&mut self.took, &slot.took);
        many(&mut self.queued, &slot.queued);
    }

    fn with(mut self, other: &Self) -> Self {
        for (sum, more) in [
            (&mut self.requests, other.requests),
            (&mut self.accepted, other.accepted),
            (&mut self.busy_us, other.busy_us),
            (&mut self.queued_us, other.queued_us),
            (&mut self.lock_us, other.lock_us),
        ] {
            *sum += more;
        }
        let pairs = self.statuses.iter_mut().zip(&other.statuses);
        let pairs = pairs.chain(self.took.iter_mut().zip(&other.took));
        for (sum, more) in pairs.chain(self.queued.iter_mut().zip(&other.queued)) {
            *sum += more;
        }
        self
    }
}

impl Children {
    pub(super) fn keep_totals(&mut self, slot: &WorkerSlot) {
        self.totals.add(slot);
    }

    pub(super) fn count_end(&mut self, cause: Cause) {
        *self.totals.ended.entry(cause).or_default() += 1;
    }
}

impl Arbiter {
    pub(super) fn metrics(&self) -> String {
        let mut live = Totals::default();
        let (mut connections, mut seats, mut free) = (0_u64, 0_u64, 0_u64);
        for (_, child) in self.children.iter() {
            let slot = self.slots.worker(child.slot);
            live.add(slot);
            connections += u64::from(slot.connections.load(Relaxed));
            seats += u64::from(slot.seats.load(Relaxed));
            free += self.slots.free(child.slot) as u64;
        }
        let sums = live.with(&self.children.totals);
        let mut metrics = Metrics::new();
        counters(&mut metrics, &sums);
        let gauges = [
            ("connections", "Connections open.", connections),
            (
                "seats",
                "Requests that all workers could be at at the same time.",
                seats,
            ),
            (
                "seats_busy",
                "Those of them that are taken, or cannot be.",
                seats.saturating_sub(free),
            ),
            (
                "workers",
                "Worker processes.",
                self.children.iter().count() as u64,
            ),
            (
                "workers_wanted",
                "Worker processes that there should be.",
                self.state.target() as u64,
            ),
            (
                "generation",
                "Counts configurations put into effect.",
                self.state.generation(),
            ),
        ];
        for (name, help, value) in gauges {
            metrics
                .gauge(&format!("trine_wsgi_{name}"), help)
                .sample(&[], value);
        }
        let mut family = metrics.gauge(
            "trine_wsgi_resident_memory_bytes",
            "Memory of a worker, shared parts counted.",
        );
        for (pid, _) in self.children.iter() {
            let bytes = process::rss_bytes(Pid::from_raw(pid)).unwrap_or(0);
            family.sample(&[("worker", &pid.to_string())], bytes);
        }
        let mut family = metrics.counter(
            "trine_wsgi_workers_ended",
            "Worker processes that have ended, by cause.",
        );
        for cause in Cause::ALL {
            let count = self.children.totals.ended.get(&cause).copied().unwrap_or(0);
            family.sample(&[("cause", cause.word())], count);
        }
        metrics.finish()
    }
}

fn counters(metrics: &mut Metrics, sums: &Totals) {
    metrics
        .counter("trine_wsgi_requests", "Requests answered.")
        .sample(&[], sums.requests);
    let mut family = metrics.counter("trine_wsgi_responses", "Answers by class of their status.");
    for (index, count) in sums.statuses.iter().enumerate() {
        family.sample(&[("class", &format!("{}xx", index + 1))], *count);
    }
    metrics
        .counter("trine_wsgi_connections_accepted", "Connections accepted.")
        .sample(&[], sums.accepted);
    metrics
        .counter(
            "trine_wsgi_lock_wait_seconds",
            "Time that threads with a request waited for the interpreter lock.",
        )
        .sample(&[], sums.lock_us as f64 / 1e6);
    histogram(
        metrics.histogram(
            "trine_wsgi_request_duration_seconds",
            "How long the application was at a request.",
        ),
        &sums.took,
        sums.busy_us,
    );
    histogram(
        metrics.histogram(
            "trine_wsgi_queue_duration_seconds",
            "How long a request waited for the application, by X-Request-Start where a trusted peer sends it.",
        ),
        &sums.queued,
        sums.queued_us,
    );
}

fn histogram(mut family: Family<'_>, counts: &[u64; BUCKETS], sum_us: u64) {
    let bounds: Vec<f64> = (0..BUCKETS)
        .filter_map(upper_end)
        .map(|micros| micros as f64 / 1e6)
        .collect();
    family.histogram(
        &[],
        Histogram {
            bounds: &bounds,
            counts,
            sum: sum_us as f64 / 1e6,
        },
    );
}
