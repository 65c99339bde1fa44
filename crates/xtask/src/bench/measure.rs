//! One sample: start, compare the answer, warm up, measure, stop.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::load;
use super::server::{Field, children_cpu};
use super::subjects::{Scenario, Subject};
use crate::http;

/// What one subject did in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// CPU time of the server's whole process tree.
    pub(super) server: Duration,
    /// CPU time of the load generator.
    pub(super) load: Duration,
}

impl Sample {
    pub(super) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Server CPU per request, in microseconds.
    pub(super) fn cpu_micros(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }

    pub(super) fn load_share(&self) -> f64 {
        self.load.as_secs_f64() / self.seconds
    }
}

pub(super) fn one(
    scenario: &Scenario,
    subject: &Subject,
    field: &Field,
    time: Duration,
) -> anyhow::Result<Sample> {
    sample(scenario, subject, field, time)
        .with_context(|| format!("{}: {}", scenario.name, subject.name))
}

fn sample(
    scenario: &Scenario,
    subject: &Subject,
    field: &Field,
    time: Duration,
) -> anyhow::Result<Sample> {
    // Dropped in this order: first the server, then what stands behind it.
    let behind = scenario.behind.map(|start| start(field)).transpose()?;
    let running = (subject.start)(field)?;
    let answer = http::get(running.addr, scenario.target)?;
    if answer.status != 200 || answer.body != scenario.body.as_bytes() {
        bail!("a wrong answer: {} {:?}", answer.status, answer.text());
    }
    load::wrk(field, running.addr, scenario.target, Duration::from_secs(1))?;
    let (server_before, load_before) = (running.server.cpu(), children_cpu());
    let counted = load::wrk(field, running.addr, scenario.target, time)?;
    let (server_after, load_after) = (running.server.cpu(), children_cpu());
    if counted.wrong > 0 {
        bail!(
            "{} of {} requests went wrong",
            counted.wrong,
            counted.requests
        );
    }
    drop(running);
    drop(behind);
    Ok(Sample {
        requests: counted.requests,
        seconds: counted.seconds,
        server: server_after - server_before,
        load: load_after - load_before,
    })
}
