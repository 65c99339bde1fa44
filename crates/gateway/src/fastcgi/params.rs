//! Name-value pairs: variables of a request, and the questions and answers about the application.
//! Not here: the records around them.

use crate::Error;
use crate::pairs::write_length;

/// The pairs in a stream of variables that is there as a whole.
#[derive(Clone, Debug)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    #[must_use]
    pub const fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    fn split(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (part, rest) = self.0.split_at_checked(len).ok_or(Error::VariableLength)?;
        self.0 = rest;
        Ok(part)
    }

    /// One byte, or four with the uppermost bit set.
    fn len(&mut self) -> Result<usize, Error> {
        match *self.split(1)? {
            [byte @ 0..=127] => Ok(byte.into()),
            [byte, ..] => match *self.split(3)? {
                [b, c, d] => Ok(u32::from_be_bytes([byte & 0x7f, b, c, d]) as usize),
                _ => Err(Error::VariableLength),
            },
            [] => Err(Error::VariableLength),
        }
    }

    fn pair(&mut self) -> Result<(&'a [u8], &'a [u8]), Error> {
        let (name, value) = (self.len()?, self.len()?);
        let pair = (self.split(name)?, self.split(value)?);
        if pair.0.is_empty() || pair.0.contains(&0) {
            return Err(Error::VariableName);
        }
        Ok(pair)
    }
}

impl<'a> Iterator for Params<'a> {
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

/// Appends one pair.
pub fn write_param(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write_length(out, name.len());
    write_length(out, value.len());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}
