//! Which process listens on a TCP port, as far as `/proc` tells us. A courtesy for an error message:
//! whatever cannot be read is simply not told.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A process that holds the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

const LISTENING: &str = "0A";
const COMMAND_CHARS_MAX: usize = 60;

/// The process whose listening socket is in the way of `addr`; only processes of ours, unless we are root.
pub(crate) fn of(addr: SocketAddr) -> Option<Owner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<_> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, addr))
        .collect();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter()
        .find(|pid| holds(*pid, &inodes))
        .map(|pid| Owner {
            pid,
            command: command(pid),
        })
}

/// The socket inodes of the rows that listen on the port of `addr`, on its address or on all of them.
fn listening_inodes(table: &str, addr: SocketAddr) -> Vec<String> {
    let rows = table.lines().skip(1).filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let same_port = u16::from_str_radix(port, 16).ok()? == addr.port();
        let in_the_way =
            ip.chars().all(|c| c == '0') || addr.ip().is_unspecified() || ip == hex(addr.ip());
        (*state == LISTENING && same_port && in_the_way).then(|| (*inode).to_owned())
    });
    rows.collect()
}

/// An address as `/proc/net/tcp` writes it: words of 32 bits in the machine's byte order.
fn hex(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets
        .chunks_exact(4)
        .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    words.map(|word| format!("{word:08X}")).collect()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| {
            let target = target.as_os_str().as_bytes();
            let inode = target
                .strip_prefix(b"socket:[")
                .and_then(|rest| rest.strip_suffix(b"]"));
            inode.is_some_and(|inode| inodes.iter().any(|known| known.as_bytes() == inode))
        })
}

/// The command line in short: the program without its folder, then the arguments.
fn command(pid: u32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = raw
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let Some((program, arguments)) = words.split_first() else {
        return String::new();
    };
    let program = Path::new(program.as_ref())
        .file_name()
        .map_or(program.clone(), |name| name.to_string_lossy());
    let whole = std::iter::once(program.as_ref())
        .chain(arguments.iter().map(AsRef::as_ref))
        .collect::<Vec<_>>()
        .join(" ");
    let plain: String = whole
        .chars()
        .filter(|c| !c.is_control())
        .take(COMMAND_CHARS_MAX)
        .collect();
    if plain.len() < whole.len() {
        format!("{plain}…")
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn our_own_listener_is_found() {
        for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(bind).unwrap();
            let port = listener.local_addr().unwrap().port();
            let owner = of(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
            assert_eq!(owner.pid, std::process::id());
            assert!(owner.command.contains("trine"), "{owner:?}");
        }
    }

    #[test]
    fn rows() {
        let table = "  sl  local_address rem_address   st ...\n\
            0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 4711 1\n\
            1: 0100007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000  0 4712 1\n\
            2: 0200007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 4713 1\n";
        let check = |addr: &str, want: &[&str]| {
            assert_eq!(
                listening_inodes(table, addr.parse().unwrap()),
                want,
                "{addr}"
            );
        };
        if cfg!(target_endian = "little") {
            check("127.0.0.1:8000", &["4711"]);
            check("127.0.0.2:8000", &["4713"]);
        }
        check("0.0.0.0:8000", &["4711", "4713"]);
        check("127.0.0.1:8001", &[]);
    }
}
