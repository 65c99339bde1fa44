//! What checks say of a server, taken together. Pure: results come in, the state and what to do come out.
//!
//! Not here: checking (see `probe`), or when (see `monitor`).

use crate::config::HealthCheck;

/// How a server stands by its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Health {
    /// There are no checks, or none has ended yet and that is no reason not to ask it.
    Unknown,
    /// It is not asked before it has passed.
    Checking,
    Up,
    Down,
}

/// A change that others should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is asked from now on.
    Up,
    /// It is asked no more.
    Down,
}

/// A server's results so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) health: Health,
    /// Results on end that speak against the state.
    pub(super) against: u32,
}

impl Health {
    /// Whether requests may go to it.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Unknown | Self::Up)
    }

    /// As it is called outside.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Checking => "checking",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Checking,
            2 => Self::Up,
            3 => Self::Down,
            _ => Self::Unknown,
        }
    }

    /// What a server begins with. What is known from before holds.
    pub(crate) fn at_start(check: Option<&HealthCheck>, before: Self) -> Self {
        match (check, before) {
            (None, _) => Self::Unknown,
            (Some(_), Self::Up | Self::Down) => before,
            (Some(check), Self::Unknown | Self::Checking) if check.mandatory => Self::Checking,
            (Some(_), Self::Unknown | Self::Checking) => Self::Unknown,
        }
    }
}

/// A check has ended.
#[must_use]
pub(super) fn step(course: Course, passed: bool, check: &HealthCheck) -> (Course, Option<Change>) {
    let begin = |health| Course { health, against: 0 };
    let more = Course {
        against: course.against + 1,
        ..course
    };
    match (course.health, passed) {
        (Health::Up, true) | (Health::Down, false) => (begin(course.health), None),
        // The first success says what was taken for granted.
        (Health::Unknown, true) => (begin(Health::Up), None),
        (Health::Down | Health::Checking, true) if more.against >= check.passes => {
            (begin(Health::Up), Some(Change::Up))
        }
        (Health::Up | Health::Unknown, false) if more.against >= check.fails => {
            (begin(Health::Down), Some(Change::Down))
        }
        (Health::Down | Health::Checking, true) | (Health::Up | Health::Unknown, false) => {
            (more, None)
        }
        // Nobody asked it before, and nobody does now.
        (Health::Checking, false) => (begin(Health::Down), Some(Change::Down)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(start: Health, fails: u32, passes: u32, results: &str, want: &str) {
        let rules = HealthCheck {
            fails,
            passes,
            ..HealthCheck::new("a")
        };
        let mut course = Course {
            health: start,
            against: 0,
        };
        let mut got = String::new();
        for result in results.bytes() {
            let (next, change) = step(course, result == b'+', &rules);
            course = next;
            got.push(match change {
                None => '.',
                Some(Change::Up) => 'U',
                Some(Change::Down) => 'D',
            });
        }
        got.push_str(course.health.word());
        assert_eq!(got, want, "{results}");
    }

    #[test]
    fn thresholds() {
        check(Health::Unknown, 1, 1, "+", ".up");
        check(Health::Unknown, 1, 1, "-", "Ddown");
        check(Health::Unknown, 3, 2, "--+--", ".....up");
        check(Health::Unknown, 3, 2, "---+-++", "..D...Uup");
        check(Health::Up, 2, 1, "-+--+", "...DUup");
        check(Health::Checking, 3, 2, "+", ".checking");
        check(Health::Checking, 3, 2, "++", ".Uup");
        check(Health::Checking, 3, 2, "-++", "D.Uup");
    }

    #[test]
    fn beginnings() {
        let plain = HealthCheck::new("a");
        let strict = HealthCheck {
            mandatory: true,
            ..plain.clone()
        };
        assert_eq!(Health::at_start(None, Health::Down), Health::Unknown);
        assert_eq!(
            Health::at_start(Some(&plain), Health::Unknown),
            Health::Unknown
        );
        assert_eq!(
            Health::at_start(Some(&strict), Health::Unknown),
            Health::Checking
        );
        for check in [&plain, &strict] {
            assert_eq!(Health::at_start(Some(check), Health::Down), Health::Down);
            assert_eq!(Health::at_start(Some(check), Health::Up), Health::Up);
        }
        assert_eq!(
            Health::at_start(Some(&plain), Health::Checking),
            Health::Unknown
        );
    }
}
