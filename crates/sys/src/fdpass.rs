//! Descriptors that travel: over Unix sockets (SCM_RIGHTS), across exec (CLOEXEC), and memory files to send.
#![expect(
    unsafe_code,
    reason = "a received descriptor is a plain number until somebody owns it"
)]

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl};
use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials};

use crate::net::PeerCred;

/// The kernel's limit for one message; more descriptors go in several messages.
pub const MAX_FDS: usize = 253;

/// Sends `bytes` with `fds` attached and returns how many bytes went. On a stream socket `bytes` must not be
/// empty, and the descriptors go with the first byte.
pub fn send_fds(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if fds.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    let sent = socket::sendmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(sent)
}

/// What one call of [`recv_message`] brought.
#[derive(Debug)]
pub struct Received {
    /// Bytes written to the start of the buffer; 0 on a stream or seqpacket socket is the end.
    pub len: usize,
    pub fds: Vec<OwnedFd>,
    /// Who sent it, if the socket asks for that ([`set_passcred`]).
    pub sender: Option<PeerCred>,
    /// A datagram was longer than the buffer; the rest is lost.
    pub truncated: bool,
}

/// Receives bytes and at most `max` descriptors, all CLOEXEC. More descriptors than that are an error and closed.
pub fn recv_fds(
    socket: impl AsFd,
    buf: &mut [u8],
    max: usize,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let received = recv_message(socket, buf)?;
    if received.fds.len() > max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} descriptors came where at most {max} were awaited",
                received.fds.len()
            ),
        ));
    }
    Ok((received.len, received.fds))
}

/// Receives one message with everything attached to it.
pub fn recv_message(socket: impl AsFd, buf: &mut [u8]) -> io::Result<Received> {
    receive(socket, buf, MsgFlags::empty())
}

/// The same without waiting, and the message stays where it is; the descriptors are copies.
pub fn peek_message(socket: impl AsFd, buf: &mut [u8]) -> io::Result<Received> {
    receive(socket, buf, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
}

fn receive(socket: impl AsFd, buf: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
    let mut control = nix::cmsg_space!([RawFd; MAX_FDS], UnixCredentials);
    let mut iov = [IoSliceMut::new(buf)];
    let message = socket::recvmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &mut iov,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC | flags,
    )?;
    let mut received = Received {
        len: message.bytes,
        fds: Vec::new(),
        sender: None,
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
    };
    // There is room for all the kernel lets through, so a cut control message can not hide descriptors.
    for item in message.cmsgs()? {
        match item {
            ControlMessageOwned::ScmRights(numbers) => {
                for number in numbers {
                    // SAFETY: the kernel has just installed this descriptor for us and nobody else knows it.
                    received.fds.push(unsafe { OwnedFd::from_raw_fd(number) });
                }
            }
            ControlMessageOwned::ScmCredentials(who) => {
                received.sender = Some(PeerCred {
                    pid: who.pid(),
                    uid: who.uid(),
                    gid: who.gid(),
                });
            }
            _ => {}
        }
    }
    Ok(received)
}

/// Asks the kernel to attach the sender's pid, uid and gid to every message received on `socket`.
pub fn set_passcred(socket: impl AsFd) -> io::Result<()> {
    Ok(socket::setsockopt(
        &socket,
        socket::sockopt::PassCred,
        &true,
    )?)
}

/// A connected pair of SOCK_SEQPACKET sockets: messages keep their borders and can carry descriptors.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socket::socketpair(
        socket::AddressFamily::Unix,
        socket::SockType::SeqPacket,
        None,
        socket::SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Whether `fd` is closed by exec.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flags = if on {
        FdFlag::FD_CLOEXEC
    } else {
        FdFlag::empty()
    };
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Whether calls on `fd` wait. This belongs to the open file: every process that shares it sees the change.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Another descriptor of the same open file, CLOEXEC and not below `lowest`.
pub fn duplicate(fd: impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: fcntl has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes `number` another name of `fd`, open across exec, whatever it was before: only right before an exec, when
/// nothing of ours is used any more.
pub fn place(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes two integers; the caller's promise is that nobody owns `number` any more.
    let result = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) };
    nix::errno::Errno::result(result)?;
    Ok(())
}

/// Takes over a descriptor that was open when this program was executed (LISTEN_FDS, `fd://N`), and sets CLOEXEC.
///
/// EBADF when no such descriptor is open, or when it is CLOEXEC: then this process opened it itself after the
/// exec, or has adopted it before, so somebody owns it.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from(nix::Error::EBADF));
    }
    // SAFETY: borrowed only for the next two calls, the first of which tells whether it is open at all.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl(borrowed, FcntlArg::F_GETFD)? & FdFlag::FD_CLOEXEC.bits() != 0 {
        return Err(io::Error::from(nix::Error::EBADF));
    }
    set_cloexec(borrowed, true)?;
    // SAFETY: everything that this process opens is CLOEXEC, so this one came through exec and has no owner yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// An unnamed file in memory that can be sealed and sent.
pub fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(
        name,
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?)
}

/// Makes a [`memfd`] unchangeable for everybody, for good.
pub fn seal(fd: impl AsFd) -> io::Result<()> {
    let all = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(fd, FcntlArg::F_ADD_SEALS(all))?;
    Ok(())
}
