//! The hand-over of sockets by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES (`sd_listen_fds(3)`).
//!
//! Not here: handing sockets down to children; `trine_sys::spawn` does that for the supervisor.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use trine_config::ListenAddr;
use trine_sys::fdpass;
use trine_sys::net::{self, SockAddr};

use crate::Error;

/// The first descriptor handed down; 0 to 2 are the standard streams.
const FIRST: RawFd = 3;

/// One descriptor that was handed down.
#[derive(Debug)]
pub struct InheritedFd {
    /// The descriptor itself, CLOEXEC by now.
    pub fd: OwnedFd,
    /// Its number when it came.
    pub number: RawFd,
    /// Its name in LISTEN_FDNAMES; `unknown` when there was none (systemd's word).
    pub name: String,
    /// Where it listens; `None` when it is no socket.
    pub addr: Option<SockAddr>,
    /// It takes datagrams (UDP), and listens for no connections.
    pub datagram: bool,
}

/// What was handed down and not yet taken. What is left when this is dropped gets closed.
#[derive(Debug, Default)]
pub struct Inherited {
    fds: Vec<InheritedFd>,
}

/// Takes over the descriptors that LISTEN_FDS announces, if LISTEN_PID is our pid; nothing otherwise, as
/// then the variables are meant for another process. The variables stay set. To be called once, early; a
/// second call finds the descriptors taken and fails.
///
/// # Errors
/// [`Error::InheritedVariable`] for a count that is none, [`Error::InheritedDescriptor`] for a promised
/// descriptor that is not open.
pub fn inherited() -> Result<Inherited, Error> {
    let [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
        .map(|name| env::var(name).unwrap_or_default());
    let mut fds = Vec::new();
    for (number, name) in announced(&pid, &count, &names, std::process::id())? {
        let fd = fdpass::adopt(number)
            .map_err(|source| Error::InheritedDescriptor { number, source })?;
        fds.push(InheritedFd::new(fd, number, name));
    }
    Ok(Inherited { fds })
}

/// Which descriptors the variables promise to process `us`.
fn announced(pid: &str, count: &str, names: &str, us: u32) -> Result<Vec<(RawFd, String)>, Error> {
    let bad = |variable, value: &str| Error::InheritedVariable {
        variable,
        value: value.to_owned(),
    };
    if pid.is_empty() || count.is_empty() {
        return Ok(Vec::new());
    }
    if pid.parse::<u32>().map_err(|_| bad("LISTEN_PID", pid))? != us {
        return Ok(Vec::new());
    }
    let count = count.parse::<u16>().map_err(|_| bad("LISTEN_FDS", count))?;
    let mut names = names
        .split(':')
        .map(|name| if name.is_empty() { "unknown" } else { name });
    let numbered = (FIRST..).take(usize::from(count));
    Ok(numbered
        .map(|number| (number, names.next().unwrap_or("unknown").to_owned()))
        .collect())
}

impl Inherited {
    /// What [`Self::take_all`] gave, after it went through another exec of ours.
    #[must_use]
    pub fn again(fds: Vec<InheritedFd>) -> Self {
        Self { fds }
    }

    /// Takes the descriptor for `addr`: `fd:NAME` by name, `fd://N` by number, others by the address they
    /// listen on. `0.0.0.0:N` also takes `[::]:N`, which is what systemd makes of `ListenStream=N`.
    /// Of several that match, the first; call again for the next. Sockets for datagrams are left alone.
    pub fn take(&mut self, addr: &ListenAddr) -> Option<OwnedFd> {
        self.take_kind(addr, false)
    }

    /// The same for a socket that takes datagrams.
    pub fn take_datagram(&mut self, addr: &ListenAddr) -> Option<OwnedFd> {
        self.take_kind(addr, true)
    }

    fn take_kind(&mut self, addr: &ListenAddr, datagram: bool) -> Option<OwnedFd> {
        let find = |fits: fn(&InheritedFd, &ListenAddr) -> bool| {
            let mut all = self.fds.iter();
            all.position(|one| one.datagram == datagram && fits(one, addr))
        };
        let found = find(InheritedFd::is).or_else(|| find(InheritedFd::covers));
        found.map(|index| self.fds.remove(index).fd)
    }

    /// Takes everything that is left, in the order it came.
    pub fn take_all(&mut self) -> Vec<InheritedFd> {
        std::mem::take(&mut self.fds)
    }

    /// The names of what is left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fds.iter().map(|one| one.name.as_str())
    }

    /// What is left, to look at.
    pub fn iter(&self) -> impl Iterator<Item = &InheritedFd> {
        self.fds.iter()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fds.is_empty()
    }
}

impl InheritedFd {
    /// A descriptor that came as `number`, under this name.
    #[must_use]
    pub fn new(fd: OwnedFd, number: RawFd, name: String) -> Self {
        Self {
            addr: net::local_addr(&fd).ok(),
            // What is no socket is none for datagrams.
            datagram: net::is_datagram(&fd).unwrap_or(false),
            fd,
            number,
            name,
        }
    }

    fn is(&self, wanted: &ListenAddr) -> bool {
        match (wanted, &self.addr) {
            (ListenAddr::Tcp(wanted), Some(SockAddr::Tcp(ours))) => wanted == ours,
            (ListenAddr::Unix(wanted), Some(SockAddr::Unix(ours))) => same_path(wanted, ours),
            (ListenAddr::Fd(wanted), _) => *wanted == self.name,
            (ListenAddr::FdNumber(wanted), _) => *wanted == self.number,
            (ListenAddr::Tcp(_) | ListenAddr::Unix(_), _) => false,
        }
    }

    /// A socket on all IPv6 addresses usually takes IPv4 as well (`ipv6(7)`, IPV6_V6ONLY).
    fn covers(&self, wanted: &ListenAddr) -> bool {
        const ALL_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        const ALL_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        match (wanted, &self.addr) {
            (ListenAddr::Tcp(wanted), Some(SockAddr::Tcp(ours @ SocketAddr::V6(_)))) => {
                wanted.ip() == ALL_V4 && ours.ip() == ALL_V6 && wanted.port() == ours.port()
            }
            _ => false,
        }
    }
}

/// The same name, or the same file under two names (a relative path, a symbolic link on the way).
fn same_path(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Some((folder.canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    one == other || real(one).is_some_and(|real_one| Some(real_one) == real(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pid: &str, count: &str, names: &str, want: &str) {
        let got = match announced(pid, count, names, 7) {
            Ok(fds) => fds
                .iter()
                .map(|(number, name)| format!("{number}={name} "))
                .collect(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got.trim_end(), want);
    }

    #[test]
    fn variables() {
        check("", "", "", "");
        check("7", "", "", "");
        check("", "2", "", ""); // systemd always sets the pid
        check("8", "2", "a:b", "");
        check("8", "nonsense", "", ""); // not ours to judge
        check("7", "0", "", "");
        check("7", "2", "a:b", "3=a 4=b");
        check("7", "3", "a::", "3=a 4=unknown 5=unknown");
        check("7", "2", "", "3=unknown 4=unknown");
        check("7", "1", "a:b", "3=a");
        check(
            "7",
            "-1",
            "",
            "LISTEN_FDS=\"-1\" makes no sense; it is set by whoever hands down the sockets",
        );
        check(
            "x",
            "1",
            "",
            "LISTEN_PID=\"x\" makes no sense; it is set by whoever hands down the sockets",
        );
    }
}
