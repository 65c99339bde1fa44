//! `limit_req`: a leaky bucket for each key, as nginx fills it. Units are thousandths of a request and milliseconds.
//!
//! Not here: waiting for the delay that comes out.

use std::time::Duration;

use super::zone::{Zone, lock};
use crate::template::Scene;

/// What one request fills a bucket by.
const ONE: i64 = 1000;
/// A bucket that is empty and was not used for so long, in milliseconds, is forgotten.
const FORGET_AFTER: u64 = 60_000;

/// How full a bucket is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    excess: i64,
    /// When that was so.
    last: u64,
}

/// One `limit_req`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// An index into the zones of the configuration.
    pub(crate) zone: usize,
    /// What is over the rate and still let through, in thousandths of a request.
    pub(crate) burst: u64,
    /// What of it is let through at once.
    pub(crate) delay: u64,
}

/// What comes out for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It falls under none of the limits.
    Silent,
    Passed,
    Delayed {
        delay: Duration,
        excess: u64,
        zone: usize,
    },
    Rejected {
        excess: u64,
        zone: usize,
    },
}

impl Bucket {
    /// How full it is at `now` with one request more, at this rate.
    fn filled(&self, rate: u64, now: u64) -> i64 {
        let gone = i64::try_from(now.saturating_sub(self.last)).unwrap_or(i64::MAX);
        let rate = i64::try_from(rate).unwrap_or(i64::MAX);
        let drained = rate.saturating_mul(gone) / 1000;
        (self.excess.saturating_sub(drained).saturating_add(ONE)).max(0)
    }

    fn is_stale(&self, rate: u64, now: u64) -> bool {
        now.saturating_sub(self.last) >= FORGET_AFTER && self.filled(rate, now) <= ONE
    }
}

/// Counts a request against all limits, or against none if one of them rejects it.
pub(crate) fn count(limits: &[Limit], zones: &[Zone], scene: &Scene<'_>) -> Verdict {
    let keyed = limits.iter().filter_map(|limit| {
        let zone = zones.get(limit.zone)?;
        Some((*limit, zone, zone.key_of(scene)?))
    });
    let keyed: smallvec::SmallVec<[_; 2]> = keyed.collect();
    judge(&keyed, None)
}

/// The same with keys. `now` is for tests; the zones' own clocks count otherwise.
fn judge(keyed: &[(Limit, &Zone, Vec<u8>)], now: Option<u64>) -> Verdict {
    let Some(((last, last_zone, last_key), before)) = keyed.split_last() else {
        return Verdict::Silent;
    };
    // Only looked at: a request that is rejected fills no bucket.
    for (limit, zone, key) in before {
        let now = now.unwrap_or_else(|| zone.counts().now());
        let mut table = lock(&zone.counts().buckets);
        let excess = table
            .get(key)
            .map_or(0, |bucket| bucket.filled(zone.rate(), now));
        if let Some(rejected) = rejected(limit, excess) {
            return rejected;
        }
    }
    let mut worst: Option<(u64, u64, usize)> = None;
    let mut note = |limit: &Limit, zone: &Zone, excess: i64| {
        let excess = u64::try_from(excess).unwrap_or(0);
        if excess > limit.delay {
            let wait = (excess - limit.delay) * 1000 / zone.rate().max(1);
            if worst.is_none_or(|(longest, ..)| wait > longest) {
                worst = Some((wait, excess, limit.zone));
            }
        }
    };
    match fill(last_zone, last_key, Some(last), now) {
        Ok(excess) => note(last, last_zone, excess),
        Err(rejected) => return rejected,
    }
    for (limit, zone, key) in before.iter().rev() {
        if let Ok(excess) = fill(zone, key, None, now) {
            note(limit, zone, excess);
        }
    }
    match worst {
        Some((wait, excess, zone)) if wait > 0 => Verdict::Delayed {
            delay: Duration::from_millis(wait),
            excess,
            zone,
        },
        _ => Verdict::Passed,
    }
}

fn rejected(limit: &Limit, excess: i64) -> Option<Verdict> {
    let excess = u64::try_from(excess).unwrap_or(0);
    (excess > limit.burst).then_some(Verdict::Rejected {
        excess,
        zone: limit.zone,
    })
}

/// Fills the bucket of a key by one request, unless that is too much for `limit`. Returns how full it is.
fn fill(zone: &Zone, key: &[u8], limit: Option<&Limit>, now: Option<u64>) -> Result<i64, Verdict> {
    let now = now.unwrap_or_else(|| zone.counts().now());
    let rate = zone.rate();
    let mut table = lock(&zone.counts().buckets);
    if let Some(bucket) = table.get(key) {
        let excess = bucket.filled(rate, now);
        if let Some(rejected) = limit.and_then(|limit| rejected(limit, excess)) {
            return Err(rejected);
        }
        bucket.excess = excess;
        bucket.last = now;
        return Ok(excess);
    }
    for _ in 0..2 {
        if table
            .oldest()
            .is_some_and(|bucket| bucket.is_stale(rate, now))
        {
            table.remove_oldest();
        }
    }
    let bucket = Bucket {
        excess: 0,
        last: now,
    };
    table.add(key, bucket, |_| true);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::zone::{Key, Kind};
    use crate::template::Template;

    fn zone(rate: u64) -> Zone {
        let kind = Kind::Requests { rate };
        Zone::new(
            "one".to_owned(),
            Key::Request(Template::default()),
            String::new(),
            32 << 10,
            kind,
        )
    }

    fn limit(burst: u64, delay: u64) -> Limit {
        Limit {
            zone: 0,
            burst: burst * 1000,
            delay: delay * 1000,
        }
    }

    /// Times of requests, and what comes out for each: passed, refused, or milliseconds of delay.
    #[track_caller]
    fn check(rate: u64, limit: Limit, times: &[u64], want: &str) {
        let zone = zone(rate);
        let got: Vec<String> = times
            .iter()
            .map(
                |&now| match judge(&[(limit, &zone, b"key".to_vec())], Some(now)) {
                    Verdict::Passed => "ok".to_owned(),
                    Verdict::Rejected { .. } => "no".to_owned(),
                    Verdict::Delayed { delay, .. } => delay.as_millis().to_string(),
                    Verdict::Silent => "silent".to_owned(),
                },
            )
            .collect();
        assert_eq!(got.join(" "), want);
    }

    #[test]
    fn one_key() {
        // Ten in a second, nothing over: one each 100 ms.
        check(
            10_000,
            limit(0, 0),
            &[0, 0, 99, 100, 101, 300],
            "ok no no ok no ok",
        );
        // A burst waits its turn.
        check(10_000, limit(2, 0), &[0, 0, 0, 0, 150], "ok 100 200 no 150");
        // Without delay.
        check(10_000, limit(2, 2), &[0, 0, 0, 0, 100], "ok ok ok no ok");
        // Two at once, the others later.
        check(
            10_000,
            limit(4, 2),
            &[0, 0, 0, 0, 0, 0],
            "ok ok ok 100 200 no",
        );
        // Two in a minute.
        check(33, limit(0, 0), &[0, 1000, 30_303, 30_304], "ok no no ok");
    }

    #[test]
    fn several_limits_fill_together_or_not_at_all() {
        let (slow, fast) = (zone(1000), zone(10_000));
        let both = |now| {
            judge(
                &[
                    (limit(1, 1), &fast, b"a".to_vec()),
                    (limit(0, 0), &slow, b"b".to_vec()),
                ],
                Some(now),
            )
        };
        assert_eq!(both(0), Verdict::Passed);
        assert!(matches!(both(0), Verdict::Rejected { .. }));
        // The refused ones have not filled the first bucket.
        let first = |now| judge(&[(limit(1, 1), &fast, b"a".to_vec())], Some(now));
        assert_eq!(first(0), Verdict::Passed);
        assert!(matches!(first(0), Verdict::Rejected { .. }));
        assert_eq!(judge(&[], Some(0)), Verdict::Silent);
    }

    #[test]
    fn memory_is_bounded_and_idle_buckets_go() {
        let zone = zone(1000);
        for number in 0_u32..10_000 {
            let key = number.to_ne_bytes().to_vec();
            judge(&[(limit(0, 0), &zone, key)], Some(1));
        }
        assert_eq!(lock(&zone.counts().buckets).len(), (32 << 10) / 128);
        for number in 0_u32..200 {
            let key = (number + 20_000).to_ne_bytes().to_vec();
            judge(&[(limit(0, 0), &zone, key)], Some(100_000));
        }
        assert_eq!(lock(&zone.counts().buckets).len(), 200);
    }
}
