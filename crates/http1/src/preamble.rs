//! The PROXY protocol's preamble, by which a load balancer tells who its client is: versions 1 and 2 of HAProxy's
//! `proxy-protocol.txt`.
//!
//! Not here: whom to believe, and what follows the preamble.

use std::net::{IpAddr, SocketAddr};

/// Which versions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreambleVersions {
    pub v1: bool,
    pub v2: bool,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// Too few bytes to tell.
    Partial,
    /// No preamble: all bytes belong to what follows.
    Absent,
    /// A preamble of `len` bytes. `addresses` are the client's and the one it connected to; none for health checks of the
    /// load balancer itself, and for protocols without such addresses.
    Present {
        len: usize,
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
}

/// A preamble that is none. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreambleError {
    /// Not `PROXY TCP4|TCP6 source destination port port`, or longer than 107 bytes (section 2.1).
    #[error("the PROXY line is not valid")]
    Line,
    /// Not version 2, or neither LOCAL nor PROXY (section 2.2).
    #[error("the PROXY header has an unknown version or command")]
    Command,
    /// Too short for its family, or too long to be meant.
    #[error("the PROXY header's length does not fit")]
    Length,
    /// A transport other than a stream.
    #[error("the PROXY header names a transport that is not a stream")]
    Transport,
}

/// The longest line of version 1, with its line end.
const MAX_LINE: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const HEADER: usize = 16;
/// Addresses and extensions of version 2 have no more than this.
const MAX_BODY: usize = 4096;

/// Looks for a preamble at the start of `buf`. To go on after [`Preamble::Partial`], call again with more bytes.
///
/// # Errors
/// It begins as a preamble and is none.
pub fn read_preamble(buf: &[u8], versions: PreambleVersions) -> Result<Preamble, PreambleError> {
    for (wanted, start) in [(versions.v1, LINE_START), (versions.v2, SIGNATURE)] {
        if !wanted {
            continue;
        }
        if buf.starts_with(start) {
            return if start == LINE_START {
                read_line(buf)
            } else {
                read_header(buf)
            };
        }
        if start.starts_with(buf) {
            return Ok(Preamble::Partial);
        }
    }
    Ok(Preamble::Absent)
}

fn read_line(buf: &[u8]) -> Result<Preamble, PreambleError> {
    let seen = buf.get(..MAX_LINE.min(buf.len())).unwrap_or_default();
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return if buf.len() < MAX_LINE {
            Ok(Preamble::Partial)
        } else {
            Err(PreambleError::Line)
        };
    };
    let text = seen
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok());
    let words: Vec<&str> = text.ok_or(PreambleError::Line)?.split(' ').collect();
    let addresses = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            from,
            to,
            from_port,
            to_port,
        ] => {
            let address = |ip: &str, port: &str| {
                let ip: IpAddr = ip.parse().ok()?;
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|_| digits)?;
                (ip.is_ipv4() == (family == "TCP4")).then(|| SocketAddr::new(ip, port))
            };
            let both = address(from, from_port).zip(address(to, to_port));
            Some(both.ok_or(PreambleError::Line)?)
        }
        _ => return Err(PreambleError::Line),
    };
    Ok(Preamble::Present {
        len: end + 2,
        addresses,
    })
}

fn read_header(buf: &[u8]) -> Result<Preamble, PreambleError> {
    let rest = buf.get(SIGNATURE.len()..).unwrap_or_default();
    let Some(([command, family, high, low], body)) = rest.split_first_chunk::<4>() else {
        return Ok(Preamble::Partial);
    };
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(PreambleError::Command),
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if len > MAX_BODY {
        return Err(PreambleError::Length);
    }
    let Some(body) = body.get(..len) else {
        return Ok(Preamble::Partial);
    };
    let addresses = match (local, family) {
        (true, _) | (false, 0x00 | 0x31) => None,
        (false, 0x11) => Some(pair::<4>(body)?),
        (false, 0x21) => Some(pair::<16>(body)?),
        (false, _) => return Err(PreambleError::Transport),
    };
    Ok(Preamble::Present {
        len: HEADER + len,
        addresses,
    })
}

/// Two addresses of `N` bytes each, then two ports.
fn pair<const N: usize>(body: &[u8]) -> Result<(SocketAddr, SocketAddr), PreambleError>
where
    IpAddr: From<[u8; N]>,
{
    let split = || {
        let (from, rest) = body.split_first_chunk::<N>()?;
        let (to, rest) = rest.split_first_chunk::<N>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let (to_port, _) = rest.split_first_chunk::<2>()?;
        let address = |ip: [u8; N], port: [u8; 2]| {
            SocketAddr::new(IpAddr::from(ip), u16::from_be_bytes(port))
        };
        Some((address(*from, *from_port), address(*to, *to_port)))
    };
    split().ok_or(PreambleError::Length)
}
