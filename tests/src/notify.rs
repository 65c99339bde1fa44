//! The receiving end of NOTIFY_SOCKET, as systemd would hold it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A datagram socket that collects what a daemon says about itself.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl NotifySocket {
    #[must_use]
    pub fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        Self {
            socket,
            path: path.to_owned(),
            heard: vec![],
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes one message if there is one within a moment; tells whether `line` was ever said.
    pub fn has_heard(&mut self, line: &str) -> bool {
        let mut buf = [0; 4096];
        if let Ok(length) = self.socket.recv(&mut buf) {
            let text = String::from_utf8_lossy(&buf[..length]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
        }
        self.heard.iter().any(|said| said == line)
    }

    /// All lines so far.
    #[must_use]
    pub fn heard(&self) -> &[String] {
        &self.heard
    }
}
