//! One sample: start, look at the answer, warm up, measure, stop.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::super::report::Sample;
use super::super::server::{Field, Server, children_cpu};
use super::load;
use super::peers::{Peer, Place};
use super::scenarios::{Expect, Kind, Scenario, WARM_UP, Way};
use crate::http::{self, Answer};

const STARTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn one(
    scenario: &Scenario,
    peer: Peer,
    field: &Field,
    time: Duration,
) -> anyhow::Result<Sample> {
    match scenario.kind {
        Kind::Load(way) => under_load(scenario, peer, field, way, time),
        Kind::Memory { requests } => memory(scenario, peer, field, requests),
        Kind::Start => {
            let mut times = (0..STARTS)
                .map(|_| start(scenario, peer, field).map(|(_, _, took)| took))
                .collect::<anyhow::Result<Vec<Duration>>>()?;
            times.sort();
            Ok(Sample::Cost(times[STARTS / 2].as_secs_f64() * 1e3))
        }
    }
}

fn under_load(
    scenario: &Scenario,
    peer: Peer,
    field: &Field,
    way: Way,
    time: Duration,
) -> anyhow::Result<Sample> {
    let (server, place, _) = start(scenario, peer, field)?;
    load::run(field, &place, scenario.target, way, WARM_UP)?;
    let (server_before, load_before) = (server.cpu(), children_cpu());
    let counted = load::run(field, &place, scenario.target, way, time)?;
    let (server_after, load_after) = (server.cpu(), children_cpu());
    let used = (server_after - server_before).as_secs_f64();
    Ok(Sample::Load {
        per_second: counted.requests as f64 / counted.seconds,
        cpu_micros: used * 1e6 / counted.requests.max(1) as f64,
        p99_ms: counted.p99_ms,
        load_share: (load_after - load_before).as_secs_f64() / counted.seconds,
    })
}

fn memory(scenario: &Scenario, peer: Peer, field: &Field, requests: u64) -> anyhow::Result<Sample> {
    let (server, place, _) = start(scenario, peer, field)?;
    let mut done = 0;
    while done < requests {
        let counted = load::run(field, &place, scenario.target, Way::KeepAlive, WARM_UP)?;
        if counted.requests == 0 {
            bail!("no request was answered");
        }
        done += counted.requests;
    }
    Ok(Sample::Cost(server.pss_mib()))
}

/// Starts a server, waits for the right answer; how long that took.
fn start(
    scenario: &Scenario,
    peer: Peer,
    field: &Field,
) -> anyhow::Result<(Server, Place, Duration)> {
    let began = Instant::now();
    let (mut server, place) = peer.start(scenario, field)?;
    let answer = loop {
        match ask(scenario, &place) {
            Ok(answer) => break answer,
            Err(_) if began.elapsed() < PATIENCE && server.alive()? => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(problem) => return Err(problem).context(server.said()),
        }
    };
    let took = began.elapsed();
    let right = match scenario.expect {
        Expect::Body(body) => answer.body == body.as_bytes(),
        Expect::Length(bytes) => answer.body.len() == bytes,
        Expect::Holds(part) => answer.text().contains(part),
    };
    if answer.status != 200 || !right {
        bail!("a wrong answer: {} {:?}", answer.status, answer.text());
    }
    Ok((server, place, took))
}

fn ask(scenario: &Scenario, place: &Place) -> anyhow::Result<Answer> {
    let body = match scenario.kind {
        Kind::Load(way) => way.body(),
        Kind::Memory { .. } | Kind::Start => vec![],
    };
    let method = if body.is_empty() { "GET" } else { "POST" };
    match place {
        Place::Tcp(addr) => http::ask(*addr, method, scenario.target, &[], &body),
        Place::Unix(path) => http::get_unix(path, scenario.target),
    }
}
