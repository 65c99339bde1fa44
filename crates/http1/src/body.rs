//! Takes content out of its framing (RFC 9112 sections 6 and 7): known length, chunked with
//! trailers, until close.
//! Not here: how much content is too much, and how long to wait for it.

use std::ops::Range;

use crate::error::BodyError;
use crate::fields::{Fields, Headers, Leniency};
use crate::syntax::is_field_byte;

/// Most bytes of chunk extensions in one body.
pub const MAX_EXTENSION_BYTES: usize = 16 * 1024;
/// Largest trailer section of one body, with its line ends.
pub const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// Most trailer fields of one body.
pub const MAX_TRAILER_COUNT: usize = 100;

/// How a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    #[default]
    Empty,
    /// After this many bytes (Content-Length).
    Known(u64),
    /// With the last chunk and the trailers.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes at the start of the buffer that are dealt with and can be dropped, once `data` is
    /// used.
    pub consumed: usize,
    /// Content, as a range of the consumed bytes; often empty.
    pub data: Range<usize>,
    /// The body is complete; what follows the consumed bytes is not part of it.
    pub done: bool,
}

/// Takes a body apart, piece by piece. Content is not copied and not kept.
///
/// # Example
/// ```
/// use trine_http1::{BodyDecoder, BodyLength};
///
/// let mut decoder = BodyDecoder::new(BodyLength::Chunked);
/// let first = decoder.decode(b"5\r\nhello")?;
/// assert_eq!((first.consumed, first.data, first.done), (8, 3..8, false));
/// let last = decoder.decode(b"\r\n0\r\n\r\nGET /next")?;
/// assert_eq!((last.consumed, last.done), (7, true));
/// # Ok::<(), trine_http1::BodyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    extension_bytes: usize,
    trailers: Trailers,
}

/// Where the decoder stands; in the chunked coding, what the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    Known {
        left: u64,
    },
    UntilClose,
    Size {
        value: u64,
        digits: u8,
    },
    /// White space behind a chunk size, which an extension must follow.
    SpaceBeforeExtension {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLineFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataLineFeed,
    /// The start of a line behind the last chunk.
    TrailerStart,
    TrailerLine,
    TrailerLineFeed,
    LastLineFeed,
    Failed(BodyError),
}

#[derive(Clone, Debug, Default)]
struct Trailers {
    section: Vec<u8>,
    count: usize,
    fields: Fields,
}

impl BodyDecoder {
    #[must_use]
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::Empty | BodyLength::Known(0) => State::Done,
            BodyLength::Known(left) => State::Known { left },
            BodyLength::Chunked => State::Size {
                value: 0,
                digits: 0,
            },
            BodyLength::UntilClose => State::UntilClose,
        };
        Self {
            state,
            extension_bytes: 0,
            trailers: Trailers::default(),
        }
    }

    /// Takes up to one piece of content, and the framing around it, off the start of `buf`.
    ///
    /// Drop the consumed bytes and call again. More bytes are needed when nothing is consumed and
    /// `done` is false; every byte that arrived is consumed before that.
    ///
    /// # Errors
    /// The chunked coding is broken or beyond a limit. Content in front of the fault is handed out
    /// first; the call after that fails, and so does every later one.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Decoded, BodyError> {
        let mut consumed = 0;
        let mut data = 0..0;
        while let Some(&byte) = buf.get(consumed) {
            let available = buf.len() - consumed;
            let taken = match self.state {
                State::Done | State::Failed(_) => break,
                State::Known { .. } | State::UntilClose | State::Data { .. }
                    if !data.is_empty() =>
                {
                    break;
                }
                State::Known { left } => {
                    let taken = take(available, left);
                    let left = left - taken as u64;
                    self.state = if left == 0 {
                        State::Done
                    } else {
                        State::Known { left }
                    };
                    taken
                }
                State::UntilClose => available,
                State::Data { left } => {
                    let taken = take(available, left);
                    let left = left - taken as u64;
                    self.state = if left == 0 {
                        State::DataReturn
                    } else {
                        State::Data { left }
                    };
                    taken
                }
                _ => match self.framing(byte) {
                    Ok(state) => {
                        self.state = state;
                        consumed += 1;
                        continue;
                    }
                    Err(error) => {
                        self.state = State::Failed(error);
                        break;
                    }
                },
            };
            data = consumed..consumed + taken;
            consumed += taken;
        }
        match self.state {
            State::Failed(error) if data.is_empty() => Err(error),
            state => Ok(Decoded {
                consumed,
                data,
                done: state == State::Done,
            }),
        }
    }

    /// Whether the body has come to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of content that certainly follow: the rest of a known length or of the current chunk.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match self.state {
            State::Known { left } | State::Data { left } => left,
            _ => 0,
        }
    }

    /// Tells that the connection was closed by the sender: the proper end of a body that lasts
    /// until then.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when the body should have gone on; the fault that was found before,
    /// if one was.
    pub fn eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => Err(BodyError::Truncated),
        }
    }

    /// The trailer fields of a chunked body that is done; else none.
    #[must_use]
    pub fn trailers(&self) -> Headers<'_> {
        self.trailers.fields.iter(&self.trailers.section)
    }

    /// What one byte of the chunked coding's framing leads to.
    fn framing(&mut self, byte: u8) -> Result<State, BodyError> {
        Ok(match (self.state, byte) {
            (State::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // 16 digits are 64 bits; leading zeros count, too, or there would be no bound.
                if digits == 16 {
                    return Err(BodyError::ChunkSize);
                }
                State::Size {
                    value: value << 4 | u64::from(hex_value(byte)),
                    digits: digits + 1,
                }
            }
            (State::Size { digits: 0, .. }, _) => return Err(BodyError::ChunkSize),
            (State::Size { value: size, .. } | State::Extension { size }, b'\r') => {
                State::SizeLineFeed { size }
            }
            (State::Size { value: size, .. }, b' ' | b'\t') => State::SpaceBeforeExtension { size },
            (State::SpaceBeforeExtension { size }, b' ' | b'\t') => {
                self.count_extension_byte()?;
                State::SpaceBeforeExtension { size }
            }
            (State::Size { value: size, .. } | State::SpaceBeforeExtension { size }, b';') => {
                State::Extension { size }
            }
            (State::Size { .. }, b'\n') => return Err(BodyError::LineEnd),
            (State::Size { .. }, _) => return Err(BodyError::ChunkSize),
            (State::SpaceBeforeExtension { .. }, _) => return Err(BodyError::ChunkExtension),
            (State::Extension { .. }, b'\n') => return Err(BodyError::LineEnd),
            (State::Extension { size }, _) if is_field_byte(byte) => {
                self.count_extension_byte()?;
                State::Extension { size }
            }
            (State::Extension { .. }, _) => return Err(BodyError::ChunkExtension),
            (State::SizeLineFeed { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLineFeed { size }, b'\n') => State::Data { left: size },
            (State::DataReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::Size {
                value: 0,
                digits: 0,
            },
            (State::TrailerStart, b'\r') => State::LastLineFeed,
            (State::LastLineFeed, b'\n') => {
                self.trailers.finish()?;
                State::Done
            }
            (State::TrailerStart | State::TrailerLine, b'\n') => return Err(BodyError::LineEnd),
            (State::TrailerStart | State::TrailerLine, _) => {
                self.trailers.push(byte)?;
                if byte == b'\r' {
                    State::TrailerLineFeed
                } else {
                    State::TrailerLine
                }
            }
            (State::TrailerLineFeed, b'\n') => {
                self.trailers.end_line()?;
                State::TrailerStart
            }
            (
                State::SizeLineFeed { .. }
                | State::DataReturn
                | State::DataLineFeed
                | State::TrailerLineFeed
                | State::LastLineFeed,
                _,
            ) => return Err(BodyError::LineEnd),
            (
                state
                @ (State::Done | State::Known { .. } | State::UntilClose | State::Data { .. }),
                _,
            ) => state,
            (State::Failed(error), _) => return Err(error),
        })
    }

    fn count_extension_byte(&mut self) -> Result<(), BodyError> {
        if self.extension_bytes == MAX_EXTENSION_BYTES {
            return Err(BodyError::ChunkExtensionsTooLarge);
        }
        self.extension_bytes += 1;
        Ok(())
    }
}

/// The smaller of what is there and what is left.
fn take(available: usize, left: u64) -> usize {
    usize::try_from(left).map_or(available, |left| available.min(left))
}

/// The value of a byte that is known to be a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

impl Trailers {
    fn push(&mut self, byte: u8) -> Result<(), BodyError> {
        if self.section.len() == MAX_TRAILER_BYTES {
            return Err(BodyError::TrailersTooLarge);
        }
        self.section.push(byte);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), BodyError> {
        if self.count == MAX_TRAILER_COUNT {
            return Err(BodyError::TrailersTooLarge);
        }
        self.push(b'\n')?;
        self.count += 1;
        Ok(())
    }

    /// Reads the fields, when the empty line has come.
    fn finish(&mut self) -> Result<(), BodyError> {
        if self.section.is_empty() {
            return Ok(());
        }
        self.section.extend_from_slice(b"\r\n");
        let leniency = Leniency {
            unfold: false,
            strip_name_spaces: false,
            drop_odd_names: false,
        };
        let parsed = self
            .fields
            .parse(&self.section, &self.section, false, leniency);
        parsed.map_err(|_| BodyError::Trailer)?;
        if self
            .fields
            .iter(&self.section)
            .any(|(name, _)| is_forbidden_trailer(name))
        {
            self.fields = Fields::default();
            return Err(BodyError::ForbiddenTrailer);
        }
        Ok(())
    }
}

/// Fields about framing, routing, access and how to read the content (RFC 9110 section 6.5.1), as
/// well as those of one connection.
fn is_forbidden_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 15] = [
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"max-forwards",
        b"range",
        b"set-cookie",
        b"te",
        b"trailer",
        b"www-authenticate",
    ];
    crate::is_hop_by_hop(name)
        || FORBIDDEN
            .iter()
            .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}
