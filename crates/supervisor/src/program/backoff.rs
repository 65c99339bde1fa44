//! How long to wait before the next attempt to start a process. Not here: counting the attempts (see `state`).

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The rule by which waiting times grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// supervisord's: one step more after each failed attempt, without a cap.
    Linear { step: Duration },
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Linear {
            step: Duration::from_secs(1),
        }
    }
}

impl Backoff {
    /// The wait after the `attempt`-th failure in a row; the first failure is attempt 1.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        match self {
            Self::Linear { step } => step.saturating_mul(attempt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_grows_by_one_step_an_attempt() {
        let waits: Vec<u64> = (1..=4)
            .map(|n| Backoff::default().delay(n).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 3, 4]);
    }
}
