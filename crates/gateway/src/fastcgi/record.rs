//! Records: the frames that everything travels in.
//! Not here: which record may follow which (`server`, `client`).

use crate::{Error, Form, Pairs};

const VERSION: u8 = 1;
const HEADER: usize = 8;
/// The content of one record when we split: the most that is a multiple of eight.
pub const MOST_CONTENT: usize = 65_528;
/// Records that are no streams are small. The specification allows more, nobody sends more.
const MOST_WHOLE: usize = 4096;
const KEEP_CONN: u8 = 1;

/// The type of a record (specification, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    pub const BEGIN_REQUEST: Self = Self(1);
    pub const ABORT_REQUEST: Self = Self(2);
    pub const END_REQUEST: Self = Self(3);
    pub const PARAMS: Self = Self(4);
    pub const STDIN: Self = Self(5);
    pub const STDOUT: Self = Self(6);
    pub const STDERR: Self = Self(7);
    pub const DATA: Self = Self(8);
    pub const GET_VALUES: Self = Self(9);
    pub const GET_VALUES_RESULT: Self = Self(10);
    pub const UNKNOWN_TYPE: Self = Self(11);

    /// Its records are parts of a stream that an empty one ends.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self.0, 4..=8)
    }
}

/// What the application is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Responder,
    Authorizer,
    /// Filter, or one that does not exist.
    Other(u16),
}

impl Role {
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Responder,
            2 => Self::Authorizer,
            other => Self::Other(other),
        }
    }

    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Responder => 1,
            Self::Authorizer => 2,
            Self::Other(number) => number,
        }
    }
}

/// How a request ended, as far as the protocol goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProtocolStatus {
    Complete = 0,
    /// It already has a request on this connection.
    CannotMultiplex = 1,
    /// Try elsewhere, or later.
    Overloaded = 2,
    UnknownRole = 3,
}

impl ProtocolStatus {
    pub(super) const fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Complete),
            1 => Ok(Self::CannotMultiplex),
            2 => Ok(Self::Overloaded),
            3 => Ok(Self::UnknownRole),
            other => Err(Error::ProtocolStatus(other)),
        }
    }
}

/// A part of what a peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// More of a stream, as much of the record as has arrived.
    Data { kind: Kind, id: u16, data: &'a [u8] },
    /// The end of a stream.
    End { kind: Kind, id: u16 },
    /// A whole record that is not part of a stream.
    Whole {
        kind: Kind,
        id: u16,
        content: &'a [u8],
    },
}

/// Takes records apart as they arrive. Streams come out in pieces, so that a record need never be held whole.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    pub(super) inside: Option<(Kind, u16, usize)>,
    pub(super) padding: usize,
}

impl Reader {
    /// The next piece at the start of `buf` and how many bytes were used; they are used up also without a piece, which
    /// then needs more bytes.
    ///
    /// # Errors
    /// The bytes are no record.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Result<(Option<Piece<'a>>, usize), Error> {
        if let Some((kind, id, left)) = self.inside {
            let count = left.min(buf.len());
            if count == 0 {
                return Ok((None, 0));
            }
            self.inside = (count < left).then_some((kind, id, left - count));
            let data = buf.get(..count).unwrap_or_default();
            return Ok((Some(Piece::Data { kind, id, data }), count));
        }
        let skipped = self.padding.min(buf.len());
        self.padding -= skipped;
        let rest = buf.get(skipped..).unwrap_or_default();
        let Some((&[version, kind, a, b, c, d, padding, _], after)) =
            rest.split_first_chunk::<HEADER>()
        else {
            return match rest.first() {
                Some(&version) if version != VERSION => Err(Error::Version(version)),
                _ => Ok((None, skipped)),
            };
        };
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let kind = Kind(kind);
        let (id, len) = (
            u16::from_be_bytes([a, b]),
            usize::from(u16::from_be_bytes([c, d])),
        );
        let used = skipped + HEADER;
        if kind.is_stream() {
            self.padding = padding.into();
            if len == 0 {
                return Ok((Some(Piece::End { kind, id }), used));
            }
            self.inside = Some((kind, id, len));
            let (piece, more) = self.next(after)?;
            return Ok((piece, used + more));
        }
        if len > MOST_WHOLE {
            return Err(Error::RecordLength { kind: kind.0, len });
        }
        let Some(content) = after.get(..len) else {
            return Ok((None, skipped));
        };
        self.padding = padding.into();
        Ok((Some(Piece::Whole { kind, id, content }), used + len))
    }
}

pub(super) fn write_record(out: &mut Vec<u8>, kind: Kind, id: u16, content: &[u8]) {
    write_record_head(out, kind, id, content.len());
    out.extend_from_slice(content);
}

/// Writes what goes before the content of a record, for a caller that sends the content itself. `len` is at most
/// [`MOST_CONTENT`].
pub fn write_record_head(out: &mut Vec<u8>, kind: Kind, id: u16, len: usize) {
    debug_assert!(len <= MOST_CONTENT);
    let [a, b] = id.to_be_bytes();
    let [c, d] = (len as u16).to_be_bytes();
    out.extend_from_slice(&[VERSION, kind.0, a, b, c, d, 0, 0]);
}

/// Writes `data` as records of a stream; nothing for no data, since an empty record is the end.
pub fn write_stream(out: &mut Vec<u8>, kind: Kind, id: u16, data: &[u8]) {
    for part in data.chunks(MOST_CONTENT) {
        write_record(out, kind, id, part);
    }
}

/// Writes the end of a stream.
pub fn write_end_stream(out: &mut Vec<u8>, kind: Kind, id: u16) {
    write_record(out, kind, id, &[]);
}

/// Begins a request. `keep`: the application leaves the connection open after its answer.
pub fn write_begin(out: &mut Vec<u8>, id: u16, role: Role, keep: bool) {
    let [a, b] = role.number().to_be_bytes();
    let flags = if keep { KEEP_CONN } else { 0 };
    write_record(out, Kind::BEGIN_REQUEST, id, &[a, b, flags, 0, 0, 0, 0, 0]);
}

/// Reads what [`write_begin`] wrote.
pub(super) fn read_begin(content: &[u8]) -> Result<(Role, bool), Error> {
    let &[a, b, flags, ..] = content else {
        return Err(Error::RecordLength {
            kind: Kind::BEGIN_REQUEST.0,
            len: content.len(),
        });
    };
    let role = Role::from_number(u16::from_be_bytes([a, b]));
    Ok((role, flags & KEEP_CONN != 0))
}

/// Writes the variables of a request as a whole stream, over as many records as they need.
pub fn write_params<'a>(
    out: &mut Vec<u8>,
    id: u16,
    params: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    let mut pairs = Pairs::new(out, Form::FastCgi { id });
    pairs.all(params);
    // Only a packet of uwsgi can be too small.
    _ = pairs.end();
}

/// Calls a request off.
pub fn write_abort(out: &mut Vec<u8>, id: u16) {
    write_record(out, Kind::ABORT_REQUEST, id, &[]);
}

/// Ends a request. `app_status` is what the exit code would be in CGI.
pub fn write_end_request(out: &mut Vec<u8>, id: u16, app_status: u32, status: ProtocolStatus) {
    let [a, b, c, d] = app_status.to_be_bytes();
    write_record(
        out,
        Kind::END_REQUEST,
        id,
        &[a, b, c, d, status as u8, 0, 0, 0],
    );
}
