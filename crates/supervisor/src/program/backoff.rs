//! How long to wait before the next attempt to start a process. Not here: counting the attempts (see `state`).

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The rule by which waiting times grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// supervisord's: one step more after each failed attempt, without a cap; none after a process that had counted as
    /// running.
    Linear { step: Duration },
    /// Each wait is so many times the one before, up to a cap; also after a process that had counted as running.
    Exponential(Exponential),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exponential {
    pub first: Duration,
    /// 200 doubles.
    pub factor_percent: u32,
    pub most: Duration,
    /// Anything between nothing and that wait, so that what failed together does not come back together.
    pub jitter: bool,
    /// Having run for so long, it begins with the first wait again.
    pub forgiven_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Linear {
            step: Duration::from_secs(1),
        }
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            factor_percent: 200,
            most: Duration::from_secs(60),
            jitter: true,
            forgiven_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait after the `attempt`-th failure in a row; the first failure is attempt 1. `luck`: any number, different
    /// each time, if there is jitter.
    #[must_use]
    pub fn delay(&self, attempt: u32, luck: u64) -> Duration {
        match self {
            Self::Linear { step } => step.saturating_mul(attempt),
            Self::Exponential(rule) => rule.delay(attempt, luck),
        }
    }
}

impl Exponential {
    fn delay(&self, attempt: u32, luck: u64) -> Duration {
        let mut wait = self.first.min(self.most);
        for _ in 1..attempt {
            if wait >= self.most || self.factor_percent <= 100 {
                break;
            }
            wait = (wait.saturating_mul(self.factor_percent) / 100).min(self.most);
        }
        if self.jitter {
            let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            return Duration::from_nanos(mixed(luck) % nanos.saturating_add(1).max(1));
        }
        wait
    }
}

/// Spreads numbers that are close to each other (SplitMix64's finish).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &Backoff, most: u32) -> Vec<u64> {
        let wait = |attempt| backoff.delay(attempt, 0).as_millis();
        (1..=most)
            .map(|attempt| u64::try_from(wait(attempt)).unwrap())
            .collect()
    }

    #[test]
    fn linear_grows_by_one_step_an_attempt() {
        assert_eq!(waits(&Backoff::default(), 4), [1000, 2000, 3000, 4000]);
    }

    #[test]
    fn exponential_grows_up_to_its_cap() {
        let rule = Exponential {
            jitter: false,
            ..Exponential::default()
        };
        let doubling = Backoff::Exponential(rule.clone());
        assert_eq!(waits(&doubling, 8)[4..], [16_000, 32_000, 60_000, 60_000]);
        assert_eq!(doubling.delay(u32::MAX, 0), Duration::from_secs(60));
        let slow = Backoff::Exponential(Exponential {
            first: Duration::from_millis(200),
            factor_percent: 150,
            ..rule.clone()
        });
        assert_eq!(waits(&slow, 4), [200, 300, 450, 675]);
        let constant = Backoff::Exponential(Exponential {
            factor_percent: 100,
            ..rule
        });
        assert_eq!(waits(&constant, 3), [1000, 1000, 1000]);
    }

    #[test]
    fn jitter_is_anywhere_below_the_wait() {
        let backoff = Backoff::Exponential(Exponential::default());
        let waits: Vec<Duration> = (0..2000).map(|luck| backoff.delay(3, luck)).collect();
        let most = Duration::from_secs(4);
        assert!(waits.iter().all(|wait| *wait <= most));
        let average = waits.iter().sum::<Duration>() / 2000;
        assert!(
            average > most * 4 / 10 && average < most * 6 / 10,
            "{average:?}"
        );
        let low = waits.iter().filter(|wait| **wait < most / 10).count();
        assert!(
            (100..300).contains(&low),
            "{low} of 2000 in the lowest tenth"
        );
    }
}
