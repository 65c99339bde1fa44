//! What may be sent again when a server fails a request. Pure.
//!
//! A request is never done twice unless doing it twice is the same as doing it once (RFC 9110 section 9.2.2), or the
//! configuration says so. Beyond that the rules are those of nginx's `proxy_next_upstream`. Not here: choosing the next
//! server.

use std::time::Duration;

use crate::config::NextUpstream;

/// Connections that turned out to be closed cost nothing; so many are tried before giving up.
const MAX_UNSENT: u32 = 64;
/// A lone server may be many processes behind one address, one of which was just replaced: requests that it may have
/// seen are sent again this often at most, because one of them might be what kills it.
const MAX_RESENT: u32 = 2;

/// How an attempt failed before anything of an answer went to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// There was no connection to be had.
    Connect,
    ConnectTimeout,
    /// Not one byte was accepted by the kernel, so the server cannot have begun.
    Unsent,
    /// The server may have begun with it.
    Unanswered,
    /// It began to answer.
    CutHead,
    Timeout,
    /// What came is no answer.
    BadHead,
    /// The server has said that it did not take the request.
    Declined,
    /// The answer has a status that may lead on.
    Status(u16),
}

/// Counts the attempts of one request.
#[derive(Debug)]
pub(crate) struct Retries<'a> {
    policy: &'a NextUpstream,
    /// Doing the request twice is the same as doing it once, or was allowed, and all of its body is still here.
    repeatable: bool,
    body_held: bool,
    servers: u32,
    made: u32,
    unsent: u32,
    resent: u32,
}

impl<'a> Retries<'a> {
    /// `body_held`: the request has no body, or all of it is still here. `servers` is how many may be tried.
    pub(crate) fn new(
        policy: &'a NextUpstream,
        method: &str,
        body_held: bool,
        servers: usize,
    ) -> Self {
        let idempotent = matches!(
            method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        );
        Self {
            policy,
            repeatable: (idempotent || policy.non_idempotent) && body_held,
            body_held,
            servers: u32::try_from(servers).unwrap_or(u32::MAX),
            made: 0,
            unsent: 0,
            resent: 0,
        }
    }

    /// Whether to try once more. `reused`: the connection had served a request before. `after`: since the first
    /// attempt began.
    pub(crate) fn again(&mut self, lost: Lost, reused: bool, after: Duration) -> bool {
        if lost == Lost::Unsent && reused {
            self.unsent += 1;
            return self.unsent <= MAX_UNSENT;
        }
        self.made += 1;
        let mut most = self.servers;
        if lost == Lost::Unanswered || lost == Lost::Unsent {
            self.resent += 1;
            if reused && self.resent <= MAX_RESENT {
                // An old connection says little about its server.
                self.made -= 1;
            }
            most = most.max(MAX_RESENT + 1);
        }
        if self.policy.tries > 0 {
            most = most.min(self.policy.tries);
        }
        let wanted = match lost {
            Lost::Connect | Lost::Unsent | Lost::Unanswered | Lost::CutHead | Lost::Declined => {
                self.policy.error
            }
            Lost::ConnectTimeout | Lost::Timeout => self.policy.timeout,
            Lost::BadHead => self.policy.invalid_header,
            Lost::Status(status) => self.policy.has_status(status),
        };
        let unseen = matches!(lost, Lost::Connect | Lost::ConnectTimeout)
            || (lost == Lost::Declined && self.body_held);
        wanted
            && self.made < most
            && (unseen || self.repeatable)
            && (self.policy.within.is_zero() || after < self.policy.within)
    }

    /// Whether all servers may be gone through once more, because they are only being replaced or are busy.
    pub(crate) fn may_wait(&self, after: Duration) -> bool {
        self.policy.error
            && self.policy.tries == 0
            && (self.policy.within.is_zero() || after < self.policy.within)
    }

    /// Another round begins.
    pub(crate) fn new_round(&mut self) {
        self.made = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: &NextUpstream, ask: (&str, bool, usize), lost: Lost, reused: bool, want: u32) {
        let (method, body_held, servers) = ask;
        let mut retries = Retries::new(policy, method, body_held, servers);
        let count = (0..1000)
            .take_while(|_| retries.again(lost, reused, Duration::from_secs(1)))
            .count();
        assert_eq!(
            count, want as usize,
            "{method} {body_held} {servers} {lost:?} {reused} {policy:?}"
        );
    }

    #[test]
    fn a_lone_server() {
        let policy = NextUpstream::default();
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            check(
                &policy,
                (method, true, 1),
                Lost::Unanswered,
                false,
                MAX_RESENT,
            );
            check(&policy, (method, false, 1), Lost::Unanswered, true, 0);
            check(&policy, (method, true, 1), Lost::Unsent, true, MAX_UNSENT);
            check(&policy, (method, true, 1), Lost::Timeout, false, 0);
            check(&policy, (method, true, 1), Lost::Connect, false, 0);
        }
        for method in ["POST", "PATCH", "LOCK", "PROPFIND", "get"] {
            check(&policy, (method, true, 1), Lost::Unanswered, true, 0);
            check(&policy, (method, true, 1), Lost::Unanswered, false, 0);
            check(&policy, (method, true, 1), Lost::Unsent, false, 0);
            check(&policy, (method, false, 1), Lost::Unsent, true, MAX_UNSENT);
        }
    }

    #[test]
    fn each_server_once() {
        let policy = NextUpstream::default();
        check(&policy, ("GET", true, 4), Lost::Connect, false, 3);
        check(&policy, ("GET", true, 4), Lost::Timeout, false, 3);
        check(&policy, ("POST", false, 4), Lost::Connect, false, 3);
        check(&policy, ("POST", false, 4), Lost::ConnectTimeout, false, 3);
        check(&policy, ("POST", true, 4), Lost::Timeout, false, 0);
        check(&policy, ("POST", true, 4), Lost::Declined, false, 3);
        check(&policy, ("GET", false, 4), Lost::Declined, false, 0);
        check(&policy, ("GET", true, 4), Lost::BadHead, false, 0);
        check(&policy, ("GET", true, 4), Lost::Status(502), false, 0);
    }

    #[test]
    fn what_the_configuration_says() {
        let bad_gateway = NextUpstream {
            statuses: 2,
            invalid_header: true,
            ..NextUpstream::default()
        };
        check(&bad_gateway, ("GET", true, 3), Lost::Status(502), false, 2);
        check(&bad_gateway, ("GET", true, 3), Lost::Status(503), false, 0);
        check(&bad_gateway, ("GET", true, 3), Lost::BadHead, false, 2);
        check(&bad_gateway, ("POST", true, 3), Lost::Status(502), false, 0);
        let bold = NextUpstream {
            non_idempotent: true,
            ..bad_gateway
        };
        check(&bold, ("POST", true, 3), Lost::Status(502), false, 2);
        check(&bold, ("POST", false, 3), Lost::Status(502), false, 0);
        let few = NextUpstream {
            tries: 2,
            ..NextUpstream::default()
        };
        check(&few, ("GET", true, 9), Lost::Connect, false, 1);
        check(&few, ("GET", true, 1), Lost::Unanswered, false, 1);
        let soon = NextUpstream {
            within: Duration::from_secs(1),
            ..NextUpstream::default()
        };
        check(&soon, ("GET", true, 9), Lost::Connect, false, 0);
        let off = NextUpstream {
            error: false,
            timeout: false,
            ..NextUpstream::default()
        };
        check(&off, ("GET", true, 9), Lost::Connect, false, 0);
        check(&off, ("GET", true, 9), Lost::Timeout, false, 0);
        check(&off, ("GET", true, 9), Lost::Unsent, true, MAX_UNSENT);
    }
}
