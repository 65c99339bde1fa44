//! The packet protocol of uWSGI: four bytes, then the variables of a request; the body follows as it is.
//! Not here: the answer, which is HTTP or CGI-like (see [`crate::cgi`]) and ends with the connection.

use crate::{Error, Form, Pairs};

/// `modifier1` of a request to a Python application. All other packets are orders to a uWSGI server; whoever takes
/// requests from a web server refuses them.
pub const REQUEST: u8 = 0;

/// The most that the variables of a packet can have, in bytes.
pub const MOST_VARS: usize = u16::MAX as usize;

const HEADER: usize = 4;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub modifier1: u8,
    pub modifier2: u8,
    vars: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The variables in order.
    #[must_use]
    pub const fn vars(&self) -> Vars<'a> {
        Vars(self.vars)
    }
}

/// Splits the packet off the front of `buf`: it and its length. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// The variables have more than `max` bytes, or their lengths do not add up.
pub fn decode(buf: &[u8], max: usize) -> Result<Option<(Packet<'_>, usize)>, Error> {
    let Some((&[modifier1, low, high, modifier2], rest)) = buf.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_le_bytes([low, high]));
    if len > max {
        return Err(Error::TooLarge { max });
    }
    let Some(vars) = rest.get(..len) else {
        return Ok(None);
    };
    Vars(vars).try_for_each(|pair| pair.map(drop))?;
    let packet = Packet {
        modifier1,
        modifier2,
        vars,
    };
    Ok(Some((packet, HEADER + len)))
}

/// The variables of a packet.
#[derive(Clone, Debug)]
pub struct Vars<'a>(&'a [u8]);

impl<'a> Vars<'a> {
    fn part(&mut self) -> Result<&'a [u8], Error> {
        let (len, rest) = self
            .0
            .split_first_chunk::<2>()
            .ok_or(Error::VariableLength)?;
        let (part, rest) = rest
            .split_at_checked(u16::from_le_bytes(*len).into())
            .ok_or(Error::VariableLength)?;
        self.0 = rest;
        Ok(part)
    }

    fn pair(&mut self) -> Result<(&'a [u8], &'a [u8]), Error> {
        let pair = (self.part()?, self.part()?);
        if pair.0.is_empty() || pair.0.contains(&0) {
            return Err(Error::VariableName);
        }
        Ok(pair)
    }
}

impl<'a> Iterator for Vars<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.0 = &[];
        }
        Some(pair)
    }
}

/// Appends a packet.
///
/// # Errors
/// The variables do not fit into one, which holds 65,535 bytes; `out` is then as it was.
pub fn write<'a>(
    out: &mut Vec<u8>,
    modifier1: u8,
    modifier2: u8,
    vars: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), Error> {
    let form = Form::Uwsgi {
        modifier1,
        modifier2,
    };
    let mut pairs = Pairs::new(out, form);
    pairs.all(vars);
    pairs.end()
}
