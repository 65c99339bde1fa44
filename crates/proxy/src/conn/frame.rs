//! One thing to be written: a front (a head or a chunk line), a part of some buffer, and a tail.
//!
//! It knows how far it got, so that a write that would block goes on later. Not here: where the bytes come from.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::task::{Context, Poll, ready};

use trine_sys::net;

use crate::stream::{Next, Stream};
use crate::workbench::Input;

/// Content up to this size is copied behind the front: cheaper than handing the kernel two pieces.
const COPY_BYTES: usize = 4096;

/// What is being written. The front and the buffer themselves stay with the caller.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    front: usize,
    data: Range<usize>,
    tail: &'static [u8],
    sent: usize,
}

impl Frame {
    /// Sends `front`, then `data` of `buffer`, then `tail`. Small content moves into `front`.
    pub(crate) fn load(
        &mut self,
        front: &mut Vec<u8>,
        buffer: &[u8],
        data: Range<usize>,
        tail: &'static [u8],
    ) {
        let mut data = data;
        let mut tail = tail;
        if data.len() + tail.len() <= COPY_BYTES && !(front.is_empty() && tail.is_empty()) {
            front.extend_from_slice(&buffer[data.clone()]);
            front.extend_from_slice(tail);
            data = 0..0;
            tail = b"";
        }
        *self = Self {
            front: front.len(),
            data,
            tail,
            sent: 0,
        };
    }

    /// What is left to be sent of `from` is in `to` from now on, which is empty.
    pub(crate) fn move_data(&mut self, from: &[u8], to: &mut Input) {
        to.append(&from[self.data.clone()]);
        self.data = 0..self.data.len();
    }

    fn len(&self) -> usize {
        self.front + self.data.len() + self.tail.len()
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.sent == self.len()
    }

    /// Writes until all is sent, or `most` of it in this call; `then` follows the last of it. Returns how much went out
    /// in this call; `Pending` only if that is nothing.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Stream,
        front: &[u8],
        buffer: &[u8],
        most: usize,
        then: Next,
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while !self.is_sent() && written < most {
            let (slices, count) = self.slices(front, buffer, most - written);
            match stream.poll_write(cx, &slices[..count], then) {
                Poll::Ready(done) => {
                    let done = done?;
                    self.sent += done;
                    written += done;
                }
                Poll::Pending if written > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Writes to a socket of which the runtime does not know yet that it has room. Returns how much went out; whatever is
    /// wrong comes up again in [`poll_write`](Self::poll_write).
    pub(crate) fn write_now(&mut self, stream: &Stream, front: &[u8], buffer: &[u8]) -> usize {
        let Stream::Unix(socket) = stream else {
            return 0;
        };
        let (slices, count) = self.slices(front, buffer, usize::MAX);
        let done = net::writev(socket, &slices[..count]).unwrap_or(0);
        self.sent += done;
        done
    }

    fn slices<'a>(
        &self,
        front: &'a [u8],
        buffer: &'a [u8],
        most: usize,
    ) -> ([IoSlice<'a>; 3], usize) {
        let mut room = most;
        let mut slices = [IoSlice::new(&[]); 3];
        let mut count = 0;
        let mut skip = self.sent;
        for part in [&front[..self.front], &buffer[self.data.clone()], self.tail] {
            let gone = skip.min(part.len());
            skip -= gone;
            let part = &part[gone..];
            let part = &part[..part.len().min(room)];
            if !part.is_empty() {
                room -= part.len();
                slices[count] = IoSlice::new(part);
                count += 1;
            }
        }
        (slices, count)
    }
}

/// Writes all of `bytes`.
pub(crate) fn poll_write_all(
    cx: &mut Context<'_>,
    stream: &Stream,
    bytes: &[u8],
    sent: &mut usize,
    then: Next,
) -> Poll<io::Result<()>> {
    while *sent < bytes.len() {
        *sent += ready!(stream.poll_write(cx, &[IoSlice::new(&bytes[*sent..])], then))?;
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_it_stopped() {
        let big = vec![b'x'; COPY_BYTES + 1];
        let mut front = b"5\r\n".to_vec();
        let mut frame = Frame::default();
        assert!(frame.is_sent());
        frame.load(&mut front, &big, 1..COPY_BYTES + 1, b"\r\n");
        let whole: Vec<u8> = [b"5\r\n", &big[1..], b"\r\n"].concat();
        for sent in 0..whole.len() {
            frame.sent = sent;
            let (slices, count) = frame.slices(&front, &big, usize::MAX);
            let left: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            assert_eq!(left, whole[sent..], "{sent}");
            assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
            let (slices, count) = frame.slices(&front, &big, 5);
            let part: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            assert_eq!(part, left.len().min(5));
        }
    }

    #[test]
    fn small_content_is_one_slice() {
        let mut front = b"head".to_vec();
        let mut frame = Frame::default();
        frame.load(&mut front, b"0123456789", 2..5, b"\r\n");
        let (slices, count) = frame.slices(&front, b"", usize::MAX);
        assert_eq!((count, &*slices[0]), (1, &b"head234\r\n"[..]));
    }
}
