//! The load generator: wrk, pinned, its report taken apart.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::server::{Field, LOAD_CPU};

/// What wrk counted.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Answers that were not 2xx or 3xx, and socket errors.
    pub(super) wrong: u64,
}

/// One thread, 64 keep-alive connections.
pub(super) fn wrk(
    field: &Field,
    server: SocketAddr,
    target: &str,
    time: Duration,
) -> anyhow::Result<Counted> {
    let mut command = field.pinned(LOAD_CPU);
    command.args([
        "wrk",
        "-t1",
        "-c64",
        &format!("-d{}s", time.as_secs().max(1)),
    ]);
    let out = command
        .arg(format!("http://{server}{target}"))
        .output()
        .context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!("wrk failed: {text}{}", String::from_utf8_lossy(&out.stderr));
    }
    parse(&text).with_context(|| format!("cannot read what wrk said: {text}"))
}

fn parse(report: &str) -> Option<Counted> {
    let mut counted = None;
    let mut wrong = 0;
    for line in report.lines().map(str::trim) {
        if let Some((requests, rest)) = line.split_once(" requests in ") {
            let time = rest.split(',').next()?;
            let seconds = match time.strip_suffix("ms") {
                Some(millis) => millis.parse::<f64>().ok()? / 1000.0,
                None => match time.strip_suffix('m') {
                    Some(minutes) => minutes.parse::<f64>().ok()? * 60.0,
                    None => time.strip_suffix('s')?.parse().ok()?,
                },
            };
            counted = Some((requests.parse().ok()?, seconds));
        } else if let Some(errors) = line.strip_prefix("Socket errors: ") {
            // "connect 0, read 0, write 0, timeout 0"
            wrong += errors
                .split(", ")
                .filter_map(|part| part.split(' ').nth(1)?.parse::<u64>().ok())
                .sum::<u64>();
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses: ") {
            wrong += count.parse::<u64>().ok()?;
        }
    }
    counted.map(|(requests, seconds)| Counted {
        requests,
        seconds,
        wrong,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let report = "Running 3s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  \
                      136210 requests in 3.10s, 17.28MB read\n  Socket errors: connect 0, read 2, write 0, timeout 1\n  \
                      Non-2xx or 3xx responses: 4\nRequests/sec:  43940.16\n";
        assert_eq!(
            parse(report),
            Some(Counted {
                requests: 136_210,
                seconds: 3.1,
                wrong: 7
            })
        );
        assert_eq!(
            parse("  12 requests in 990.1ms, 1KB read\n").map(|counted| counted.seconds),
            Some(0.9901)
        );
        assert_eq!(parse("unable to connect"), None);
    }
}
