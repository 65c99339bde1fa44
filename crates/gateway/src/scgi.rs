//! SCGI: the variables of a request in one netstring, then the body.
//! Not here: the answer (see [`crate::cgi`]), which ends with the connection.

use crate::{Error, Form, Pairs};

/// More digits than this are not read.
const MOST_DIGITS: usize = 9;

/// Splits a request's head off the front of `buf`: its variables and its length. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// It is no netstring, has more than `max` bytes, or its variables are not those of SCGI 1.
pub fn decode(buf: &[u8], max: usize) -> Result<Option<(Vars<'_>, usize)>, Error> {
    let digits = buf
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(buf.len());
    let (number, rest) = buf.split_at(digits);
    if digits > MOST_DIGITS || (digits > 1 && buf.starts_with(b"0")) {
        return Err(Error::NetstringLength);
    }
    match rest.first() {
        None => return Ok(None),
        Some(b':') if digits > 0 => {}
        Some(_) => return Err(Error::NetstringLength),
    }
    let len = number
        .iter()
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    if len > max {
        return Err(Error::TooLarge { max });
    }
    let end = digits + 1 + len;
    let Some(&comma) = buf.get(end) else {
        return Ok(None);
    };
    if comma != b',' {
        return Err(Error::NetstringEnd);
    }
    let vars = Vars(buf.get(digits + 1..end).unwrap_or_default());
    check(vars.clone())?;
    Ok(Some((vars, end + 1)))
}

fn check(vars: Vars<'_>) -> Result<(), Error> {
    let mut versions = 0;
    for (index, pair) in vars.enumerate() {
        let (name, value) = pair?;
        let is_length = name == b"CONTENT_LENGTH";
        if is_length != (index == 0) {
            return Err(Error::ScgiHead);
        }
        if is_length && (value.is_empty() || !value.iter().all(u8::is_ascii_digit)) {
            return Err(Error::ContentLength);
        }
        if name == b"SCGI" {
            versions += if value == b"1" { 1 } else { 2 };
        }
    }
    if versions == 1 {
        Ok(())
    } else {
        Err(Error::ScgiHead)
    }
}

/// The variables of a request.
#[derive(Clone, Debug)]
pub struct Vars<'a>(&'a [u8]);

impl<'a> Vars<'a> {
    fn part(&mut self) -> Result<&'a [u8], Error> {
        let end = memchr::memchr(0, self.0).ok_or(Error::VariableLength)?;
        let (part, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(part)
    }
}

impl<'a> Iterator for Vars<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = self.part().and_then(|name| Ok((name, self.part()?)));
        let pair = pair.and_then(|pair| match pair.0 {
            [] => Err(Error::VariableName),
            _ => Ok(pair),
        });
        if pair.is_err() {
            self.0 = &[];
        }
        Some(pair)
    }
}

/// Appends a request's head. CONTENT_LENGTH is written here, and so is SCGI unless it is among `vars`, which has to be
/// 1. Pairs with a NUL, which cannot be said, are left out, as is any other CONTENT_LENGTH.
pub fn write<'a>(
    out: &mut Vec<u8>,
    content_length: u64,
    vars: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    let mut pairs = Pairs::new(out, Form::Scgi { content_length });
    pairs.all(vars);
    // Only a packet of uwsgi can be too small.
    _ = pairs.end();
}
