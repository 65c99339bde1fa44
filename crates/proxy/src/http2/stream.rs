//! One stream of HTTP/2 with the operations of a socket that carries HTTP/1: what is read from it is a request, what is
//! written to it is an answer.
//!
//! Content of unknown length comes in chunks and goes out of chunks. A write waits when the client's window is closed,
//! so that the deadlines of the request path hold for it as for a socket. Not here: the connection (the parent module).

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use trine_http1::{BodyDecoder, BodyLength, Limits, ResponseHead};
use trine_sys::file::pread;

use super::head;
use crate::conn::Conn;

/// Bytes of a file that are read at once.
const PIECE: usize = 64 * 1024;

/// Heads that are read here were written by us.
const LIMITS: Limits = Limits {
    request_line: usize::MAX,
    header_line: usize::MAX,
    header_count: 1000,
    head: 1024 * 1024,
};

/// A stream.
pub(crate) struct Http2Stream {
    parent: Rc<Conn>,
    intake: RefCell<Intake>,
    output: RefCell<Output>,
    is_head: bool,
}

/// The request.
struct Intake {
    /// What is read first: the head, then chunk lines.
    front: Vec<u8>,
    front_at: usize,
    content: RecvStream,
    piece: Bytes,
    chunked: bool,
    /// A chunk was begun: its end comes after its content.
    in_chunk: bool,
    ended: bool,
}

/// The answer.
enum Output {
    /// No final head yet; of the next one these bytes have come.
    Head(SendResponse<Bytes>, Vec<u8>),
    Content(SendStream<Bytes>, Box<BodyDecoder>),
    Done,
}

impl Http2Stream {
    pub(super) fn new(
        parent: Rc<Conn>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Self {
        let (parts, content) = request.into_parts();
        let chunked = head::is_chunked(&parts, !content.is_end_stream());
        let mut front = Vec::with_capacity(512);
        head::write_request(&mut front, &parts, chunked);
        Self {
            parent,
            intake: RefCell::new(Intake {
                front,
                front_at: 0,
                content,
                piece: Bytes::new(),
                chunked,
                in_chunk: false,
                ended: false,
            }),
            output: RefCell::new(Output::Head(respond, Vec::new())),
            is_head: parts.method == http::Method::HEAD,
        }
    }

    /// The connection that the stream belongs to.
    pub(crate) fn parent(&self) -> &Conn {
        &self.parent
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.intake.borrow_mut().poll_fill(cx)
    }

    /// Reads the head, then content; 0 is the end.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let intake = &mut *self.intake.borrow_mut();
        ready!(intake.poll_fill(cx))?;
        if intake.front_at < intake.front.len() {
            let rest = &intake.front[intake.front_at..];
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            intake.front_at += count;
            return Poll::Ready(Ok(count));
        }
        let count = intake.piece.len().min(buf.len());
        buf[..count].copy_from_slice(&intake.piece[..count]);
        intake.piece.advance(count);
        // What was taken makes room for more; a stream that is gone needs none.
        let _ = intake.content.flow_control().release_capacity(count);
        Poll::Ready(Ok(count))
    }

    /// Takes some of the answer; never 0 unless there is nothing.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                match self.poll_put(cx, rest) {
                    Poll::Ready(Ok(count)) => {
                        taken += count;
                        rest = &rest[count..];
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Takes a head, or some content with its framing.
    fn poll_put(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let output = &mut *self.output.borrow_mut();
        match output {
            Output::Head(respond, begun) => {
                // Only a limited rate makes pieces of it.
                let before = begun.len();
                let done = if before == 0 {
                    self.put_head(respond, bytes)?
                } else {
                    begun.extend_from_slice(bytes);
                    self.put_head(respond, begun)?
                };
                let Some((length, next)) = done else {
                    if before == 0 {
                        begun.extend_from_slice(bytes);
                    }
                    return Poll::Ready(Ok(bytes.len()));
                };
                begun.clear();
                if let Some(next) = next {
                    *output = next;
                }
                Poll::Ready(Ok(length - before))
            }
            Output::Content(send, decoder) => {
                // On a copy, for what the window does not take yet is not decoded yet.
                let mut after = decoder.clone();
                let decoded = after.decode(bytes).map_err(io::Error::other)?;
                let data = &bytes[decoded.data.clone()];
                let mut consumed = decoded.consumed;
                if !data.is_empty() {
                    let room = ready!(poll_room(cx, send, data.len()))?;
                    if room < data.len() {
                        consumed = decoded.data.start + room;
                        after = decoder.clone();
                        after.decode(&bytes[..consumed]).map_err(io::Error::other)?;
                    }
                    let data = Bytes::copy_from_slice(&data[..room.min(data.len())]);
                    let over = after.is_done() && after.trailers().next().is_none();
                    send.send_data(data, over).map_err(broken)?;
                    if after.is_done() && !over {
                        put_end(send, &after)?;
                    }
                } else if after.is_done() {
                    put_end(send, &after)?;
                }
                if after.is_done() {
                    *output = Output::Done;
                } else {
                    *decoder = after;
                }
                Poll::Ready(Ok(consumed))
            }
            // Framing behind the end, which HTTP/2 does not have.
            Output::Done => Poll::Ready(Ok(bytes.len())),
        }
    }

    /// Sends a head, once it is complete. Returns how long it was, and what follows a final one.
    fn put_head(
        &self,
        respond: &mut SendResponse<Bytes>,
        bytes: &[u8],
    ) -> io::Result<Option<(usize, Option<Output>)>> {
        let mut head = ResponseHead::default();
        let parsed = head.parse(bytes, &LIMITS).map_err(io::Error::other)?;
        let Some(length) = parsed else {
            return Ok(None);
        };
        let bytes = Bytes::copy_from_slice(&bytes[..length]);
        let answer = head.on(&bytes);
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(answer.status()).map_err(io::Error::other)?;
        *response.headers_mut() = head::fields(answer.headers(), &bytes);
        if answer.is_interim() {
            respond.send_informational(response).map_err(broken)?;
            return Ok(Some((length, None)));
        }
        let body = answer.body(if self.is_head { "HEAD" } else { "GET" });
        let over = matches!(body, BodyLength::Empty | BodyLength::Known(0));
        let send = respond.send_response(response, over).map_err(broken)?;
        let next = if over {
            Output::Done
        } else {
            Output::Content(send, Box::new(BodyDecoder::new(body)))
        };
        Ok(Some((length, Some(next))))
    }

    /// Sends part of a file, as far as the client's window goes.
    pub(crate) fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let output = &mut *self.output.borrow_mut();
        let Output::Content(send, decoder) = output else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let room = ready!(poll_room(cx, send, count.min(PIECE)))?;
        let mut piece = vec![0; room.min(count)];
        let filled = pread(file, &mut piece, *offset)?;
        if filled == 0 {
            return Poll::Ready(Ok(0));
        }
        piece.truncate(filled);
        decoder.decode(&piece).map_err(io::Error::other)?;
        let over = decoder.is_done();
        send.send_data(piece.into(), over).map_err(broken)?;
        if over {
            *output = Output::Done;
        }
        *offset += filled as u64;
        Poll::Ready(Ok(filled))
    }

    /// Ready when the client has taken its request back, or is gone.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        let reset = match &mut *self.output.borrow_mut() {
            Output::Head(respond, _) => ready!(respond.poll_reset(cx)),
            Output::Content(send, _) => ready!(send.poll_reset(cx)),
            Output::Done => return Poll::Pending,
        };
        Poll::Ready(match reset {
            Ok(_) => None,
            Err(error) => Some(broken(error)),
        })
    }

    /// The request is over. An answer that is not complete must not look like one.
    pub(crate) fn close(&self) {
        match &mut *self.output.borrow_mut() {
            Output::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            Output::Content(send, _) => send.send_reset(Reason::INTERNAL_ERROR),
            Output::Done => {}
        }
    }
}

impl Intake {
    /// Ready when there is something to read, or its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.front_at < self.front.len() || !self.piece.is_empty() || self.ended {
                return Poll::Ready(Ok(()));
            }
            self.front.clear();
            self.front_at = 0;
            if std::mem::take(&mut self.in_chunk) {
                self.front.extend_from_slice(b"\r\n");
                continue;
            }
            match ready!(self.content.poll_data(cx)) {
                // An empty chunk would be the last one.
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    if self.chunked {
                        self.in_chunk = true;
                        // Writing to a Vec cannot fail.
                        let _ = write!(self.front, "{:x}\r\n", piece.len());
                    }
                    self.piece = piece;
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => {
                    self.ended = true;
                    if self.chunked {
                        self.front.extend_from_slice(b"0\r\n\r\n");
                    }
                }
            }
        }
    }
}

/// Ends content whose end came after its last piece, as that of chunks does.
fn put_end(send: &mut SendStream<Bytes>, decoder: &BodyDecoder) -> io::Result<()> {
    let mut trailers = http::HeaderMap::new();
    for (name, value) in decoder.trailers() {
        let name = http::HeaderName::from_bytes(name).map_err(io::Error::other)?;
        let value = http::HeaderValue::from_bytes(value).map_err(io::Error::other)?;
        trailers.append(name, value);
    }
    if trailers.is_empty() {
        send.send_data(Bytes::new(), true).map_err(broken)
    } else {
        send.send_trailers(trailers).map_err(broken)
    }
}

/// How many of `want` bytes may be sent now; not 0.
fn poll_room(
    cx: &mut Context<'_>,
    send: &mut SendStream<Bytes>,
    want: usize,
) -> Poll<io::Result<usize>> {
    loop {
        let room = send.capacity();
        if room > 0 {
            return Poll::Ready(Ok(room.min(want)));
        }
        send.reserve_capacity(want);
        if send.capacity() > 0 {
            continue;
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl fmt::Debug for Http2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Stream")
            .field("is_head", &self.is_head)
            .finish_non_exhaustive()
    }
}
