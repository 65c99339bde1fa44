//! Writes the variables of a request one after the other, each value appended where it will stay: neither a list of them
//! nor a copy has to be made.
//!
//! Not here: which variables a request has, or reading them (`fastcgi`, `uwsgi`, `scgi`).

use crate::Error;
use crate::fastcgi::{Kind, MOST_CONTENT, write_end_stream, write_record_head, write_stream};
use crate::uwsgi::MOST_VARS;

/// Bytes of a FastCGI record and of a uwsgi packet before what is in them.
const RECORD_HEAD: usize = 8;
const PACKET_HEAD: usize = 4;

/// What variables travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A stream of FastCGI, for the request with this number.
    FastCgi { id: u16 },
    /// A packet of uwsgi.
    Uwsgi { modifier1: u8, modifier2: u8 },
    /// A netstring of SCGI. `CONTENT_LENGTH` is written by itself, and so is `SCGI` unless it is among the variables,
    /// where it has to be 1. Pairs with a NUL, which cannot be said, are left out, as is any other `CONTENT_LENGTH`.
    Scgi { content_length: u64 },
}

/// Variables on their way into a buffer.
#[derive(Debug)]
pub struct Pairs<'a> {
    out: &'a mut Vec<u8>,
    form: Form,
    /// Where all of it begins, and where the pairs do.
    start: usize,
    content: usize,
    /// Where the pair that is open begins, its name and its value.
    pair: usize,
    name: usize,
    value: usize,
    /// `SCGI` is among them.
    has_version: bool,
}

impl<'a> Pairs<'a> {
    /// Begins behind what is in `out`.
    pub fn new(out: &'a mut Vec<u8>, form: Form) -> Self {
        let start = out.len();
        match form {
            // The length is put in when it is known.
            Form::FastCgi { .. } => out.extend_from_slice(&[0; RECORD_HEAD]),
            Form::Uwsgi {
                modifier1,
                modifier2,
            } => out.extend_from_slice(&[modifier1, 0, 0, modifier2]),
            Form::Scgi { content_length } => {
                out.extend_from_slice(b"CONTENT_LENGTH\0");
                out.extend_from_slice(content_length.to_string().as_bytes());
                out.push(0);
            }
        }
        let content = out.len();
        Self {
            out,
            form,
            start,
            content,
            pair: content,
            name: content,
            value: content,
            has_version: false,
        }
    }

    /// Begins a pair whose name will have so many bytes, which are to be appended to what is returned.
    pub fn open(&mut self, name_length: usize) -> &mut Vec<u8> {
        self.pair = self.out.len();
        match self.form {
            Form::FastCgi { .. } => {
                write_length(self.out, name_length);
                // That of the value is put in when it is known.
                self.out.push(0);
            }
            Form::Uwsgi { .. } => self.out.extend_from_slice(&short(name_length)),
            Form::Scgi { .. } => {}
        }
        self.name = self.out.len();
        self.out
    }

    /// The name of the pair that is open is there; its value is to be appended to what is returned.
    pub fn value(&mut self) -> &mut Vec<u8> {
        match self.form {
            Form::FastCgi { .. } => {}
            Form::Uwsgi { .. } => self.out.extend_from_slice(&[0; 2]),
            Form::Scgi { .. } => self.out.push(0),
        }
        self.value = self.out.len();
        self.out
    }

    /// The name of the pair that is open, before its value is asked for.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.out.get(self.name..).unwrap_or_default()
    }

    /// The pair that is open is whole.
    pub fn close(&mut self) {
        let length = self.out.len() - self.value;
        match self.form {
            Form::FastCgi { .. } => self.put_length(length),
            Form::Uwsgi { .. } => {
                // A length beyond the field is caught at the end, since the value itself is then beyond the packet.
                if let Some(place) = self.out.get_mut(self.value - 2..self.value) {
                    place.copy_from_slice(&short(length));
                }
            }
            Form::Scgi { .. } => self.check(),
        }
    }

    /// Puts the length of a value before its name.
    fn put_length(&mut self, length: usize) {
        let at = self.name - 1;
        if let (Ok(byte @ 0..=127), Some(place)) = (u8::try_from(length), self.out.get_mut(at)) {
            *place = byte;
            return;
        }
        let end = self.out.len();
        self.out.extend_from_slice(&[0; 3]);
        self.out.copy_within(self.name..end, self.name + 3);
        if let Some(place) = self.out.get_mut(at..at + 4) {
            place.copy_from_slice(&long(length));
        }
    }

    /// Leaves a pair out that SCGI does not allow.
    fn check(&mut self) {
        let name = self.out.get(self.name..self.value - 1).unwrap_or_default();
        let value = self.out.get(self.value..).unwrap_or_default();
        let is_version = name == b"SCGI";
        let wrong = (is_version && (self.has_version || value != b"1"))
            || name == b"CONTENT_LENGTH"
            || name.is_empty()
            || memchr::memchr(0, name).is_some()
            || memchr::memchr(0, value).is_some();
        if wrong {
            self.leave_out();
        } else {
            self.has_version |= is_version;
            self.out.push(0);
        }
    }

    /// The pair that is open is none.
    pub fn leave_out(&mut self) {
        self.out.truncate(self.pair);
    }

    /// A whole pair.
    pub fn pair(&mut self, name: &[u8], value: &[u8]) {
        self.open(name.len()).extend_from_slice(name);
        self.value().extend_from_slice(value);
        self.close();
    }

    /// Bytes behind the pairs of a uwsgi packet, which count as some: packets with other modifiers hold something else.
    /// The other forms have no place for them.
    pub fn behind(&mut self, bytes: &[u8]) {
        if matches!(self.form, Form::Uwsgi { .. }) {
            self.out.extend_from_slice(bytes);
        }
    }

    /// All pairs of a list.
    pub(crate) fn all<'p>(&mut self, pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>) {
        for (name, value) in pairs {
            self.pair(name, value);
        }
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// The variables do not fit into a packet of uwsgi, which holds 65,535 bytes; the buffer is then as it was.
    pub fn end(self) -> Result<(), Error> {
        let Self {
            out,
            form,
            start,
            content,
            ..
        } = self;
        match form {
            Form::FastCgi { id } => end_stream(out, start, id),
            Form::Uwsgi { .. } => {
                let Ok(length) = u16::try_from(out.len() - start - PACKET_HEAD) else {
                    out.truncate(start);
                    return Err(Error::TooLarge { max: MOST_VARS });
                };
                if let Some(place) = out.get_mut(start + 1..start + 3) {
                    place.copy_from_slice(&length.to_le_bytes());
                }
            }
            Form::Scgi { .. } => {
                if !self.has_version {
                    out.splice(content..content, *b"SCGI\x001\0");
                }
                let front = format!("{}:", out.len() - start);
                out.splice(start..start, front.into_bytes());
                out.push(b',');
            }
        }
        Ok(())
    }
}

/// Makes records of what lies behind `start` and room for the head of one, and ends the stream.
fn end_stream(out: &mut Vec<u8>, start: usize, id: u16) {
    let length = out.len() - start - RECORD_HEAD;
    if (1..=MOST_CONTENT).contains(&length) {
        let mut head = Vec::with_capacity(RECORD_HEAD);
        write_record_head(&mut head, Kind::PARAMS, id, length);
        if let Some(place) = out.get_mut(start..start + RECORD_HEAD) {
            place.copy_from_slice(&head);
        }
    } else {
        let content = out.split_off(start + RECORD_HEAD);
        out.truncate(start);
        write_stream(out, Kind::PARAMS, id, &content);
    }
    write_end_stream(out, Kind::PARAMS, id);
}

/// A length as FastCGI has it: one byte, or four with the uppermost bit set.
pub(crate) fn write_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(length @ 0..=127) => out.push(length),
        _ => out.extend_from_slice(&long(length)),
    }
}

fn long(length: usize) -> [u8; 4] {
    (length as u32 | 0x8000_0000).to_be_bytes()
}

/// A length as uwsgi has it.
fn short(length: usize) -> [u8; 2] {
    (length as u16).to_le_bytes()
}
