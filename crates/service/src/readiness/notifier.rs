//! The daemon's side: telling the service manager, if there is one.
//!
//! Not here: retrying. A lost STATUS is no harm, and a lost READY is the manager's to time out.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::socket_addr;
use crate::Error;

/// A manager that does not read holds us up for no longer than this.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends state changes to whoever set NOTIFY_SOCKET: systemd, trine-supervisor or another. Without that
/// variable every call does nothing and succeeds.
///
/// # Errors
/// All calls: [`Error::Notify`] when the socket is there no more, is full for a second, or the address is bad.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    address: Option<String>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; leaves them in place.
    #[must_use]
    pub fn from_env() -> Self {
        let address = env::var("NOTIFY_SOCKET")
            .ok()
            .filter(|value| !value.is_empty());
        let for_us =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let micros = env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|value| value.parse().ok());
        let watchdog = micros
            .filter(|micros| for_us && *micros > 0)
            .map(Duration::from_micros);
        Self { address, watchdog }
    }

    /// A notifier for a known address (`/path` or `@abstract`); for tests and for managers of managers.
    #[must_use]
    pub fn to(address: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
            watchdog: None,
        }
    }

    /// Whether anybody listens at all.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.address.is_some()
    }

    /// The longest the manager waits between two [`Self::watchdog`] calls, when it wants them
    /// (`sd_watchdog_enabled(3)`); send at half of it.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog
    }

    /// READY=1: started, or the reload announced by [`Self::reloading`] is over.
    pub fn ready(&self) -> Result<(), Error> {
        self.send("READY=1")
    }

    /// READY=1 with a line for people, in one message.
    pub fn ready_with(&self, status: &str) -> Result<(), Error> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// STATUS=…: one line for people, shown by `systemctl status`. Never waits: a manager that does not read misses it.
    pub fn status(&self, status: &str) -> Result<(), Error> {
        self.deliver(&format!("STATUS={}", one_line(status)), None)
    }

    /// RELOADING=1 with the monotonic time that `Type=notify-reload` asks for.
    pub fn reloading(&self) -> Result<(), Error> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()))
    }

    /// STOPPING=1: the end has begun.
    pub fn stopping(&self) -> Result<(), Error> {
        self.send("STOPPING=1")
    }

    /// WATCHDOG=1: still alive.
    pub fn watchdog(&self) -> Result<(), Error> {
        self.send("WATCHDOG=1")
    }

    /// MAINPID=…: `pid` is the main process from now on.
    pub fn main_pid(&self, pid: i32) -> Result<(), Error> {
        self.send(&format!("MAINPID={pid}"))
    }

    /// EXTEND_TIMEOUT_USEC=…: the start, reload or stop under way takes `more` from now.
    pub fn extend_timeout(&self, more: Duration) -> Result<(), Error> {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", more.as_micros()))
    }

    /// Any lines of `NAME=value`, as one datagram.
    pub fn send(&self, lines: &str) -> Result<(), Error> {
        self.deliver(lines, Some(SEND_TIMEOUT))
    }

    fn deliver(&self, lines: &str, patience: Option<Duration>) -> Result<(), Error> {
        let Some(address) = &self.address else {
            return Ok(());
        };
        let sent = send_to(address, lines, patience);
        sent.map_err(|source| Error::Notify {
            address: address.clone(),
            source,
        })
    }
}

fn send_to(address: &str, lines: &str, patience: Option<Duration>) -> io::Result<()> {
    let to = socket_addr(address)?;
    let socket = UnixDatagram::unbound()?;
    match patience {
        Some(patience) => socket.set_write_timeout(Some(patience))?,
        None => socket.set_nonblocking(true)?,
    }
    socket.send_to_addr(lines.as_bytes(), &to).map(drop)
}

/// A newline would start another field.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
