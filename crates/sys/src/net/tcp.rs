//! What the kernel knows of a TCP connection (TCP_INFO, `tcp(7)`). Not here: options that change one.
#![expect(unsafe_code, reason = "no safe function reads TCP_INFO")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// The way to a peer, as the kernel has measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round-trip time and how much it varies, in microseconds.
    pub rtt: u32,
    pub rttvar: u32,
    /// How many segments may be on their way.
    pub snd_cwnd: u32,
    /// How many bytes of room the peer is told of.
    pub rcv_space: u32,
}

/// Words of `struct tcp_info` in `linux/tcp.h` up to `tcpi_total_retrans`; the kernel writes no more than it is given room for.
type Words = [u32; 26];
/// Where the fields are in it.
const RTT: usize = 17;
const RTTVAR: usize = 18;
const SND_CWND: usize = 20;
const RCV_SPACE: usize = 24;

/// # Errors
/// The socket is none of TCP.
pub fn tcp_info(fd: impl AsFd) -> io::Result<TcpInfo> {
    let mut words: Words = [0; 26];
    let mut len = size_of::<Words>() as libc::socklen_t;
    let (fd, level, name) = (fd.as_fd().as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO);
    let to = (&raw mut words).cast();
    // SAFETY: `words` has the `len` bytes that the kernel may write; any of them make numbers; both live on.
    let result = unsafe { libc::getsockopt(fd, level, name, to, &raw mut len) };
    Errno::result(result)?;
    Ok(TcpInfo {
        rtt: words[RTT],
        rttvar: words[RTTVAR],
        snd_cwnd: words[SND_CWND],
        rcv_space: words[RCV_SPACE],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_on_the_loopback() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = tcp_info(&client).unwrap();
        // The handshake was a round trip.
        assert!(info.snd_cwnd > 1, "{info:?}");
        assert!(info.rtt > 0 && info.rttvar > 0, "{info:?}");
        assert!(info.rcv_space >= 4096, "{info:?}");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(tcp_info(&socket).is_err());
    }
}
