//! One message of the protocol as fields. Pure: bytes in, fields out.
//!
//! Not here: sockets.

use std::time::Duration;

/// What a process told its service manager in one datagram: lines of `NAME=value`, sent by `pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyMessage {
    /// The sender, as the kernel saw it (SCM_CREDENTIALS); not what it claims.
    pub pid: i32,
    /// The sender's effective user id.
    pub uid: u32,
    /// Name and value of each line, in order. Lines without `=` are left out.
    pub fields: Vec<(String, String)>,
}

impl NotifyMessage {
    /// Reads the lines of a datagram. What is not UTF-8 is replaced, as it ends up in logs only.
    #[must_use]
    pub fn parse(pid: i32, uid: u32, datagram: &[u8]) -> Self {
        let text = String::from_utf8_lossy(datagram);
        let fields = text.split('\n').filter_map(|line| line.split_once('='));
        Self {
            pid,
            uid,
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The last value given for `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .rev()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// READY=1: started, or done with a reload.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.get("READY") == Some("1")
    }

    /// RELOADING=1: busy with a reload; READY=1 will follow.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.get("RELOADING") == Some("1")
    }

    /// STOPPING=1: on its way out.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.get("STOPPING") == Some("1")
    }

    /// WATCHDOG=1: still alive.
    #[must_use]
    pub fn is_watchdog(&self) -> bool {
        self.get("WATCHDOG") == Some("1")
    }

    /// STATUS=…: one line for people.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.get("STATUS")
    }

    /// MAINPID=…: another process of the program is its main one from now on.
    #[must_use]
    pub fn main_pid(&self) -> Option<i32> {
        self.get("MAINPID")?.parse().ok().filter(|pid| *pid > 0)
    }

    /// EXTEND_TIMEOUT_USEC=…: give me this much longer from now.
    #[must_use]
    pub fn extend_timeout(&self) -> Option<Duration> {
        self.get("EXTEND_TIMEOUT_USEC")?
            .parse()
            .ok()
            .map(Duration::from_micros)
    }
}
