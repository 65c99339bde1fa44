//! What may be sent again when an upstream connection fails. Pure.
//!
//! A request is never done twice unless doing it twice is the same as doing it once (RFC 9110 section 9.2.2).

/// Connections that turned out to be closed cost nothing; so many are tried before giving up.
const MAX_UNSENT: u32 = 64;
/// Requests that an upstream may have seen are sent again this often at most: one of them might be what kills it.
const MAX_RESENT: u32 = 2;

/// What is known about an attempt that failed before any byte of an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Not one byte was accepted by the kernel, so the upstream cannot have begun.
    Unsent,
    /// The upstream may have begun with it.
    Unanswered,
}

/// Counts the attempts of one request.
#[derive(Debug)]
pub(crate) struct Retries {
    /// Doing the request twice is the same as doing it once, and all of its body is still here.
    repeatable: bool,
    unsent: u32,
    resent: u32,
}

impl Retries {
    /// `body_held`: the request has no body, or all of it is still in memory.
    pub(crate) fn new(method: &str, body_held: bool) -> Self {
        let idempotent = matches!(
            method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        );
        Self {
            repeatable: idempotent && body_held,
            unsent: 0,
            resent: 0,
        }
    }

    /// Whether to try once more. `reused`: the connection had served a request before.
    pub(crate) fn again(&mut self, lost: Lost, reused: bool) -> bool {
        match lost {
            Lost::Unsent if reused => {
                self.unsent += 1;
                self.unsent <= MAX_UNSENT
            }
            Lost::Unsent | Lost::Unanswered => {
                self.resent += 1;
                self.repeatable && self.resent <= MAX_RESENT
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, body_held: bool, lost: Lost, reused: bool, want: u32) {
        let mut retries = Retries::new(method, body_held);
        let count = (0..1000)
            .take_while(|_| retries.again(lost, reused))
            .count();
        assert_eq!(
            count, want as usize,
            "{method} {body_held} {lost:?} {reused}"
        );
    }

    #[test]
    fn rules() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            check(method, true, Lost::Unanswered, true, MAX_RESENT);
            check(method, true, Lost::Unanswered, false, MAX_RESENT);
            check(method, false, Lost::Unanswered, true, 0);
            check(method, true, Lost::Unsent, true, MAX_UNSENT);
        }
        for method in ["POST", "PATCH", "LOCK", "PROPFIND", "get"] {
            check(method, true, Lost::Unanswered, true, 0);
            check(method, true, Lost::Unanswered, false, 0);
            check(method, true, Lost::Unsent, false, 0);
            check(method, false, Lost::Unsent, true, MAX_UNSENT);
        }
    }
}
