//! How a protocol is spoken on an upstream connection: what goes around the pieces of a request's body, where the
//! head of an answer is, and whether the connection can serve another request.
//!
//! This is all that differs between protocols, beside the head of the request (`forward::Job::write`): another one is
//! another [`Protocol`], another arm of that, and another variant here. Choosing a server, trying again, pools, time
//! limits, passing the answer on and the log know nothing of it. What a codec shows of an answer's head is always an
//! HTTP/1 head in the answer's buffer, whatever came over the wire. Not here: sockets.

use trine_http1::{
    BodyLength, CHUNK_END, LAST_CHUNK, Limits, Response, ResponseHead, write_chunk_head,
};

use super::fault::Fault;
use crate::config::Protocol;
use crate::workbench::Input;

/// What an application may send: its cookies can be long.
pub(crate) const ANSWER_LIMITS: Limits = Limits {
    request_line: 8190,
    header_line: 32 * 1024,
    header_count: 200,
    head: 64 * 1024,
};

/// One request and its answer, as one protocol has them.
#[derive(Debug)]
pub(crate) enum Codec {
    Http1 {
        /// The request's body goes on in chunks.
        chunked: bool,
    },
}

impl Codec {
    /// `body` is how the request's head says that its body goes on.
    pub(crate) fn new(protocol: Protocol, body: BodyLength) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1 {
                chunked: body == BodyLength::Chunked,
            },
        }
    }

    /// Appends what goes before a piece of the request's body, and returns what goes behind it. With the `last` one
    /// the body ends; it may be empty.
    pub(crate) fn surround(&self, out: &mut Vec<u8>, length: usize, last: bool) -> &'static [u8] {
        match self {
            Self::Http1 { chunked: false } => b"",
            Self::Http1 { chunked: true } => {
                if length > 0 {
                    write_chunk_head(out, length);
                    return CHUNK_END;
                }
                if last { LAST_CHUNK } else { b"" }
            }
        }
    }

    /// Bytes have come: takes off what is around the answer. What is left is a head and content as `head` and the
    /// body's decoder read them.
    pub(crate) fn received(&mut self, _answer: &mut Input) -> Result<(), Fault> {
        match self {
            Self::Http1 { .. } => Ok(()),
        }
    }

    /// Looks for the whole head of an answer at the start of what is unread: where it begins, once it is there.
    pub(crate) fn head(
        &mut self,
        answer: &mut Input,
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, Fault> {
        match self {
            Self::Http1 { .. } => {
                let length = head
                    .parse(answer.unread(), &ANSWER_LIMITS)
                    .map_err(Fault::Head)?;
                Ok(length.map(|length| {
                    let at = answer.start();
                    answer.consume(length);
                    at
                }))
            }
        }
    }

    /// Whether the connection may serve again once all of this answer was read.
    pub(crate) fn keeps(&self, head: &Response<'_>) -> bool {
        match self {
            Self::Http1 { .. } => head.keep_alive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_body() {
        let check = |body, length, last, want: (&[u8], &[u8])| {
            let mut out = Vec::new();
            let tail = Codec::new(Protocol::Http1, body).surround(&mut out, length, last);
            assert_eq!((&out[..], tail), want, "{body:?} {length} {last}");
        };
        check(BodyLength::Known(20), 20, true, (b"", b""));
        check(BodyLength::Chunked, 20, false, (b"14\r\n", b"\r\n"));
        check(BodyLength::Chunked, 0, true, (b"", b"0\r\n\r\n"));
        check(BodyLength::Empty, 0, true, (b"", b""));
    }
}
