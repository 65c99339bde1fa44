//! The ways in that are not HTTP: uwsgi and FastCGI, as nginx's `uwsgi_pass` and `fastcgi_pass` speak them.
//!
//! A [`Door`] takes what a connection receives and gives on what the client's request would be in HTTP, so that limits,
//! strictness and everything behind it are the same code. What the variables say beyond that travels beside the request
//! ([`Given`]). Answers of FastCGI are put into records by [`Records`].
//! Not here: sockets, and the codecs (`trine-gateway`).

mod records;
mod vars;

use trine_gateway::{Error, fastcgi, uwsgi};
use trine_http1::Limits;

use crate::config::settings::Protocol;

use super::exchange::Exchange;

pub use records::Records;
pub use vars::{Given, Wire};

use records::framed_page;
use vars::BadVars;

/// Why nothing more can come of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DoorError {
    #[error(transparent)]
    Framing(#[from] Error),
    #[error("a uwsgi packet with modifier1 {0}; only requests, 0, are served")]
    Modifier(u8),
    #[error(transparent)]
    Vars(#[from] BadVars),
    #[error("the request body ended before its announced length")]
    ShortBody,
    #[error("the request body is longer than was announced")]
    LongBody,
}

impl DoorError {
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Modifier(_) => 501,
            Self::Framing(Error::TooLarge { .. }) => 431,
            Self::Framing(_) | Self::Vars(_) | Self::ShortBody | Self::LongBody => 400,
        }
    }
}

/// The state of one connection that does not speak HTTP.
#[derive(Debug)]
pub(super) struct Door {
    /// Received, not yet understood.
    pub(super) raw: Vec<u8>,
    speaks: Speaks,
    /// Bytes of the body that have not come.
    body_left: u64,
    /// Nothing of the request is outstanding.
    complete: bool,
    max_vars: usize,
}

#[derive(Debug)]
enum Speaks {
    Uwsgi,
    FastCgi(fastcgi::Server),
}

/// What [`Door::pass`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    On,
    /// The client has called its request off.
    Aborted,
    /// A request was refused as the protocol has it, and the client wants the connection closed then.
    Close,
}

impl Door {
    pub(super) fn new(protocol: Protocol, limits: &Limits, connections: usize) -> Option<Self> {
        let max_vars = limits.head;
        let speaks = match protocol {
            Protocol::Http => return None,
            Protocol::Uwsgi => Speaks::Uwsgi,
            Protocol::Fastcgi => Speaks::FastCgi(fastcgi::Server::new(max_vars, connections)),
        };
        Some(Self {
            raw: Vec::new(),
            speaks,
            body_left: 0,
            complete: false,
            max_vars,
        })
    }

    /// Gives on what was received: the head as HTTP would have it, then the body as it is. What has to be said at once
    /// is appended to `replies`.
    pub(super) fn pass(
        &mut self,
        exchange: &mut Exchange,
        replies: &mut Vec<u8>,
    ) -> Result<Passed, DoorError> {
        let mut used = 0;
        let result = match &self.speaks {
            Speaks::Uwsgi => self.pass_uwsgi(exchange, &mut used),
            Speaks::FastCgi(_) => self.pass_fastcgi(exchange, replies, &mut used),
        };
        self.raw.drain(..used);
        result
    }

    fn pass_uwsgi(
        &mut self,
        exchange: &mut Exchange,
        used: &mut usize,
    ) -> Result<Passed, DoorError> {
        if exchange.given.is_none() {
            let max = self.max_vars.min(uwsgi::MOST_VARS);
            // A packet of another kind is not read, however long it says to be.
            if let Some(&modifier) = self.raw.first().filter(|&&first| first != uwsgi::REQUEST) {
                return Err(DoorError::Modifier(modifier));
            }
            let Some((packet, len)) = uwsgi::decode(&self.raw, max)? else {
                return Ok(Passed::On);
            };
            let given = Given::read(packet.vars(), Wire::Uwsgi, &mut exchange.buf)?;
            *used = len;
            self.body_left = given.content_length();
            self.complete = self.body_left == 0;
            exchange.given = Some(Box::new(given));
        }
        let rest = self.raw.get(*used..).unwrap_or_default();
        let count = usize::try_from(self.body_left)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        exchange
            .buf
            .extend_from_slice(rest.get(..count).unwrap_or_default());
        self.body_left -= count as u64;
        self.complete = self.body_left == 0;
        // One request to a connection: what comes after it is nobody's.
        *used = self.raw.len();
        Ok(Passed::On)
    }

    fn pass_fastcgi(
        &mut self,
        exchange: &mut Exchange,
        replies: &mut Vec<u8>,
        used: &mut usize,
    ) -> Result<Passed, DoorError> {
        let Speaks::FastCgi(server) = &mut self.speaks else {
            return Ok(Passed::On);
        };
        loop {
            // The next request stays where it is until this one is answered.
            if self.complete {
                return Ok(Passed::On);
            }
            let rest = self.raw.get(*used..).unwrap_or_default();
            let (event, count) = server.advance(rest, replies)?;
            *used += count;
            match event {
                fastcgi::Event::More => return Ok(Passed::On),
                fastcgi::Event::Request => {
                    let wire = Wire::FastCgi { id: server.id() };
                    let given = Given::read(server.params(), wire, &mut exchange.buf)?;
                    self.body_left = given.content_length();
                    exchange.given = Some(Box::new(given));
                }
                fastcgi::Event::Body(data) => {
                    let count = data.len() as u64;
                    if count > self.body_left {
                        return Err(DoorError::LongBody);
                    }
                    self.body_left -= count;
                    exchange.buf.extend_from_slice(data);
                }
                fastcgi::Event::BodyEnd if self.body_left > 0 => return Err(DoorError::ShortBody),
                fastcgi::Event::BodyEnd => self.complete = true,
                fastcgi::Event::Abort => {
                    let status = fastcgi::ProtocolStatus::Complete;
                    fastcgi::write_end_request(replies, server.id(), 0, status);
                    let keep = server.keep();
                    self.answered();
                    return Ok(if keep { Passed::Aborted } else { Passed::Close });
                }
                fastcgi::Event::Refused { close: true } => return Ok(Passed::Close),
                fastcgi::Event::Refused { close: false } => {}
            }
        }
    }

    /// Nothing of the request is outstanding, so that it may be answered and the connection closed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The client wants the connection kept.
    pub(super) fn keeps(&self) -> bool {
        match &self.speaks {
            Speaks::Uwsgi => false,
            Speaks::FastCgi(server) => server.keep(),
        }
    }

    /// The request was answered.
    pub(super) fn answered(&mut self) {
        self.complete = false;
        self.body_left = 0;
        if let Speaks::FastCgi(server) = &mut self.speaks {
            server.finish();
        }
    }

    /// Nothing of a request is here.
    pub(super) fn is_idle(&self) -> bool {
        let between = match &self.speaks {
            Speaks::Uwsgi => true,
            Speaks::FastCgi(server) => server.is_idle(),
        };
        between && self.raw.is_empty()
    }

    /// An error page in the words of the protocol; nothing where there is no request to answer.
    pub(super) fn page(&self, page: Vec<u8>) -> Vec<u8> {
        match &self.speaks {
            Speaks::Uwsgi => page,
            Speaks::FastCgi(server) if server.is_idle() => Vec::new(),
            Speaks::FastCgi(server) => framed_page(server.id(), page),
        }
    }
}

#[cfg(test)]
mod tests;
