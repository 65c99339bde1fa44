//! Lines to the system's log, over its socket, as syslog(3) sends them.
//! Not here: which lines.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

const SOCKET: &str = "/dev/log";
/// What every syslog daemon takes in one piece.
const LONGEST: usize = 2000;
/// Facility LOG_USER and severity LOG_INFO (RFC 3164, 4.1.1), which supervisord uses.
const PRIORITY: u8 = 8 + 6;

/// A way to the system's log; made anew when the daemon behind it was.
#[derive(Debug)]
pub(super) struct Syslog {
    /// The name of this program, as it was called.
    ident: String,
    socket: Option<UnixDatagram>,
}

impl Default for Syslog {
    fn default() -> Self {
        let called = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&called).file_name().unwrap_or_default();
        Self::new(&name.to_string_lossy())
    }
}

impl Syslog {
    fn new(ident: &str) -> Self {
        Self {
            ident: ident.to_owned(),
            socket: None,
        }
    }

    /// Sends each line by itself. What nobody takes at once is dropped: nothing here may wait for a log daemon.
    pub(super) fn send(&mut self, text: &[u8]) {
        let time = jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string();
        for line in text.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                let message = self.message(&time, line);
                if self.try_send(&message).is_err() {
                    self.socket = None;
                    let _ = self.try_send(&message);
                }
            }
        }
    }

    fn message(&self, time: &str, line: &[u8]) -> Vec<u8> {
        let mut message = format!("<{PRIORITY}>{time} {}: ", self.ident).into_bytes();
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
    fn a_message_is_as_syslog_daemons_read_it() {
        let syslog = Syslog::new("supervisord");
        let message = syslog.message("Nov  6 01:02:03", b"web up");
        let want = "<14>Nov  6 01:02:03 supervisord: web up";
        assert_eq!(String::from_utf8_lossy(&message), want);
        let long = syslog.message("Nov  6 01:02:03", &[b'x'; 9000]);
        assert_eq!(long.len(), LONGEST + want.len() - "web up".len());
    }
}
