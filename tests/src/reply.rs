//! Reading answers with `trine-http1`: whole, or piece by piece with the moment each piece came.

use std::io;
use std::time::Instant;

use serde_json::Value;
use trine_http1::{BodyDecoder, BodyLength, Limits, ResponseHead};

use crate::client::Client;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The fields that follow the body.
    pub trailers: Vec<(String, String)>,
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
    /// When each part of the body came, and how many bytes there were by then.
    pub pieces: Vec<(Instant, usize)>,
}

impl Reply {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|problem| panic!("not JSON ({problem}): {}", self.text()))
    }
}

/// A head, and how its body ends.
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    keep_alive: bool,
    body: BodyLength,
}

impl Client {
    /// Reads one answer to a request with this method. Interim answers (1xx but 101) are passed over.
    pub fn read_reply(&mut self, method: &str) -> io::Result<Reply> {
        let head = loop {
            let head = self.read_head(method)?;
            if head.status == 101 || !(100..200).contains(&head.status) {
                break head;
            }
        };
        let mut reply = Reply {
            status: head.status,
            headers: head.headers,
            body: vec![],
            trailers: vec![],
            keep_alive: head.keep_alive,
            pieces: vec![],
        };
        if reply.status != 101 {
            self.read_body(head.body, &mut reply)?;
        }
        Ok(reply)
    }

    fn read_head(&mut self, method: &str) -> io::Result<Head> {
        let mut head = ResponseHead::default();
        loop {
            let parsed = head.parse(&self.buf, &Limits::default());
            if let Some(length) =
                parsed.map_err(|problem| io::Error::other(format!("bad answer: {problem}")))?
            {
                let view = head.on(&self.buf);
                let found = Head {
                    status: view.status(),
                    headers: texts(view.headers()),
                    keep_alive: view.keep_alive(),
                    body: view.body(method),
                };
                self.buf.drain(..length);
                return Ok(found);
            }
            let got = self.buf.len();
            if self.fill().map_err(|problem| {
                io::Error::new(problem.kind(), format!("waiting for the head: {problem}"))
            })? == 0
            {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed after {got} bytes of the head"),
                ));
            }
        }
    }

    fn read_body(&mut self, length: BodyLength, reply: &mut Reply) -> io::Result<()> {
        let mut decoder = BodyDecoder::new(length);
        loop {
            let decoded = decoder
                .decode(&self.buf)
                .map_err(|problem| io::Error::other(format!("bad body: {problem}")))?;
            if !decoded.data.is_empty() {
                reply
                    .body
                    .extend_from_slice(&self.buf[decoded.data.clone()]);
                reply.pieces.push((Instant::now(), reply.body.len()));
            }
            self.buf.drain(..decoded.consumed);
            if decoded.done {
                reply.trailers = texts(decoder.trailers());
                return Ok(());
            }
            if decoded.consumed > 0 {
                continue;
            }
            if self.fill().map_err(|problem| {
                io::Error::new(problem.kind(), format!("in the body: {problem}"))
            })? == 0
            {
                return decoder.eof().map_err(|problem| {
                    io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("{problem} after {} bytes", reply.body.len()),
                    )
                });
            }
        }
    }
}

fn texts<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
