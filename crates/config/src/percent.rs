//! `%(name)s` in texts, as supervisord's configuration has it: Python's formatting with names.
//! Not here: which names there are (the caller says).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
}

/// Names and what they stand for.
pub type Names = BTreeMap<String, Value>;

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("%({name}) is not known here; {known}")]
    Unknown {
        name: String,
        /// A sentence that says what is.
        known: Known,
    },
    #[error("a % that begins nothing: {found:?}; write %% for a percent sign, %(NAME)s for a name")]
    Malformed { found: String },
    #[error("%({name}){conversion} wants a number, and it is a text; write %({name})s")]
    NotANumber { name: String, conversion: char },
}

/// The names there are; those of the environment are only counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known(Vec<String>);

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (env, own): (Vec<&String>, Vec<&String>) =
            self.0.iter().partition(|name| name.starts_with("ENV_"));
        let own: Vec<&str> = own.into_iter().map(String::as_str).collect();
        write!(
            f,
            "there are {} and {} variables as ENV_NAME",
            own.join(", "),
            env.len()
        )
    }
}

/// Fills names in; the first of `layers` that has one counts.
///
/// # Errors
/// The first thing that is wrong.
pub fn expand(text: &str, layers: &[&Names]) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("%%") {
            out.push('%');
            rest = after;
            continue;
        }
        let spec = Spec::read(rest).ok_or_else(|| ExpandError::Malformed {
            found: rest.chars().take(20).collect(),
        })?;
        let value = layers.iter().find_map(|names| names.get(spec.name));
        let value = value.ok_or_else(|| {
            let known: BTreeSet<&String> = layers.iter().flat_map(|names| names.keys()).collect();
            ExpandError::Unknown {
                name: spec.name.to_owned(),
                known: Known(known.into_iter().cloned().collect()),
            }
        })?;
        out.push_str(&spec.format(value)?);
        rest = spec.rest;
    }
    out.push_str(rest);
    Ok(out)
}

/// `%(name)-05.3d`.
struct Spec<'a> {
    name: &'a str,
    flags: &'a str,
    width: usize,
    precision: Option<usize>,
    conversion: char,
    rest: &'a str,
}

/// More than this is a mistake and not a width.
const WIDEST: usize = 1000;

impl<'a> Spec<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (name, rest) = text.strip_prefix("%(")?.split_once(')')?;
        let (flags, rest) = take(rest, |c| "-+ 0#".contains(c));
        let (width, rest) = take(rest, |c| c.is_ascii_digit());
        let (precision, rest) = match rest.strip_prefix('.') {
            Some(rest) => {
                let (digits, rest) = take(rest, |c| c.is_ascii_digit());
                (Some(number(digits)?), rest)
            }
            None => (None, rest),
        };
        let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let conversion = rest.chars().next()?;
        if !"sdiuxXor".contains(conversion) {
            return None;
        }
        Some(Self {
            name,
            flags,
            width: number(width)?,
            precision,
            conversion,
            rest: &rest[conversion.len_utf8()..],
        })
    }

    fn format(&self, value: &Value) -> Result<String, ExpandError> {
        let text = match (self.conversion, value) {
            ('s', Value::Text(text)) => self.cut(text.clone()),
            ('r', Value::Text(text)) => self.cut(format!("'{text}'")),
            ('s' | 'r', Value::Number(number)) => self.cut(number.to_string()),
            (_, Value::Number(number)) => return Ok(self.number(*number)),
            (conversion, Value::Text(_)) => {
                return Err(ExpandError::NotANumber {
                    name: self.name.to_owned(),
                    conversion,
                });
            }
        };
        Ok(self.pad(text, ' '))
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    fn number(&self, number: i64) -> String {
        let size = number.unsigned_abs();
        let prefixed = self.flags.contains('#');
        let (digits, prefix) = match self.conversion {
            'x' => (format!("{size:x}"), "0x"),
            'X' => (format!("{size:X}"), "0X"),
            'o' => (format!("{size:o}"), "0o"),
            _ => (size.to_string(), ""),
        };
        let sign = match (number < 0, self.flags) {
            (true, _) => "-",
            (false, flags) if flags.contains('+') => "+",
            (false, flags) if flags.contains(' ') => " ",
            (false, _) => "",
        };
        let head = format!("{sign}{}", if prefixed { prefix } else { "" });
        let least = self.precision.unwrap_or(1);
        let digits = format!("{digits:0>least$}");
        if self.flags.contains('0') && !self.flags.contains('-') {
            let width = self.width.saturating_sub(head.len());
            return format!("{head}{digits:0>width$}");
        }
        self.pad(format!("{head}{digits}"), ' ')
    }

    fn pad(&self, text: String, with: char) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let filling: String = std::iter::repeat_n(with, missing).collect();
        if self.flags.contains('-') {
            text + &filling
        } else {
            filling + &text
        }
    }
}

fn take(text: &str, mut wanted: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

fn number(digits: &str) -> Option<usize> {
    let number = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    Some(number).filter(|number| *number <= WIDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let names = Names::from([
            ("here".to_owned(), Value::Text("/etc".to_owned())),
            ("ENV_A".to_owned(), Value::Text("é1".to_owned())),
            ("n".to_owned(), Value::Number(7)),
            ("m".to_owned(), Value::Number(-300)),
        ]);
        let got = expand(text, &[&names]).unwrap_or_else(|err| format!("error: {err}"));
        assert_eq!(got, want, "{text:?}");
    }

    /// Each of these was tried with Python.
    #[test]
    fn expansions() {
        check("", "");
        check("plain", "plain");
        check("%(here)s/x%(n)d", "/etc/x7");
        check("100%%", "100%");
        check(
            "%(n)02d|%(n)5d|%(n)-5d|%(n)05d|%(n)+d",
            "07|    7|7    |00007|+7",
        );
        check(
            "%(m)d|%(m)06d|%(m)x|%(m)#X|%(m)o",
            "-300|-00300|-12c|-0X12C|-454",
        );
        check("%(n).3d|%(n)6.3d|%(n)s|%(n)ld", "007|   007|7|7");
        check(
            "%(here)6s|%(here)-6s|%(here).2s|%(ENV_A)4s",
            "  /etc|/etc  |/e|  é1",
        );
        check(
            "%(there)s",
            "error: %(there) is not known here; there are here, m, n and 1 variables as ENV_NAME",
        );
        check(
            "%(here)d",
            "error: %(here)d wants a number, and it is a text; write %(here)s",
        );
        for bad in [
            "50% of",
            "%",
            "%(here",
            "%(here)",
            "%(here)q",
            "%s",
            "%(n)99999d",
        ] {
            let names = Names::from([
                ("here".to_owned(), Value::Text("/".to_owned())),
                ("n".to_owned(), Value::Number(1)),
            ]);
            let refused = matches!(expand(bad, &[&names]), Err(ExpandError::Malformed { .. }));
            assert!(refused, "{bad:?}");
        }
    }
}
