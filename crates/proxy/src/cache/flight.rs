//! Who fetches a key for all that wait for it. Not here: who waits, and for how long (`look`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::zone::{Held, Zone, lock};

/// A key that somebody fetches.
#[derive(Debug)]
pub(super) struct Air {
    /// Closed when the first of those who fetch it is done.
    landed: Arc<Semaphore>,
    /// When the last of them began.
    since: Instant,
}

/// The right to fetch a key; those that wait look again when it is gone.
#[derive(Debug)]
pub(crate) struct Flight {
    held: Arc<Held>,
    key: Vec<u8>,
    landed: Arc<Semaphore>,
}

/// Somebody else has it.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Closed when they are done.
    pub(super) landed: Arc<Semaphore>,
    /// When they are too slow, and another may fetch it too.
    pub(super) late: Instant,
}

impl Zone {
    /// The right to fetch a key. One who has had it for `age` is taken to be stuck, and another gets it beside them
    /// (nginx's `proxy_cache_lock_age`).
    ///
    /// # Errors
    /// Somebody has it.
    pub(crate) fn take_off(&self, key: &[u8], age: Duration) -> Result<Flight, Taken> {
        let now = Instant::now();
        let mut flights = lock(&self.held.flights);
        let landed = match flights.get_mut(key) {
            Some(other) if now < other.since + age => {
                return Err(Taken {
                    landed: Arc::clone(&other.landed),
                    late: other.since + age,
                });
            }
            Some(other) => {
                other.since = now;
                Arc::clone(&other.landed)
            }
            None => {
                let landed = Arc::new(Semaphore::new(0));
                let air = Air {
                    landed: Arc::clone(&landed),
                    since: now,
                };
                flights.insert(key.to_vec(), air);
                landed
            }
        };
        Ok(Flight {
            held: Arc::clone(&self.held),
            key: key.to_vec(),
            landed,
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = lock(&self.held.flights);
        let own = |air: &Air| Arc::ptr_eq(&air.landed, &self.landed);
        if flights.get(&self.key).is_some_and(own) {
            flights.remove(&self.key);
        }
        self.landed.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(3600);

    #[test]
    fn one_fetches_for_all() {
        let zone = Zone::new("z".to_owned(), 1 << 20, AGE, None);
        let flight = zone.take_off(b"k", AGE).unwrap();
        let waits = zone.take_off(b"k", AGE).unwrap_err();
        assert!(zone.take_off(b"other", AGE).is_ok());
        assert!(!waits.landed.is_closed());
        drop(flight);
        assert!(waits.landed.is_closed());
        assert!(zone.take_off(b"k", AGE).is_ok());
    }

    #[test]
    fn one_who_is_stuck_is_helped() {
        let zone = Zone::new("z".to_owned(), 1 << 20, AGE, None);
        let stuck = zone.take_off(b"k", AGE).unwrap();
        let waits = zone.take_off(b"k", AGE).unwrap_err();
        let second = zone.take_off(b"k", Duration::ZERO).unwrap();
        // Whoever is done first lets all go on, and a third may begin.
        drop(second);
        assert!(waits.landed.is_closed());
        let third = zone.take_off(b"k", AGE).unwrap();
        drop(stuck);
        let waits = zone.take_off(b"k", AGE).unwrap_err();
        assert!(!waits.landed.is_closed());
        drop(third);
        assert!(waits.landed.is_closed());
    }
}
