//! How a protocol is spoken on an upstream connection: what goes around the pieces of a request's body, where the
//! head of an answer is, and whether the connection can serve another request.
//!
//! This is all that differs between protocols, beside the head of the request (`forward::Job::write`): another one is
//! another [`Protocol`], another arm of that, and another variant here. Choosing a server, trying again, pools, time
//! limits, passing the answer on and the log know nothing of it. What a codec shows of an answer's head is always an
//! HTTP/1 head in the answer's buffer, whatever came over the wire. `records` has FastCGI's frames, `script` the heads
//! of answers that are no HTTP. Not here: sockets.

mod records;
mod script;

use trine_gateway::cgi::Style;
use trine_gateway::fastcgi::{Kind, MOST_CONTENT, write_record_head};
use trine_http1::{
    BodyLength, CHUNK_END, LAST_CHUNK, Limits, Response, ResponseHead, write_chunk_head,
};

use super::fault::Fault;
use crate::config::{Protocol, ProxyPass};
use crate::workbench::Input;
use records::Records;
pub(crate) use records::{REQUEST_ID, Stderr};
use script::ScriptHead;

/// What an application may send: its cookies can be long.
pub(crate) const ANSWER_LIMITS: Limits = Limits {
    request_line: 8190,
    header_line: 32 * 1024,
    header_count: 200,
    head: 64 * 1024,
};

/// The empty record that ends the body of a FastCGI request.
const STDIN_END: &[u8] = b"\x01\x05\0\x01\0\0\0\0";

/// One request and its answer, as one protocol has them.
#[derive(Debug)]
pub(crate) enum Codec {
    Http1 {
        /// The request's body goes on in chunks.
        chunked: bool,
    },
    FastCgi(Box<Records>),
    /// uwsgi and SCGI: the body goes on as it is, and the answer ends with the connection.
    Script(Box<ScriptHead>),
}

impl Codec {
    /// `body` is how the request's head says that its body goes on.
    pub(crate) fn new(pass: &ProxyPass, body: BodyLength) -> Self {
        match pass.protocol {
            Protocol::Http1 => Self::Http1 {
                chunked: body == BodyLength::Chunked,
            },
            Protocol::FastCgi => Self::FastCgi(Box::new(Records::new(pass.keeps_connections()))),
            Protocol::Uwsgi => Self::Script(Box::new(ScriptHead::new(Style::HttpOrCgi, true))),
            Protocol::Scgi => Self::Script(Box::new(ScriptHead::new(Style::HttpOrCgi, true))),
        }
    }

    /// The longest piece of a body that goes out at once.
    pub(crate) fn most_piece(&self) -> usize {
        match self {
            Self::FastCgi(_) => MOST_CONTENT,
            Self::Http1 { .. } | Self::Script(_) => usize::MAX,
        }
    }

    /// Appends what goes before a piece of the request's body, and returns what goes behind it. With the `last` one
    /// the body ends; it may be empty.
    pub(crate) fn surround(&self, out: &mut Vec<u8>, length: usize, last: bool) -> &'static [u8] {
        match self {
            Self::Http1 { chunked: false } | Self::Script(_) => b"",
            Self::Http1 { chunked: true } => {
                if length > 0 {
                    write_chunk_head(out, length);
                    return CHUNK_END;
                }
                if last { LAST_CHUNK } else { b"" }
            }
            Self::FastCgi(_) => {
                if length > 0 {
                    write_record_head(out, Kind::STDIN, REQUEST_ID, length);
                }
                if last { STDIN_END } else { b"" }
            }
        }
    }

    /// `count` bytes have come: takes off what is around the answer. What is left is a head and content as `head` and
    /// the body's decoder read them.
    pub(crate) fn received(&mut self, answer: &mut Input, count: usize) -> Result<(), Fault> {
        match self {
            Self::Http1 { .. } | Self::Script(_) => Ok(()),
            Self::FastCgi(records) => records.received(answer, count).map_err(Fault::Gateway),
        }
    }

    /// Looks for the whole head of an answer at the start of what is unread: where it begins, once it is there.
    pub(crate) fn head(
        &mut self,
        answer: &mut Input,
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, Fault> {
        let at = answer.start();
        let translated = match self {
            Self::Http1 { .. } => true,
            Self::FastCgi(records) => {
                if records.head.read(answer, head) {
                    return Ok(Some(at));
                }
                let found = records.head.translate(answer)?;
                if !found && let Some(fault) = records.ended_without_head() {
                    return Err(fault);
                }
                found
            }
            Self::Script(script) => {
                if script.read(answer, head) {
                    return Ok(Some(at));
                }
                script.translate(answer)?
            }
        };
        if !translated || answer.is_empty() {
            return Ok(None);
        }
        let length = head
            .parse(answer.unread(), &ANSWER_LIMITS)
            .map_err(Fault::Head)?;
        Ok(length.map(|length| {
            let at = answer.start();
            answer.consume(length);
            at
        }))
    }

    /// The peer has sent something, even if nothing of it belongs to the answer itself.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Self::Http1 { .. } | Self::Script(_) => false,
            Self::FastCgi(records) => records.has_begun(),
        }
    }

    /// The peer has said that its answer is at an end. `None`: it does not say such things, and only the length or
    /// the end of the connection tells.
    pub(crate) fn is_over(&self) -> Option<bool> {
        match self {
            Self::Http1 { .. } | Self::Script(_) => None,
            Self::FastCgi(records) => Some(records.is_over()),
        }
    }

    /// Nothing more of this answer is to come, as far as the protocol tells.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Http1 { .. } | Self::Script(_) => true,
            Self::FastCgi(records) => records.is_settled(),
        }
    }

    /// Whether the connection may serve again once all of this answer was read.
    pub(crate) fn keeps(&self, head: &Response<'_>) -> bool {
        match self {
            Self::Http1 { .. } => head.keep_alive(),
            Self::FastCgi(records) => records.keeps(),
            Self::Script(_) => false,
        }
    }

    /// What the application has said for the log since it was last asked.
    pub(crate) fn stderr(&mut self) -> Option<Stderr> {
        match self {
            Self::Http1 { .. } | Self::Script(_) => None,
            Self::FastCgi(records) => records.stderr(),
        }
    }

    /// Whether it has said one of these.
    pub(crate) fn has_said(&self, texts: &[Vec<u8>]) -> bool {
        match self {
            Self::Http1 { .. } | Self::Script(_) => false,
            Self::FastCgi(records) => records.has_said(texts),
        }
    }
}

#[cfg(test)]
mod tests;
