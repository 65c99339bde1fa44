//! Frames over the Unix stream between brain and holder, with descriptors riding along.
//! Not here: what the frames say (see `wire`). Both sides never block here: the caller polls.

use super::wire::{self, Frame, WireError};
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use trine_sys::fdpass;

#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the other side is gone")]
    Closed,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Room for bytes that is kept from one frame to the next.
const MOST_KEPT: usize = 64 << 10;

/// Puts received bytes and descriptors together into frames.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Reads what is there. `Ok(false)`: nothing (more) for now.
    pub fn fill(&mut self, socket: impl AsFd) -> Result<bool, ChannelError> {
        let mut buffer = [0; 16 << 10];
        match fdpass::recv_message(socket, &mut buffer) {
            Ok(got) if got.len == 0 => Err(ChannelError::Closed),
            Ok(got) => {
                self.bytes.extend_from_slice(&buffer[..got.len]);
                self.fds.extend(got.fds);
                Ok(true)
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => Err(ChannelError::Closed),
            Err(err) => Err(err.into()),
        }
    }

    /// Takes the next complete frame out.
    pub fn take<T: serde::de::DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        let Some((Frame { body, fds }, used)) = wire::decode(&self.bytes)? else {
            return Ok(None);
        };
        let message =
            serde_json::from_slice(body).map_err(|err| WireError::Body(err.to_string()))?;
        if fds > self.fds.len() {
            return Err(WireError::Descriptors.into());
        }
        self.bytes.drain(..used);
        // A large frame, such as a configuration, comes once.
        if self.bytes.is_empty() && self.bytes.capacity() > MOST_KEPT {
            self.bytes = Vec::new();
        }
        Ok(Some((message, self.fds.drain(..fds).collect())))
    }
}

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<Rc<OwnedFd>>,
}

impl Outbox {
    pub fn push<T: Serialize>(
        &mut self,
        message: &T,
        fds: Vec<Rc<OwnedFd>>,
    ) -> Result<(), WireError> {
        let count = u8::try_from(fds.len()).map_err(|_| WireError::Descriptors)?;
        self.frames.push_back(Outgoing {
            bytes: wire::encode(message, count)?,
            sent: 0,
            fds,
        });
        Ok(())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends as much as goes without waiting. `Ok(true)`: everything is out.
    pub fn flush(&mut self, socket: impl AsFd) -> Result<bool, ChannelError> {
        while let Some(frame) = self.frames.front_mut() {
            let fds: Vec<BorrowedFd<'_>> = if frame.sent == 0 {
                frame.fds.iter().map(|fd| fd.as_fd()).collect()
            } else {
                Vec::new()
            };
            match fdpass::send_fds(&socket, &frame.bytes[frame.sent..], &fds) {
                Ok(sent) => frame.sent += sent,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err)
                    if matches!(
                        err.kind(),
                        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    return Err(ChannelError::Closed);
                }
                Err(err) => return Err(err.into()),
            }
            if frame.sent == frame.bytes.len() {
                self.frames.pop_front();
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_arrive_in_order_with_their_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        left.set_nonblocking(true).unwrap();
        right.set_nonblocking(true).unwrap();
        let (read, _write) = std::io::pipe().unwrap();
        let fd = Rc::new(OwnedFd::from(read));
        let mut outbox = Outbox::default();
        let long = "x".repeat(500_000);
        outbox.push(&"one", vec![]).unwrap();
        outbox.push(&"two", vec![fd.clone(), fd.clone()]).unwrap();
        outbox.push(&long, vec![fd.clone()]).unwrap();
        outbox.push(&"three", vec![fd]).unwrap();

        let mut inbox = Inbox::default();
        let mut got: Vec<(usize, usize)> = Vec::new();
        while got.len() < 4 {
            outbox.flush(&left).unwrap();
            while inbox.fill(&right).unwrap() {}
            while let Some((text, fds)) = inbox.take::<String>().unwrap() {
                got.push((text.len(), fds.len()));
            }
        }
        assert_eq!(got, [(3, 0), (3, 2), (500_000, 1), (5, 1)]);
        drop(left);
        assert!(matches!(inbox.fill(&right), Err(ChannelError::Closed)));
    }
}
