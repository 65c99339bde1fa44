//! The clients of each kind, on the load generator's core.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::super::load::{self, Counted, WRK_SAYS};
use super::super::server::{Field, LOAD_CPU};
use super::scenarios::{CACHED_FILES, Kind, Scenario, Serves};

/// Clients of `openssl s_time`, which has one connection at a time.
const RESUMING: usize = 4;

/// Asks for `time`, as fast as it is answered.
pub(super) fn run(
    scenario: &Scenario,
    field: &Field,
    server: SocketAddr,
    time: Duration,
) -> anyhow::Result<Counted> {
    let seconds = time.as_secs().max(1);
    let url = url(scenario, server);
    let mut command = field.pinned(LOAD_CPU);
    match scenario.kind {
        Kind::KeepAlive { connections } | Kind::Close { connections } => {
            wrk(scenario, &mut command, field, connections, seconds)?;
            if let Kind::Close { .. } = scenario.kind {
                command.args(["-H", "Connection: close"]);
            }
            load::count(command.arg(url), load::of_wrk)
        }
        Kind::Latency { .. } | Kind::Idle { .. } => {
            wrk(scenario, &mut command, field, 64, seconds)?;
            load::count(command.arg(url), load::of_wrk)
        }
        Kind::Http2 {
            connections,
            streams,
        } => {
            command.args(["h2load", "-t1", "-D", &seconds.to_string()]);
            command.args(["-c", &connections.to_string(), "-m", &streams.to_string()]);
            load::count(command.arg(url), load::of_h2load)
        }
        Kind::Resumed => resumed(scenario, field, server, seconds),
    }
}

fn url(scenario: &Scenario, server: SocketAddr) -> String {
    let scheme = if scenario.tls.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{server}{}", scenario.serves.target())
}

/// Goes through all answers that are kept, so that the next one is never the last.
fn walk() -> String {
    format!(
        "local at = 0
request = function()
  at = (at + 7919) % {CACHED_FILES}
  return wrk.format(nil, '/' .. at)
end
"
    )
}

fn wrk(
    scenario: &Scenario,
    command: &mut Command,
    field: &Field,
    connections: u16,
    seconds: u64,
) -> anyhow::Result<()> {
    let script = match scenario.serves {
        Serves::CachedOnDisk => format!("{WRK_SAYS}{}", walk()),
        _ => WRK_SAYS.to_owned(),
    };
    let script = field.write("wrk.lua", &script)?;
    command.args(["wrk", "-t1", "--latency", "--timeout", "10s"]);
    command.args([format!("-c{connections}"), format!("-d{seconds}s")]);
    if let Serves::Json { .. } = scenario.serves {
        command.args(["-H", "Accept-Encoding: gzip"]);
    }
    command.arg("-s").arg(script);
    Ok(())
}

fn resumed(
    scenario: &Scenario,
    field: &Field,
    server: SocketAddr,
    seconds: u64,
) -> anyhow::Result<Counted> {
    let clients = (0..RESUMING).map(|_| {
        field
            .pinned(LOAD_CPU)
            .args(["openssl", "s_time", "-tls1_3", "-reuse", "-time"])
            .arg(seconds.to_string())
            .args(["-connect", &server.to_string()])
            .args(["-www", scenario.serves.target()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    });
    let clients = clients.collect::<Result<Vec<_>, _>>();
    let clients = clients.context("cannot run openssl")?;
    let mut sum: Option<Counted> = None;
    for client in clients {
        let out = client.wait_with_output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        let one = load::of_s_time(&text)
            .with_context(|| format!("cannot read what openssl said: {text}"))?;
        sum = Some(match sum {
            None => one,
            Some(sum) => Counted {
                requests: sum.requests + one.requests,
                wrong: sum.wrong + one.wrong,
                ..sum
            },
        });
    }
    let sum = sum.context("no client")?;
    if sum.wrong > 0 {
        bail!("{} handshakes were not resumed", sum.wrong);
    }
    Ok(sum)
}

/// The 99th percentile of answers to `rate` requests a second, in milliseconds.
pub(super) fn p99_at(
    scenario: &Scenario,
    field: &Field,
    server: SocketAddr,
    rate: f64,
    time: Duration,
) -> anyhow::Result<f64> {
    let log = field.path("answers.tsv");
    let _not_there = fs::remove_file(&log);
    let mut command = field.pinned(LOAD_CPU);
    command.args(["h2load", "--h1", "-t1", "-c64", "-m1"]);
    command.args(["-D", &time.as_secs().max(1).to_string()]);
    command.arg(format!("--rps={:.2}", rate / 64.0));
    command.arg(format!("--log-file={}", log.display()));
    let counted = load::count(command.arg(url(scenario, server)), load::of_h2load)?;
    let asked = rate * counted.seconds;
    if (counted.requests as f64) < asked * 0.5 {
        bail!("{} answers to {asked:.0} requests", counted.requests);
    }
    // "start, status, microseconds" in each line
    let mut took: Vec<u64> = fs::read_to_string(&log)?
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    took.sort_unstable();
    let at = took.len() * 99 / 100;
    let p99 = took.get(at).context("h2load wrote no log")?;
    Ok(*p99 as f64 / 1e3)
}

/// Opens connections; each has had an answer, and waits.
pub(super) fn idle(
    scenario: &Scenario,
    server: SocketAddr,
    connections: usize,
) -> anyhow::Result<Vec<TcpStream>> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        scenario.serves.target()
    );
    let body = scenario.serves.body();
    let mut buffer = vec![0; 64 * 1024];
    (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(server)?;
            stream.write_all(request.as_bytes())?;
            let mut filled = 0;
            while !buffer[..filled].ends_with(&body) {
                match stream.read(&mut buffer[filled..])? {
                    0 => bail!("the server closed a connection"),
                    count => filled += count,
                }
            }
            Ok(stream)
        })
        .collect()
}
