//! A client's request body, piece by piece, out of its framing.
//!
//! Not here: where the pieces go, and how long to wait for them.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use trine_http1::{BodyDecoder, BodyError, BodyLength};

use super::lane::Lane;
use crate::spool::Spool;
use crate::stream::Stream;
use crate::workbench::{Input, Store};

/// Where a body stands. The bytes themselves are in the workbench: first what came behind the head, then `bulk`.
#[derive(Debug)]
pub(crate) struct ClientBody {
    decoder: BodyDecoder,
    length: BodyLength,
    /// Reading has moved on to the large buffer.
    in_bulk: bool,
    received: u64,
    /// Most bytes of content that are taken.
    limit: u64,
    /// All of it, if it came together with the head, where it lies in the input.
    held: Option<Range<usize>>,
    spooled: Option<Spooled>,
    /// The last piece came from the spool.
    in_page: bool,
}

/// A body, or its beginning, that was read before anybody was asked.
#[derive(Debug)]
struct Spooled {
    spool: Box<Spool>,
    /// How much of it was sent.
    at: u64,
}

/// The part of the workbench that a body is read with.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) store: &'a Store,
    pub(crate) input: &'a mut Input,
    pub(crate) bulk: &'a mut Input,
    pub(crate) page: &'a mut Input,
    pub(crate) lane: &'a Lane,
}

/// Why no more of a body can be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the client went away")]
    Gone(#[source] io::Error),
    #[error("the client closed the connection within the body")]
    Cut,
    #[error("the body is malformed")]
    Malformed(#[source] BodyError),
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("what was read of the body cannot be read again")]
    Spool(#[source] io::Error),
}

impl ClientBody {
    pub(crate) fn new(length: BodyLength, limit: u64) -> Self {
        Self {
            decoder: BodyDecoder::new(length),
            length,
            in_bulk: false,
            received: 0,
            limit,
            held: None,
            spooled: None,
            in_page: false,
        }
    }

    /// All of it, if it came together with the head.
    pub(crate) fn held(&self) -> Option<Range<usize>> {
        self.held.clone()
    }

    /// Its length, if all of it is here, so that it can be sent again.
    pub(crate) fn whole(&self) -> Option<u64> {
        match (&self.held, &self.spooled) {
            (Some(held), _) => Some(held.len() as u64),
            (None, Some(spooled)) if self.decoder.is_done() => Some(spooled.spool.len()),
            (None, _) => None,
        }
    }

    /// Nothing more of it will come.
    pub(crate) fn is_read(&self) -> bool {
        self.decoder.is_done()
    }

    /// What was read of it goes first from now on.
    pub(crate) fn put_in_front(&mut self, spool: Box<Spool>) {
        self.spooled = Some(Spooled { spool, at: 0 });
    }

    /// Starts at the beginning again, as far as that is still here.
    pub(crate) fn rewind(&mut self) {
        self.in_page = false;
        if let Some(spooled) = &mut self.spooled {
            spooled.at = 0;
        }
    }

    /// Takes what has already come into `input`, as long as it is there: the whole body, packed into one range, if all
    /// of it is there. The range stays good as long as the head does, so that it can be sent again.
    pub(crate) fn take_held(&mut self, input: &mut Input) -> Result<(), BodyFault> {
        self.held = self.find_held(input)?;
        Ok(())
    }

    fn find_held(&mut self, input: &mut Input) -> Result<Option<Range<usize>>, BodyFault> {
        match self.length {
            BodyLength::Empty => Ok(Some(0..0)),
            BodyLength::Known(length) => {
                let Ok(length) = usize::try_from(length) else {
                    return Ok(None);
                };
                if input.unread().len() < length {
                    return Ok(None);
                }
                let range = input.start()..input.start() + length;
                self.advance(input)?;
                Ok(Some(range))
            }
            BodyLength::Chunked => {
                // Look first: a body that is not complete must be left as it is.
                let mut trial = self.decoder.clone();
                let mut seen = 0;
                while !trial.is_done() {
                    let decoded = trial
                        .decode(&input.unread()[seen..])
                        .map_err(BodyFault::Malformed)?;
                    if decoded.consumed == 0 && !decoded.done {
                        return Ok(None);
                    }
                    seen += decoded.consumed;
                }
                let begin = input.start();
                let mut end = begin;
                while let Some(piece) = self.piece_of(input)? {
                    let length = piece.len();
                    input.all_mut().copy_within(piece, end);
                    end += length;
                }
                Ok(Some(begin..end))
            }
            BodyLength::UntilClose => Ok(None),
        }
    }

    /// Takes everything up to the end of a body of known length that is there.
    fn advance(&mut self, input: &mut Input) -> Result<(), BodyFault> {
        while self.piece_of(input)?.is_some() {}
        Ok(())
    }

    /// The next piece of content in `input`, as a range of its buffer; `None` if there is no more of it.
    fn piece_of(&mut self, input: &mut Input) -> Result<Option<Range<usize>>, BodyFault> {
        while !self.decoder.is_done() {
            let base = input.start();
            let decoded = self
                .decoder
                .decode(input.unread())
                .map_err(BodyFault::Malformed)?;
            input.consume(decoded.consumed);
            self.received += decoded.data.len() as u64;
            if self.received > self.limit {
                return Err(BodyFault::TooLarge { limit: self.limit });
            }
            if !decoded.data.is_empty() {
                return Ok(Some(base + decoded.data.start..base + decoded.data.end));
            }
            if decoded.consumed == 0 {
                break;
            }
        }
        Ok(None)
    }

    /// The next piece of content, as a range of [`buffer`](Self::buffer); `None` at the end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Intake<'_>,
    ) -> Poll<Result<Option<Range<usize>>, BodyFault>> {
        if let Some(spooled) = &mut self.spooled {
            if from.page.capacity() == 0 {
                *from.page = from.store.bulk();
            }
            from.page.clear();
            let read = spooled.spool.read_at(spooled.at, from.page.space());
            let count = read.map_err(BodyFault::Spool)?;
            self.in_page = count > 0;
            if self.in_page {
                spooled.at += count as u64;
                return Poll::Ready(Ok(Some(0..count)));
            }
        }
        self.poll_live(cx, from)
    }

    /// The same for what the client still has to send.
    pub(crate) fn poll_live(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Intake<'_>,
    ) -> Poll<Result<Option<Range<usize>>, BodyFault>> {
        loop {
            let input = if self.in_bulk {
                &mut *from.bulk
            } else {
                &mut *from.input
            };
            if let Some(piece) = self.piece_of(input)? {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(None));
            }
            if !self.in_bulk {
                ready!(from.stream.poll_readable(cx)).map_err(BodyFault::Gone)?;
                self.in_bulk = true;
                *from.bulk = from.store.bulk();
            }
            from.bulk.clear();
            let space = from.bulk.space();
            // A body of known length is not read beyond its end: what follows belongs to the next request.
            let most = match self.length {
                BodyLength::Known(_) => usize::try_from(self.decoder.remaining())
                    .unwrap_or(space.len())
                    .min(space.len()),
                BodyLength::Empty | BodyLength::Chunked | BodyLength::UntilClose => space.len(),
            };
            match ready!(from.stream.poll_read(cx, &mut space[..most])).map_err(BodyFault::Gone)? {
                0 => return Poll::Ready(Err(BodyFault::Cut)),
                count => {
                    from.lane.moved(count);
                    from.bulk.filled(count);
                }
            }
        }
    }

    /// The buffer that the last piece lies in.
    pub(crate) fn buffer<'a>(
        &self,
        input: &'a Input,
        bulk: &'a Input,
        page: &'a Input,
    ) -> &'a [u8] {
        if self.in_page {
            page.all()
        } else if self.in_bulk {
            bulk.all()
        } else {
            input.all()
        }
    }

    /// What came behind the body's end.
    pub(crate) fn early_bytes<'a>(&self, input: &'a Input, bulk: &'a Input) -> &'a [u8] {
        if self.in_bulk {
            bulk.unread()
        } else {
            input.unread()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: BodyLength, limit: u64, bytes: &str, want: &str) {
        let mut input = Input::new(0);
        input.append(b"HEAD");
        input.append(bytes.as_bytes());
        input.consume(4);
        let mut body = ClientBody::new(length, limit);
        let got = match body.take_held(&mut input).map(|()| body.held()) {
            Ok(None) => format!("not all, {} left", input.unread().len()),
            Ok(Some(range)) => {
                let next = String::from_utf8_lossy(input.unread()).into_owned();
                format!("{}|{next}", String::from_utf8_lossy(&input.all()[range]))
            }
            Err(fault) => fault.to_string(),
        };
        assert_eq!(got, want, "{bytes:?}");
    }

    #[test]
    fn held_bodies() {
        check(BodyLength::Empty, 9, "GET", "|GET");
        check(BodyLength::Known(3), 9, "abcGET", "abc|GET");
        check(BodyLength::Known(3), 9, "ab", "not all, 2 left");
        check(BodyLength::Known(0), 9, "", "|");
        check(
            BodyLength::Chunked,
            9,
            "2\r\nab\r\n3;x\r\ncde\r\n0\r\n\r\nGET",
            "abcde|GET",
        );
        check(
            BodyLength::Chunked,
            9,
            "2\r\nab\r\n3\r\ncde\r\n0\r\n\r",
            "not all, 19 left",
        );
        check(
            BodyLength::Chunked,
            4,
            "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
            "the body is larger than 4 bytes",
        );
        check(BodyLength::Chunked, 9, "2\nab", "the body is malformed");
        check(BodyLength::Chunked, 9, "", "not all, 0 left");
    }
}
