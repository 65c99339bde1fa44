//! Lines as syslog datagrams (RFC 3164's shape), to a Unix socket or by UDP, as nginx's `syslog:` targets name them.
//!
//! Not here: lines themselves. What cannot be sent is dropped: a log that blocks is worse.

use std::fmt::Write as _;
use std::io;
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use jiff::Zoned;
use tracing::Level;

use super::LineSink;
use crate::Error;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug",
];
const DEFAULT_PORT: u16 = 514;

/// Where the datagrams go, and what is in front of each line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    pub server: SyslogServer,
    /// 0 to 23.
    facility: usize,
    /// For lines that have none of their own: 0 to 7.
    severity: usize,
    tag: String,
    hostname: bool,
}

/// Who takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogServer {
    Unix(PathBuf),
    /// `host:port`; looked up when it is opened.
    Udp(String),
}

impl SyslogSettings {
    /// From what follows `syslog:`: `server=…[,facility=…][,severity=…][,tag=…][,nohostname]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut server = None;
        let mut settings = Self {
            server: SyslogServer::Udp(String::new()),
            facility: 23,
            severity: 6,
            tag: "nginx".to_owned(),
            hostname: true,
        };
        let find = |list: &[&str], what, value: &str| {
            let found = list.iter().position(|known| *known == value);
            found.ok_or_else(|| format!("unknown syslog {what} \"{value}\""))
        };
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "server" => {
                    server = Some(match value.strip_prefix("unix:") {
                        Some(path) => SyslogServer::Unix(path.into()),
                        None if value.is_empty() => return Err("no syslog server".to_owned()),
                        None if value
                            .rsplit_once(':')
                            .is_some_and(|(_, port)| port.parse::<u16>().is_ok()) =>
                        {
                            SyslogServer::Udp(value.to_owned())
                        }
                        None => SyslogServer::Udp(format!("{value}:{DEFAULT_PORT}")),
                    });
                }
                "facility" => settings.facility = find(&FACILITIES, "facility", value)?,
                "severity" => settings.severity = find(&SEVERITIES, "severity", value)?,
                "tag" => {
                    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if value.is_empty() || value.len() > 32 || !value.chars().all(good) {
                        return Err(format!(
                            "syslog \"tag\" \"{value}\" has to be up to 32 letters, digits and _"
                        ));
                    }
                    value.clone_into(&mut settings.tag);
                }
                "nohostname" => settings.hostname = false,
                _ => return Err(format!("unknown syslog parameter \"{part}\"")),
            }
        }
        settings.server = server.ok_or("no syslog server specified")?;
        Ok(settings)
    }
}

/// An open way to a syslog server. It is opened again by itself when the server was away.
#[derive(Debug)]
pub struct Syslog {
    settings: SyslogSettings,
    socket: Mutex<Option<Socket>>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Syslog {
    #[must_use]
    pub fn new(settings: SyslogSettings) -> Self {
        Self {
            settings,
            socket: Mutex::default(),
        }
    }

    /// Sends a line, without its newline.
    pub fn send(&self, line: &[u8]) {
        self.send_as(self.settings.severity, line);
    }

    fn send_as(&self, severity: usize, line: &[u8]) {
        let SyslogSettings {
            facility,
            tag,
            hostname,
            ..
        } = &self.settings;
        let mut head = format!(
            "<{}>{} ",
            facility * 8 + severity,
            Zoned::now().strftime("%b %e %H:%M:%S")
        );
        if *hostname {
            let host = nix::unistd::gethostname().unwrap_or_default();
            let _ = write!(head, "{} ", host.to_string_lossy());
        }
        let _ = write!(head, "{tag}: ");
        let mut datagram = head.into_bytes();
        datagram.extend_from_slice(line);
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // Once more with a fresh socket: the server may have been started again.
        for _ in 0..2 {
            if socket.is_none() {
                *socket = self.connect().ok();
            }
            let sent = match &*socket {
                None => return,
                Some(Socket::Unix(socket)) => socket.send(&datagram),
                Some(Socket::Udp(socket)) => socket.send(&datagram),
            };
            match sent {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => *socket = None,
                _ => return,
            }
        }
    }

    fn connect(&self) -> io::Result<Socket> {
        match &self.settings.server {
            SyslogServer::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Ok(Socket::Unix(socket))
            }
            SyslogServer::Udp(server) => {
                let addr = server.to_socket_addrs()?.next();
                let addr = addr.ok_or(io::ErrorKind::AddrNotAvailable)?;
                let any = if addr.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(addr)?;
                socket.set_nonblocking(true)?;
                Ok(Socket::Udp(socket))
            }
        }
    }
}

impl LineSink for Syslog {
    fn line(&self, line: &[u8]) {
        self.send(line.trim_ascii_end());
    }

    fn line_at(&self, level: Level, line: &[u8]) {
        let severity = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        self.send_as(severity, line.trim_ascii_end());
    }

    fn reopen(&self) -> Result<(), Error> {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let check = |text: &str, want: &str| {
            let got = match SyslogSettings::parse(text) {
                Ok(one) => format!(
                    "{:?} {} {} {} {}",
                    one.server, one.facility, one.severity, one.tag, one.hostname
                ),
                Err(told) => told,
            };
            assert_eq!(got, want, "{text}");
        };
        check("server=unix:/dev/log", "Unix(\"/dev/log\") 23 6 nginx true");
        check(
            "server=10.0.0.1,facility=daemon,tag=web,severity=warn,nohostname",
            "Udp(\"10.0.0.1:514\") 3 4 web false",
        );
        check("server=[::1]:5514", "Udp(\"[::1]:5514\") 23 6 nginx true");
        check("facility=local1", "no syslog server specified");
        check("server=a,facility=x", "unknown syslog facility \"x\"");
        check(
            "server=a,tag=a-b",
            "syslog \"tag\" \"a-b\" has to be up to 32 letters, digits and _",
        );
        check("server=a,x=1", "unknown syslog parameter \"x=1\"");
    }

    #[test]
    fn datagrams() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let text = format!("server=unix:{},tag=web,nohostname", path.display());
        let syslog = Syslog::new(SyslogSettings::parse(&text).unwrap());
        syslog.send(b"nobody there");
        let mut buffer = [0; 200];
        for round in 0..2 {
            let server = UnixDatagram::bind(&path).unwrap();
            syslog.line_at(Level::ERROR, b"one\n");
            let count = server.recv(&mut buffer).unwrap();
            let got = std::str::from_utf8(&buffer[..count]).unwrap();
            assert!(
                got.starts_with("<187>") && got.ends_with(" web: one"),
                "{round}: {got}"
            );
            // The server is started again.
            drop(server);
            std::fs::remove_file(&path).unwrap();
        }
    }
}
