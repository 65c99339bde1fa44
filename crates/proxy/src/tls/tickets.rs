//! Session tickets: keys that all cores share, that outlive a reload, and that are changed and forgotten.
//!
//! A ticket is a key's name, a nonce, and the session with the time it was made, encrypted (AES-256-GCM). Servers with
//! different certificates or demands have different keys, so that no session is taken from one to another. Not here:
//! sessions kept in memory, which rustls does.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;

use super::TlsError;
use crate::config::TlsRules;

const NAME: usize = 16;
const TIME: usize = 8;
/// Lengths of nginx's key files: a name and keys for AES-128 or AES-256.
const FILE_LENGTHS: [usize; 2] = [48, 80];
/// How long a key makes tickets: as long as they live, within these bounds.
const SHORTEST_TERM: Duration = Duration::from_secs(3600);
const LONGEST_TERM: Duration = Duration::from_secs(24 * 3600);

/// The keys of all servers, by what they are for. It outlives configurations.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    keys: Mutex<HashMap<TlsRules, Arc<Keys>>>,
}

impl Keyring {
    /// The keys for servers with these rules: those that there are already, or new ones.
    pub(super) fn tickets(&self, rules: &TlsRules) -> Result<Arc<dyn ProducesTickets>, TlsError> {
        let term = rules.session_time.clamp(SHORTEST_TERM, LONGEST_TERM);
        let lifetime = rules.session_time.min(LONGEST_TERM);
        if !rules.ticket_keys.is_empty() {
            let keys: Result<Vec<_>, _> = rules.ticket_keys.iter().map(read).collect();
            return Ok(Arc::new(Tickets {
                keys: Arc::new(Keys {
                    held: Mutex::new(Held {
                        keys: keys?,
                        since: Instant::now(),
                    }),
                    term: None,
                }),
                lifetime,
            }));
        }
        let mut all = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = match all.get(rules) {
            Some(keys) => Arc::clone(keys),
            None => {
                let key = Key::new().ok_or_else(|| {
                    TlsError::Setup("the kernel gives no random bytes".to_owned())
                })?;
                let keys = Arc::new(Keys {
                    held: Mutex::new(Held {
                        keys: vec![key],
                        since: Instant::now(),
                    }),
                    term: Some(term),
                });
                all.insert(rules.clone(), Arc::clone(&keys));
                keys
            }
        };
        Ok(Arc::new(Tickets { keys, lifetime }))
    }

    /// Forgets the keys that no server has any more.
    pub(super) fn keep(&self, rules: &[&TlsRules]) {
        let mut all = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known, _| rules.contains(&known));
    }
}

/// The keys of some servers; the first makes tickets.
#[derive(Debug)]
struct Keys {
    held: Mutex<Held>,
    /// How long each makes tickets; `None`: for ever, because others have them too.
    term: Option<Duration>,
}

#[derive(Debug)]
struct Held {
    keys: Vec<Arc<Key>>,
    since: Instant,
}

impl Keys {
    /// The keys as they are now.
    fn now(&self) -> Vec<Arc<Key>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if self.term.is_some_and(|term| held.since.elapsed() >= term)
            && let Some(key) = Key::new()
        {
            held.keys.insert(0, key);
            // Tickets of the one before it live no longer than it has made them.
            held.keys.truncate(2);
            held.since = Instant::now();
        }
        held.keys.clone()
    }
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Key {
    fn new() -> Option<Arc<Self>> {
        let random = SystemRandom::new();
        let (mut name, mut bytes) = ([0; NAME], [0; 32]);
        random.fill(&mut name).ok()?;
        random.fill(&mut bytes).ok()?;
        Self::from(name, &bytes)
    }

    fn from(name: [u8; NAME], bytes: &[u8]) -> Option<Arc<Self>> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        Some(Arc::new(Self { name, key }))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

fn read(path: &PathBuf) -> Result<Arc<Key>, TlsError> {
    let file = |why: String| TlsError::File {
        path: path.clone(),
        why,
    };
    let bytes = std::fs::read(path).map_err(|error| file(error.to_string()))?;
    let key = match bytes.first_chunk::<NAME>() {
        Some(name) if FILE_LENGTHS.contains(&bytes.len()) => {
            Key::from(*name, digest::digest(&digest::SHA256, &bytes).as_ref())
        }
        _ => None,
    };
    key.ok_or_else(|| file(format!("it has {} bytes and not 48 or 80", bytes.len())))
}

#[derive(Debug)]
struct Tickets {
    keys: Arc<Keys>,
    lifetime: Duration,
}

fn unix_time() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

impl Tickets {
    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.now();
        let key = keys.iter().find(|key| key.name == *name)?;
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .key
            .open_in_place(nonce, Aad::from(name), &mut bytes)
            .ok()?;
        let (made, session) = plain.split_first_chunk::<TIME>()?;
        let age = now.saturating_sub(u64::from_be_bytes(*made));
        (age <= self.lifetime.as_secs()).then(|| session.to_vec())
    }

    fn seal(&self, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let keys = self.keys.now();
        let key = keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut ticket = [&key.name[..], &nonce].concat();
        let mut bytes = [&now.to_be_bytes()[..], session].concat();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.key
            .seal_in_place_append_tag(nonce, Aad::from(&key.name), &mut bytes)
            .ok()?;
        ticket.extend_from_slice(&bytes);
        Some(ticket)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, unix_time())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, unix_time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(term: Option<Duration>, since: Instant) -> Tickets {
        Tickets {
            keys: Arc::new(Keys {
                held: Mutex::new(Held {
                    keys: vec![Key::new().unwrap()],
                    since,
                }),
                term,
            }),
            lifetime: Duration::from_secs(300),
        }
    }

    #[test]
    fn tickets_are_opened_as_long_as_they_live() {
        let tickets = tickets(None, Instant::now());
        let ticket = tickets.seal(b"session", 1000).unwrap();
        assert_eq!(tickets.open(&ticket, 1000).unwrap(), b"session");
        assert_eq!(tickets.open(&ticket, 1300).unwrap(), b"session");
        assert_eq!(tickets.open(&ticket, 1301), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.open(&changed, 1000), None, "byte {at}");
            assert_eq!(tickets.open(&ticket[..at], 1000), None, "cut at {at}");
        }
    }

    #[test]
    fn keys_are_changed_and_forgotten() {
        let hour = Duration::from_secs(3600);
        let tickets = tickets(Some(hour), Instant::now());
        let age = |tickets: &Tickets| {
            let mut held = tickets.keys.held.lock().unwrap();
            held.since = held.since.checked_sub(hour).unwrap();
        };
        let first = tickets.seal(b"1", 0).unwrap();
        age(&tickets);
        let second = tickets.seal(b"2", 0).unwrap();
        assert_ne!(first[..NAME], second[..NAME]);
        assert!(tickets.open(&first, 0).is_some() && tickets.open(&second, 0).is_some());
        age(&tickets);
        assert!(tickets.open(&first, 0).is_none() && tickets.open(&second, 0).is_some());
    }
}
