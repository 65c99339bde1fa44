//! Passwords that were right a short while ago, so that a page with fifty pictures costs one slow check and not fifty.
//!
//! What is kept is a keyed digest of password and stored hash, never the password; a changed user file makes it useless
//! at once. Not here: checking (`password`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};

use super::Check;

/// How long a check is good for.
const FRESH: Duration = Duration::from_secs(60);
const MOST: usize = 1024;

/// What one core remembers.
#[derive(Debug)]
pub(crate) struct Proven {
    key: [u8; 16],
    seen: RefCell<HashMap<[u8; 20], Instant>>,
}

impl Proven {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.hash_one(0_u8).to_ne_bytes());
        key[8..].copy_from_slice(&random.hash_one(1_u8).to_ne_bytes());
        Self {
            key,
            seen: RefCell::default(),
        }
    }

    fn digest(&self, check: &Check) -> [u8; 20] {
        let mut sha = Sha1::new();
        sha.update(self.key);
        sha.update(check.stored.len().to_ne_bytes());
        sha.update(&check.stored);
        sha.update(&check.password);
        sha.finalize().into()
    }

    /// Whether this very password was right for this very hash a short while ago.
    pub(crate) fn knows(&self, check: &Check) -> bool {
        let seen = self.seen.borrow();
        let at = seen.get(&self.digest(check));
        at.is_some_and(|at| at.elapsed() < FRESH)
    }

    pub(crate) fn remember(&self, check: &Check) {
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= MOST {
            seen.retain(|_, at| at.elapsed() < FRESH);
        }
        if seen.len() < MOST {
            seen.insert(self.digest(check), Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_and_hash() {
        let check = |stored: &str, password: &str| Check {
            user: b"anna".to_vec(),
            password: password.into(),
            stored: stored.into(),
            realm: Vec::new(),
        };
        let proven = Proven::new();
        assert!(!proven.knows(&check("hash", "secret")));
        proven.remember(&check("hash", "secret"));
        assert!(proven.knows(&check("hash", "secret")));
        assert!(!proven.knows(&check("hash", "Secret")));
        assert!(!proven.knows(&check("other", "secret")));
        assert!(!proven.knows(&check("hashs", "ecret")));
    }
}
