//! 64 connections that ask again and again: wrk over TCP, h2load (as an HTTP/1.1 client) on a Unix socket.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::super::server::{Field, LOAD_CPU};
use super::peers::Place;
use super::scenarios::{POST_BYTES, Way};

/// wrk says its figures through this, in one line that is easy to read back.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FIGURES %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(99.0)))
end
"#;

/// What the generator counted.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Answers that were not 2xx, and socket errors.
    pub(super) wrong: u64,
    /// 99 of 100 answers came within that time. h2load does not tell.
    pub(super) p99_ms: Option<f64>,
}

pub(super) fn run(
    field: &Field,
    place: &Place,
    target: &str,
    way: Way,
    time: Duration,
) -> anyhow::Result<Counted> {
    let seconds = time.as_secs().max(1);
    let mut command = field.pinned(LOAD_CPU);
    match place {
        Place::Tcp(addr) => {
            let post = format!(
                "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {POST_BYTES})\n{DONE}"
            );
            let script = field.write("wrk.lua", if way == Way::Post { &post } else { DONE })?;
            command.args(["wrk", "-t1", "-c64", &format!("-d{seconds}s")]);
            command.args(["--latency", "--timeout", "10s", "-s"]);
            command.arg(script);
            if way == Way::Close {
                command.args(["-H", "Connection: close"]);
            }
            command.arg(format!("http://{addr}{target}"));
        }
        Place::Unix(_) => {
            command.args(["h2load", "--h1", "-t1", "-c64", "-m1"]);
            command.args(["-D", &seconds.to_string(), "-B", &place.to_string()]);
            command.arg(format!("http://127.0.0.1{target}"));
        }
    }
    let out = command
        .output()
        .context("cannot run the load generator; see --setup")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let errors = String::from_utf8_lossy(&out.stderr);
        bail!("the load generator failed: {text}{errors}");
    }
    let counted = match place {
        Place::Tcp(_) => of_wrk(&text),
        Place::Unix(_) => of_h2load(&text),
    };
    counted.with_context(|| format!("cannot read what the load generator said: {text}"))
}

fn of_wrk(report: &str) -> Option<Counted> {
    let line = report
        .lines()
        .find_map(|line| line.strip_prefix("FIGURES "))?;
    let mut words = line.split(' ').map(|word| word.parse::<u64>().ok());
    let mut next = || words.next().flatten();
    Some(Counted {
        requests: next()?,
        seconds: next()? as f64 / 1e6,
        wrong: next()?,
        p99_ms: Some(next()? as f64 / 1e3),
    })
}

fn of_h2load(report: &str) -> Option<Counted> {
    let after = |prefix: &str| report.lines().find_map(|line| line.strip_prefix(prefix));
    // "requests: 10 total, 10 started, 10 done, 9 succeeded, 1 failed, 0 errored, 0 timeout"
    let count = |what: &str| {
        after("requests: ")?
            .split(", ")
            .find_map(|part| part.strip_suffix(what)?.trim().parse::<u64>().ok())
    };
    let time = after("finished in ")?.split(',').next()?;
    let seconds = match time.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().ok()? / 1e3,
        None => time.strip_suffix('s')?.parse().ok()?,
    };
    Some(Counted {
        requests: count("succeeded")?,
        seconds,
        wrong: count("failed")? + count("errored")?,
        p99_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        assert_eq!(
            of_wrk("Running 2s test\nFIGURES 1000 2000000 3 4500\n"),
            Some(Counted {
                requests: 1000,
                seconds: 2.0,
                wrong: 3,
                p99_ms: Some(4.5)
            })
        );
        assert_eq!(of_wrk("unable to connect"), None);
        let report = "\nfinished in 2.00s, 450.00 req/s, 1KB/s\n\
                      requests: 910 total, 904 started, 900 done, 899 succeeded, 1 failed, 2 errored, 0 timeout\n";
        assert_eq!(
            of_h2load(report),
            Some(Counted {
                requests: 899,
                seconds: 2.0,
                wrong: 3,
                p99_ms: None
            })
        );
    }
}
