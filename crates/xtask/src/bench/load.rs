//! Load generators on their own core, and what they say: wrk, h2load, `openssl s_time`.
//! Not here: who is asked for what.

use std::process::Command;

use anyhow::{Context as _, bail};

/// wrk says its figures through this script, in one line that is easy to read back.
pub(super) const WRK_SAYS: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FIGURES %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(99.0)))
end
"#;

/// What a generator counted.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Answers that were not 2xx, and socket errors.
    pub(super) wrong: u64,
    /// 99 of 100 answers came within that time. Only wrk tells.
    pub(super) p99_ms: Option<f64>,
}

/// Runs a generator, and reads its report with `read`. Wrong answers are an error.
pub(super) fn count(
    command: &mut Command,
    read: fn(&str) -> Option<Counted>,
) -> anyhow::Result<Counted> {
    let out = command
        .output()
        .context("cannot run the load generator; see --setup")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let errors = String::from_utf8_lossy(&out.stderr);
        bail!("the load generator failed: {text}{errors}");
    }
    let counted =
        read(&text).with_context(|| format!("cannot read what the load generator said: {text}"))?;
    if counted.wrong > 0 {
        bail!("{} besides {} went wrong", counted.wrong, counted.requests);
    }
    Ok(counted)
}

/// Reads the line of [`WRK_SAYS`].
pub(super) fn of_wrk(report: &str) -> Option<Counted> {
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

/// Reads the report of h2load.
pub(super) fn of_h2load(report: &str) -> Option<Counted> {
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

/// Reads the report of `openssl s_time -reuse`, which marks each resumed connection with an `r` and any other with
/// a `*` or a `t`; those are wrong here, but for the first.
pub(super) fn of_s_time(report: &str) -> Option<Counted> {
    // "500 connections in 3 real seconds, 280 bytes read per connection"
    let line = report
        .lines()
        .rev()
        .find(|line| line.contains(" real seconds"))?;
    let (count, rest) = line.split_once(" connections in ")?;
    let seconds = rest.split(' ').next()?.parse().ok()?;
    let marks = report
        .lines()
        .flat_map(str::chars)
        .filter(|mark| *mark == '*')
        .count();
    Some(Counted {
        requests: count.trim().parse().ok()?,
        seconds,
        wrong: marks.saturating_sub(1) as u64,
        p99_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let counted = |requests, seconds, wrong, p99_ms| {
            Some(Counted {
                requests,
                seconds,
                wrong,
                p99_ms,
            })
        };
        assert_eq!(
            of_wrk("Running 2s test\nFIGURES 1000 2000000 3 4500\n"),
            counted(1000, 2.0, 3, Some(4.5))
        );
        assert_eq!(of_wrk("unable to connect"), None);
        let report = "\nfinished in 2.00s, 450.00 req/s, 1KB/s\n\
                      requests: 910 total, 904 started, 900 done, 899 succeeded, 1 failed, 2 errored, 0 timeout\n";
        assert_eq!(of_h2load(report), counted(899, 2.0, 3, None));
        let report = "Collecting connection statistics for 3 seconds\n*rrrr\n\n\
                      50 connections in 0.01s; 9 connections/user sec, bytes read 9\n\
                      50 connections in 4 real seconds, 280 bytes read per connection\n";
        assert_eq!(of_s_time(report), counted(50, 4.0, 0, None));
    }
}
