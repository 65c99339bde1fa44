//! What a script writes, made the answer of a FastCGI application.
//!
//! A local redirect (RFC 3875 section 6.2.2) is left to the web server by `X-Accel-Redirect`, which nginx and
//! trine-proxy obey. Pure. Not here: running the script.

use trine_gateway::Error;
use trine_gateway::cgi::{Head, Kind, Limits, Response, Style};
use trine_gateway::fastcgi::{
    self, ProtocolStatus, write_end_request, write_end_stream, write_stream,
};

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Answer {
    id: u16,
    head: Head,
    /// What came of the head; then a local redirect, which is told at the end.
    pending: Vec<u8>,
    begun: bool,
}

impl Answer {
    pub(super) fn new(id: u16) -> Self {
        Self {
            id,
            head: Head::default(),
            pending: Vec::new(),
            begun: false,
        }
    }

    /// The head has been written.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The script has written this.
    ///
    /// # Errors
    /// It is no answer of a script.
    pub(super) fn stdout(&mut self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
        if self.begun {
            if self.pending.is_empty() {
                write_stream(out, fastcgi::Kind::STDOUT, self.id, bytes);
            }
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        let found = self
            .head
            .parse(&self.pending, Style::HttpOrCgi, &Limits::default())?;
        let Some(length) = found else { return Ok(()) };
        let head = self.head.on(&self.pending);
        let mut text = head_text(&head);
        text.extend_from_slice(&self.pending[length..]);
        self.begun = true;
        if let Kind::LocalRedirect(_) = head.kind() {
            // The web server goes elsewhere once it knows, and the script is not to be cut off by that.
            self.pending = text;
            return Ok(());
        }
        self.pending = Vec::new();
        write_stream(out, fastcgi::Kind::STDOUT, self.id, &text);
        Ok(())
    }

    /// The script has said this for the log.
    pub(super) fn stderr(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        write_stream(out, fastcgi::Kind::STDERR, self.id, bytes);
    }

    /// An answer of our own in place of one that has not begun.
    pub(super) fn instead(&mut self, out: &mut Vec<u8>, status: &str) {
        let text = format!(
            "Status: {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{status}\n",
            status.len() + 1
        );
        write_stream(out, fastcgi::Kind::STDOUT, self.id, text.as_bytes());
        self.begun = true;
        self.pending = Vec::new();
    }

    pub(super) fn end(&self, out: &mut Vec<u8>, app_status: u32) {
        if self.begun {
            write_stream(out, fastcgi::Kind::STDOUT, self.id, &self.pending);
        }
        write_end_stream(out, fastcgi::Kind::STDOUT, self.id);
        write_end_request(out, self.id, app_status, ProtocolStatus::Complete);
    }
}

fn head_text(head: &Response<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    let mut field = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    };
    if let Kind::LocalRedirect(path) = head.kind() {
        field(b"X-Accel-Redirect", path);
    } else {
        let reason = head.reason();
        let status = [head.status().to_string().as_bytes(), b" ", reason].concat();
        field(b"Status", status.trim_ascii_end());
        for (name, value) in head.fields() {
            field(name, value);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_gateway::fastcgi::{Answer as Piece, Client};

    #[track_caller]
    fn check(written: &str, want: &str) {
        for size in [1, 3, written.len().max(1)] {
            let mut answer = Answer::new(1);
            let mut out = Vec::new();
            let done = written
                .as_bytes()
                .chunks(size)
                .try_for_each(|piece| answer.stdout(&mut out, piece));
            let mut text = match done {
                Ok(()) => String::new(),
                Err(error) => format!("error: {error}"),
            };
            if answer.has_begun() {
                answer.end(&mut out, 0);
            }
            let (mut client, mut at) = (Client::new(1), 0);
            while let (Piece::Stdout(data), used) = client.advance(&out[at..]).unwrap() {
                text.push_str(std::str::from_utf8(data).unwrap());
                at += used;
            }
            assert_eq!(text, want, "{written:?}");
        }
    }

    #[test]
    fn heads() {
        check(
            "Content-Type: a/b\n\nbody\n",
            "Status: 200\r\nContent-Type: a/b\r\n\r\nbody\n",
        );
        check(
            "Status: 404 Not There\r\nX: y\r\n\r\n",
            "Status: 404 Not There\r\nX: y\r\n\r\n",
        );
        check("Location: /a?b\n\n", "X-Accel-Redirect: /a?b\r\n\r\n");
        check(
            "Location: http://x/\n\n",
            "Status: 302\r\nLocation: http://x/\r\n\r\n",
        );
        check(
            "Status: 301\nLocation: /a\n\n",
            "Status: 301\r\nLocation: /a\r\n\r\n",
        );
        check(
            "HTTP/1.0 201 Made\nX: y\n\nbody",
            "Status: 201 Made\r\nX: y\r\n\r\nbody",
        );
        check(
            "no head at all\n\n",
            "error: a header name that is not a token",
        );
        check("X: y\n", "");
    }
}
