//! An answer in FastCGI: what would go out as bytes goes out in records, and the last one says that it is whole.
//!
//! Not here: heads and framing (`reply`).

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use trine_gateway::fastcgi::{
    Kind, ProtocolStatus, write_end_request, write_end_stream, write_stream,
};

use trine_http1::BodyLength;

use crate::python::{Gone, NoBody, Sink};
use crate::worker::body::Body;

/// A file is read in parts of this size, since its bytes have to go into records.
const FILE_READ: usize = 64 * 1024;

/// Wraps a [`Sink`].
pub struct Records<'a> {
    sink: &'a mut dyn Sink,
    id: u16,
    plain: Vec<u8>,
    begun: bool,
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<'a> Records<'a> {
    pub fn new(sink: &'a mut dyn Sink, id: u16) -> Self {
        Self {
            sink,
            id,
            plain: Vec::new(),
            begun: false,
        }
    }

    fn frame(&mut self, data: &[u8], tail: &[u8]) {
        let out = self.sink.out();
        if !self.begun && !self.plain.is_empty() {
            self.begun = true;
            status_field(&mut self.plain);
        }
        for part in [&self.plain[..], data, tail] {
            write_stream(out, Kind::STDOUT, self.id, part);
        }
        self.plain.clear();
    }

    /// The call is over. A `whole` answer gets its end; what was cut off does not, so that the web server sees it.
    pub fn end(mut self, whole: bool) {
        self.frame(b"", b"");
        if whole {
            let out = self.sink.out();
            write_end_stream(out, Kind::STDOUT, self.id);
            write_end_request(out, self.id, 0, ProtocolStatus::Complete);
        }
    }
}

impl Sink for Records<'_> {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.plain
    }

    fn push(&mut self, data: &[u8], tail: &'static [u8], wait: bool) -> Result<(), Gone> {
        self.frame(data, tail);
        self.sink.push(b"", b"", wait)
    }

    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) -> Result<(), Gone> {
        let mut file = std::fs::File::from(file);
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset)).map_err(|_| Gone)?;
        let mut left = len;
        let mut part = vec![0; FILE_READ.min(usize::try_from(len).unwrap_or(FILE_READ))];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(FILE_READ).min(part.len());
            let room = part.get_mut(..want).unwrap_or_default();
            // A file that has become shorter cannot be what was announced.
            file.read_exact(room).map_err(|_| Gone)?;
            left -= want as u64;
            self.push(part.get(..want).unwrap_or_default(), b"", left > 0)?;
        }
        Ok(())
    }

    fn body(&mut self, length: BodyLength) -> Result<Body, NoBody> {
        self.sink.body(length)
    }

    fn socket(&mut self) -> io::Result<OwnedFd> {
        Err(io::Error::other("it is shared with the web server"))
    }

    fn date(&mut self) -> [u8; 29] {
        self.sink.date()
    }

    fn eager(&self) -> bool {
        self.sink.eager()
    }
}

/// What is the status line in HTTP is a field in CGI.
fn status_field(head: &mut Vec<u8>) {
    const VERSION: usize = "HTTP/1.1".len();
    if head.starts_with(b"HTTP/1.") {
        head.splice(..VERSION.min(head.len()), *b"Status:");
    }
}

/// A whole error page as the answer to a request.
pub(super) fn framed_page(id: u16, mut page: Vec<u8>) -> Vec<u8> {
    status_field(&mut page);
    let mut out = Vec::new();
    write_stream(&mut out, Kind::STDOUT, id, &page);
    write_end_stream(&mut out, Kind::STDOUT, id);
    write_end_request(&mut out, id, 0, ProtocolStatus::Complete);
    out
}
