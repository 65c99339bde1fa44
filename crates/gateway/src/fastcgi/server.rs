//! The application's side: takes a request out of records, and answers what is asked about the application itself.
//! Not here: the answer to the request (`write_stream`, `write_end_request`).

use crate::Error;

use super::params::{Params, write_param};
use super::record::{
    Kind, Piece, ProtocolStatus, Reader, Role, read_begin, write_end_request, write_record,
};

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing yet: more bytes are needed.
    More,
    /// The variables of a request are complete; see [`Server::params`].
    Request,
    /// A part of its body.
    Body(&'a [u8]),
    /// The body is complete.
    BodyEnd,
    /// The web server has no use for the request any more. It may still be answered; [`Server::finish`] is owed.
    Abort,
    /// A request was refused, as the replies say. `close`: the web server does not want the connection kept.
    Refused { close: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Params,
    Body,
    Answering,
}

/// One connection of an application.
#[derive(Debug)]
pub struct Server {
    reader: Reader,
    stage: Stage,
    id: u16,
    role: Role,
    keep: bool,
    params: Vec<u8>,
    max_params: usize,
    max_connections: usize,
}

impl Server {
    /// `max_params` limits the variables of a request, in bytes; `max_connections` is told to those who ask.
    #[must_use]
    pub const fn new(max_params: usize, max_connections: usize) -> Self {
        Self {
            reader: Reader {
                inside: None,
                padding: 0,
            },
            stage: Stage::Idle,
            id: 0,
            role: Role::Responder,
            keep: false,
            params: Vec::new(),
            max_params,
            max_connections,
        }
    }

    /// Reads at the start of `buf`; returns what came and how many bytes were used. Call it again with the rest until
    /// it says [`Event::More`]. What has to be said at once is appended to `replies`.
    ///
    /// # Errors
    /// The bytes are no FastCGI, or come in an order that cannot be; the connection is of no use any more.
    pub fn advance<'a>(
        &mut self,
        buf: &'a [u8],
        replies: &mut Vec<u8>,
    ) -> Result<(Event<'a>, usize), Error> {
        // An authorizer has no body.
        if self.stage == Stage::Body && self.role == Role::Authorizer {
            self.stage = Stage::Answering;
            return Ok((Event::BodyEnd, 0));
        }
        let mut used = 0;
        loop {
            let (piece, count) = self.reader.next(buf.get(used..).unwrap_or_default())?;
            used += count;
            let Some(piece) = piece else {
                return Ok((Event::More, used));
            };
            if let Some(event) = self.take(piece, replies)? {
                return Ok((event, used));
            }
        }
    }

    fn take<'a>(
        &mut self,
        piece: Piece<'a>,
        replies: &mut Vec<u8>,
    ) -> Result<Option<Event<'a>>, Error> {
        match piece {
            Piece::Whole { kind, id, content } if kind == Kind::BEGIN_REQUEST => {
                self.begin(id, content, replies)
            }
            Piece::Whole { kind, id, .. } if kind == Kind::ABORT_REQUEST => {
                let ours = self.stage != Stage::Idle && id == self.id;
                Ok(ours.then_some(Event::Abort))
            }
            Piece::Whole {
                kind,
                id: 0,
                content,
            } => {
                if kind == Kind::GET_VALUES {
                    self.tell_values(content, replies)?;
                } else {
                    write_record(
                        replies,
                        Kind::UNKNOWN_TYPE,
                        0,
                        &[kind.0, 0, 0, 0, 0, 0, 0, 0],
                    );
                }
                Ok(None)
            }
            Piece::Whole { kind, .. } => Err(Error::RecordOrder { kind: kind.0 }),
            // Records of a request that was refused or has ended are nobody's.
            Piece::Data { id, .. } | Piece::End { id, .. }
                if self.stage == Stage::Idle || id != self.id =>
            {
                Ok(None)
            }
            Piece::Data { kind, data, .. } => match (kind, self.stage) {
                (Kind::PARAMS, Stage::Params) => {
                    if self.params.len() + data.len() > self.max_params {
                        return Err(Error::TooLarge {
                            max: self.max_params,
                        });
                    }
                    self.params.extend_from_slice(data);
                    Ok(None)
                }
                (Kind::STDIN, Stage::Body) => Ok(Some(Event::Body(data))),
                (kind, _) => Err(Error::RecordOrder { kind: kind.0 }),
            },
            Piece::End { kind, .. } => match (kind, self.stage) {
                (Kind::PARAMS, Stage::Params) => {
                    self.stage = Stage::Body;
                    Ok(Some(Event::Request))
                }
                (Kind::STDIN, Stage::Body) => {
                    self.stage = Stage::Answering;
                    Ok(Some(Event::BodyEnd))
                }
                (kind, _) => Err(Error::RecordOrder { kind: kind.0 }),
            },
        }
    }

    fn begin<'a>(
        &mut self,
        id: u16,
        content: &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<Option<Event<'a>>, Error> {
        let (role, keep) = read_begin(content)?;
        if id == 0 || (self.stage != Stage::Idle && id == self.id) {
            return Err(Error::RecordOrder {
                kind: Kind::BEGIN_REQUEST.0,
            });
        }
        if self.stage != Stage::Idle {
            write_end_request(replies, id, 0, ProtocolStatus::CannotMultiplex);
            return Ok(Some(Event::Refused { close: false }));
        }
        if let Role::Other(_) = role {
            write_end_request(replies, id, 0, ProtocolStatus::UnknownRole);
            return Ok(Some(Event::Refused { close: !keep }));
        }
        (self.id, self.role, self.keep) = (id, role, keep);
        self.params.clear();
        self.stage = Stage::Params;
        Ok(None)
    }

    /// Answers FCGI_GET_VALUES: what is known of what was asked.
    fn tell_values(&self, asked: &[u8], replies: &mut Vec<u8>) -> Result<(), Error> {
        let mut known = Vec::new();
        for pair in Params::new(asked) {
            let (name, _) = pair?;
            let value = match name {
                // One request at a time on each connection.
                b"FCGI_MAX_CONNS" | b"FCGI_MAX_REQS" => self.max_connections.to_string(),
                b"FCGI_MPXS_CONNS" => "0".to_owned(),
                _ => continue,
            };
            write_param(&mut known, name, value.as_bytes());
        }
        write_record(replies, Kind::GET_VALUES_RESULT, 0, &known);
        Ok(())
    }

    /// The variables of the request that [`Event::Request`] told of.
    #[must_use]
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.params)
    }

    /// The request's number, to be used in its answer.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The web server wants the connection kept after the answer.
    #[must_use]
    pub const fn keep(&self) -> bool {
        self.keep
    }

    /// No request is under way, and no part of one has come.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// The request was answered; the connection may bring the next one.
    pub fn finish(&mut self) {
        self.stage = Stage::Idle;
        self.params = Vec::new();
    }
}
