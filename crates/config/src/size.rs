//! Amounts of bytes as people write them: `64k`, `1MiB`, `50MB`.

use std::fmt;
use std::str::FromStr;

use crate::value::{Invalid, text_value};

/// An amount of bytes. Every unit is a power of 1024, as nginx and supervisord have it; a bare number is bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const EXPECTED: &str = "a size such as \"64k\", \"10MiB\" or a number of bytes";

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl ByteSize {
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// For sizes of things in memory; what no memory could hold becomes the largest number.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text.trim())
            .map(Self)
            .ok_or_else(|| Invalid::new(EXPECTED, text))
    }
}

fn parse(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{name}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

text_value!(ByteSize, "ByteSize", EXPECTED, {
    "description": "A size such as 64k, 10MiB or 1GB (all powers of 1024); a bare number is bytes.",
    "anyOf": [
        { "type": "string", "pattern": r"^\s*[0-9]+\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$" },
        { "type": "integer", "minimum": 0 },
    ],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match text.parse::<ByteSize>() {
            Ok(size) => {
                assert_eq!(size.to_string().parse(), Ok(size), "{text:?} comes back");
                format!("{size} = {}", size.0)
            }
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn sizes() {
        check("0", "0 = 0");
        check("100", "100 = 100");
        check("100b", "100 = 100");
        check("64k", "64KiB = 65536");
        check("64 KB", "64KiB = 65536");
        check("1MiB", "1MiB = 1048576");
        check("50MB", "50MiB = 52428800");
        check("1536k", "1536KiB = 1572864");
        check("2G", "2GiB = 2147483648");
        check("1t", "1TiB = 1099511627776");
        for bad in [
            "",
            "k",
            "-1",
            "1.5m",
            "1x",
            "1 k b",
            "99999999999999999999",
            "99999999999t",
        ] {
            check(bad, "refused");
        }
    }
}
