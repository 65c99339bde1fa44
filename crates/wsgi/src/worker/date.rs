//! The Date field, written out once a second.
//!
//! Not here: other clocks.

use std::time::{Instant, SystemTime};

#[derive(Debug)]
pub(super) struct DateCache {
    text: [u8; 29],
    /// Good until then.
    until: Option<Instant>,
}

impl Default for DateCache {
    fn default() -> Self {
        Self {
            text: *b"Thu, 01 Jan 1970 00:00:00 GMT",
            until: None,
        }
    }
}

impl DateCache {
    /// The date at `now` in the form of RFC 9110 section 5.6.7.
    pub(super) fn at(&mut self, now: Instant) -> &[u8; 29] {
        if self.until.is_none_or(|until| now >= until) {
            let wall = SystemTime::now();
            let text = httpdate::fmt_http_date(wall);
            if let Ok(bytes) = text.as_bytes().try_into() {
                self.text = bytes;
            }
            let nanos = wall
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.subsec_nanos());
            self.until =
                Some(now + std::time::Duration::from_nanos(1_000_000_000 - u64::from(nanos)));
        }
        &self.text
    }
}
