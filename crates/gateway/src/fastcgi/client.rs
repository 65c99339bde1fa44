//! The web server's side: takes the answer out of records.
//! Not here: the request (`write_begin`, `write_params`, `write_stream`), and the head inside the answer (`cgi`).

use crate::Error;

use super::record::{Kind, Piece, ProtocolStatus, Reader};

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Nothing yet: more bytes are needed.
    More,
    /// A part of the answer.
    Stdout(&'a [u8]),
    /// Something for the log.
    Stderr(&'a [u8]),
    /// What the application can do, as pairs for [`Params`](super::Params).
    Values(&'a [u8]),
    /// The request has ended.
    End {
        app_status: u32,
        status: ProtocolStatus,
    },
}

/// One connection to an application, at one request.
#[derive(Debug, Default)]
pub struct Client {
    reader: Reader,
    id: u16,
    ended: bool,
}

impl Client {
    /// For the request with this number.
    #[must_use]
    pub fn new(id: u16) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    /// Another request on the same connection, after the end of the one before.
    pub fn next(&mut self, id: u16) {
        self.id = id;
        self.ended = false;
    }

    /// Reads at the start of `buf`; returns what came and how many bytes were used.
    ///
    /// # Errors
    /// The bytes are no FastCGI, or belong to no request of ours.
    pub fn advance<'a>(&mut self, buf: &'a [u8]) -> Result<(Answer<'a>, usize), Error> {
        let mut used = 0;
        loop {
            let (piece, count) = self.reader.next(buf.get(used..).unwrap_or_default())?;
            used += count;
            let Some(piece) = piece else {
                return Ok((Answer::More, used));
            };
            if let Some(answer) = self.take(piece)? {
                return Ok((answer, used));
            }
        }
    }

    fn take<'a>(&mut self, piece: Piece<'a>) -> Result<Option<Answer<'a>>, Error> {
        let (kind, id) = match piece {
            Piece::Data { kind, id, .. }
            | Piece::End { kind, id }
            | Piece::Whole { kind, id, .. } => (kind, id),
        };
        let management = kind == Kind::GET_VALUES_RESULT || kind == Kind::UNKNOWN_TYPE;
        if !management && id != self.id {
            return Err(Error::RequestId {
                found: id,
                expected: self.id,
            });
        }
        if !management && self.ended {
            return Err(Error::RecordOrder { kind: kind.0 });
        }
        match (kind, piece) {
            (Kind::STDOUT, Piece::Data { data, .. }) => Ok(Some(Answer::Stdout(data))),
            (Kind::STDERR, Piece::Data { data, .. }) => Ok(Some(Answer::Stderr(data))),
            (Kind::STDOUT | Kind::STDERR, _) => Ok(None),
            (Kind::GET_VALUES_RESULT, Piece::Whole { content, .. }) => {
                Ok(Some(Answer::Values(content)))
            }
            (Kind::UNKNOWN_TYPE, _) => Ok(None),
            (Kind::END_REQUEST, Piece::Whole { content, .. }) => {
                let &[a, b, c, d, status, ..] = content else {
                    return Err(Error::RecordLength {
                        kind: kind.0,
                        len: content.len(),
                    });
                };
                self.ended = true;
                Ok(Some(Answer::End {
                    app_status: u32::from_be_bytes([a, b, c, d]),
                    status: ProtocolStatus::from_number(status)?,
                }))
            }
            _ => Err(Error::RecordOrder { kind: kind.0 }),
        }
    }
}
