//! Lines to the system's log, over its socket.
//! Not here: which lines.

use std::io;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/dev/log";
/// What every syslog daemon takes in one piece.
const LONGEST: usize = 2000;
const INFO: u8 = 6;

/// RFC 3164's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Facility {
    Daemon = 3,
}

/// A way to the system's log; made anew when the daemon behind it was.
#[derive(Debug)]
pub(super) struct Syslog {
    facility: Facility,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    #[must_use]
    pub(super) fn new(facility: Facility) -> Self {
        Self {
            facility,
            socket: None,
        }
    }

    /// Sends each line by itself. What nobody takes is dropped.
    pub(super) fn send(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                let message = self.message(line);
                if self.try_send(&message).is_err() {
                    self.socket = None;
                    let _ = self.try_send(&message);
                }
            }
        }
    }

    fn message(&self, line: &[u8]) -> Vec<u8> {
        let priority = self.facility as u8 * 8 + INFO;
        let mut message = format!("<{priority}>").into_bytes();
        message.extend_from_slice(&line[..line.len().min(LONGEST)]);
        message
    }

    fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(SOCKET)?;
                self.socket.insert(socket)
            }
        };
        socket.send(message).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_priority_and_fits() {
        let syslog = Syslog::new(Facility::Daemon);
        assert_eq!(syslog.message(b"web up"), b"<30>web up");
        assert_eq!(syslog.message(&[b'x'; 9000]).len(), LONGEST + 4);
        Syslog::new(Facility::Daemon).send(b"nobody has to listen\n");
    }
}
