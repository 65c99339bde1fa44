//! One sample: start, look at the answer, warm up, measure, stop.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::load::Counted;
use super::super::report::Sample;
use super::super::server::{Field, Server, children_cpu};
use super::load;
use super::peers::{self, Peer};
use super::scenarios::{Kind, Scenario, Serves};

/// How long memory is left to settle.
const SETTLE: Duration = Duration::from_millis(500);

/// Measures one server. `top` is what nginx could do at most, for the scenarios that need to know.
pub(super) fn one(
    scenario: &Scenario,
    peer: Peer,
    field: &Field,
    top: Option<f64>,
    time: Duration,
) -> anyhow::Result<Sample> {
    // Dropped in this order: first the server, then what stands behind it.
    let _behind = peers::upstream(scenario, field)?;
    if let Kind::Idle { .. } = scenario.kind {
        allow_connections()?;
    }
    let (server, addr) = peer.start(scenario, field)?;
    look(scenario, peer, addr)?;
    match scenario.kind {
        Kind::Idle { connections } => {
            let before = server.pss_mib();
            let held = load::idle(scenario, addr, connections)?;
            thread::sleep(SETTLE);
            let grown = server.pss_mib() - before;
            drop(held);
            Ok(Sample::Cost(grown * 1024.0 / connections as f64))
        }
        Kind::Latency { percent } => {
            let top = top.context("nginx is needed for its top rate; see --setup")?;
            load::run(scenario, field, addr, scenario.serves.warm_up())?;
            let rate = top * f64::from(percent) / 100.0;
            load::p99_at(scenario, field, addr, rate, time).map(Sample::Cost)
        }
        _ => under_load(scenario, field, &server, addr, time),
    }
}

/// What nginx does at most, for the scenarios that need to know.
pub(super) fn top(
    scenario: &Scenario,
    field: &Field,
    time: Duration,
) -> anyhow::Result<Option<f64>> {
    if !matches!(scenario.kind, Kind::Latency { .. }) || Peer::Nginx.missing().is_some() {
        return Ok(None);
    }
    let _behind = peers::upstream(scenario, field)?;
    let (_server, addr) = Peer::Nginx.start(scenario, field)?;
    load::run(scenario, field, addr, scenario.serves.warm_up())?;
    let Counted {
        requests, seconds, ..
    } = load::run(scenario, field, addr, time)?;
    Ok(Some(requests as f64 / seconds))
}

fn under_load(
    scenario: &Scenario,
    field: &Field,
    server: &Server,
    addr: SocketAddr,
    time: Duration,
) -> anyhow::Result<Sample> {
    load::run(scenario, field, addr, scenario.serves.warm_up())?;
    let (server_before, load_before) = (server.cpu(), children_cpu());
    let counted = load::run(scenario, field, addr, time)?;
    let (server_after, load_after) = (server.cpu(), children_cpu());
    let used = (server_after - server_before).as_secs_f64();
    Ok(Sample::Load {
        per_second: counted.requests as f64 / counted.seconds,
        cpu_micros: used * 1e6 / counted.requests.max(1) as f64,
        p99_ms: counted.p99_ms,
        load_share: (load_after - load_before).as_secs_f64() / counted.seconds,
    })
}

/// Asks once with curl, which speaks all that is asked here.
fn look(scenario: &Scenario, peer: Peer, addr: SocketAddr) -> anyhow::Result<()> {
    let tls = scenario.tls;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let version = if tls.is_some_and(|tls| tls.http2) {
        "2"
    } else {
        "1.1"
    };
    let mut curl = Command::new("curl");
    let packs = matches!(scenario.serves, Serves::Json { .. });
    if packs {
        curl.arg("--compressed");
    }
    let out = curl
        .args(["-sk", "--max-time", "20", &format!("--http{version}")])
        .args([
            "-w",
            "%{stderr}%{http_code} %{http_version} %{size_download}",
        ])
        .arg(format!("{scheme}://{addr}{}", scenario.serves.target()))
        .output()
        .context("cannot run curl; see --setup")?;
    let told = String::from_utf8_lossy(&out.stderr);
    let size = told.strip_prefix(&format!("200 {version} "));
    let size = size.and_then(|size| size.parse::<usize>().ok());
    let body = scenario.serves.body();
    let fits = size.is_some_and(|size| packs == (size < body.len()));
    if out.stdout != body || !fits {
        bail!("a wrong answer: {told}, {} bytes", out.stdout.len());
    }
    if packs {
        eprintln!("{}: {} sends {told} bytes", scenario.name, peer.name());
    }
    Ok(())
}

/// As many descriptors as we may have, for us and for what we start.
fn allow_connections() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}
