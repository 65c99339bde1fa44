//! The clock on the wall as it is written in heads and logs, formatted once a second; and ids for requests.
//!
//! Not here: deadlines, which go by the monotonic clock.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

/// The formatted time of one core.
#[derive(Debug)]
pub(crate) struct WallClock {
    second: Cell<u64>,
    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its line end.
    date_line: Cell<[u8; DATE_LINE]>,
    /// When `local` was formatted.
    local_second: Cell<u64>,
    /// `06/Nov/1994:08:49:37 +0000`.
    local: RefCell<String>,
}

const DATE_LINE: usize = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

impl WallClock {
    pub(crate) fn new() -> Self {
        Self {
            second: Cell::new(u64::MAX),
            date_line: Cell::new([b' '; DATE_LINE]),
            local_second: Cell::new(u64::MAX),
            local: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Appends the `Date` line.
    pub(crate) fn write_date(&self, out: &mut Vec<u8>) {
        let now = SystemTime::now();
        let second = seconds(now);
        if self.second.get() != second {
            let text = format!("Date: {}\r\n", httpdate::fmt_http_date(now));
            let mut line = [b' '; DATE_LINE];
            line.copy_from_slice(&text.as_bytes()[..DATE_LINE]);
            self.date_line.set(line);
            self.second.set(second);
        }
        out.extend_from_slice(&self.date_line.get());
    }

    /// Appends the time with the names of day and zone, as nginx's `$date_gmt` and `$date_local`. `shown` is the zone's name, or
    /// `%Z` for its own.
    pub(crate) fn write_long(&self, out: &mut Vec<u8>, zone: TimeZone, shown: &str) {
        let now = jiff::Timestamp::try_from(self.now()).unwrap_or_default();
        let zoned = now.to_zoned(zone);
        let format = format!("%A, %d-%b-%Y %H:%M:%S {shown}");
        out.extend_from_slice(zoned.strftime(&format).to_string().as_bytes());
    }

    /// Appends the time as access logs have it, in the local time zone.
    pub(crate) fn write_local(&self, out: &mut Vec<u8>) {
        let now = SystemTime::now();
        let second = seconds(now);
        let mut local = self.local.borrow_mut();
        if self.local_second.get() != second {
            local.clear();
            let zoned = jiff::Timestamp::try_from(now)
                .unwrap_or_default()
                .to_zoned(TimeZone::system());
            // Writing to a String cannot fail.
            let _ = write!(local, "{}", zoned.strftime("%d/%b/%Y:%H:%M:%S %z"));
            self.local_second.set(second);
        }
        out.extend_from_slice(local.as_bytes());
    }
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// Ids that no other request has: random where it matters, counted where it is cheap.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    counter: Cell<u64>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self {
            seed: random.hash_one(0u8),
            counter: Cell::new(random.hash_one(1u8)),
        }
    }

    /// 32 hexadecimal digits, as nginx's `$request_id`.
    pub(crate) fn next(&self) -> [u8; 32] {
        let count = self.counter.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.counter.set(count);
        let mut id = [0; 32];
        for (half, value) in [mix(count), mix(count ^ self.seed)].into_iter().enumerate() {
            for place in 0..16 {
                let nibble = (value >> (60 - place * 4)) & 15;
                id[half * 16 + place] = b"0123456789abcdef"[nibble as usize];
            }
        }
        id
    }
}

/// The finaliser of splitmix64: every input bit changes half of the output bits.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_line() {
        let clock = WallClock::new();
        let mut out = Vec::new();
        clock.write_date(&mut out);
        clock.write_date(&mut out);
        let text = String::from_utf8(out).unwrap();
        let (first, second) = text.split_at(DATE_LINE);
        assert!(
            first.starts_with("Date: ") && first.ends_with(" GMT\r\n") && second.len() == DATE_LINE
        );
        assert!(httpdate::parse_http_date(first[6..].trim()).is_ok());
    }

    #[test]
    fn local_time() {
        let clock = WallClock::new();
        let mut out = Vec::new();
        clock.write_local(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.len(), "06/Nov/1994:08:49:37 +0000".len(), "{text}");
    }

    #[test]
    fn ids_differ() {
        let ids = Ids::new();
        let (a, b) = (ids.next(), ids.next());
        assert_ne!(a, b);
        assert_ne!(a[..16], a[16..]);
        assert!(a.iter().all(u8::is_ascii_hexdigit));
    }
}
