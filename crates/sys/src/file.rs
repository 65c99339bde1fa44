//! Files and pipes: opening beneath a folder, and moving bytes without copying them.
//! Not here: what may be served, caching, ranges.
#![expect(unsafe_code, reason = "FIONREAD has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{self, FcntlArg, OpenHow, ResolveFlag};
pub use nix::fcntl::{OFlag, SpliceFFlags};
use nix::sys::stat::Mode;

/// Opens `rel` so that the result lies beneath `dir`, whatever links or `..` are on the way: the kernel
/// refuses (EXDEV) what would leave. `flags` is the access mode and more; O_CLOEXEC and O_NONBLOCK (a FIFO
/// must not hold us) are added. With O_CREAT new files get mode 0644 less the umask.
pub fn open_beneath(
    dir: impl AsFd,
    rel: &(impl nix::NixPath + ?Sized),
    flags: OFlag,
) -> io::Result<OwnedFd> {
    open_resolved(dir, rel, flags, ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// The same, without following any link; ELOOP if there is one.
pub fn open_beneath_without_links(
    dir: impl AsFd,
    rel: &(impl nix::NixPath + ?Sized),
    flags: OFlag,
) -> io::Result<OwnedFd> {
    open_resolved(dir, rel, flags, ResolveFlag::RESOLVE_NO_SYMLINKS)
}

fn open_resolved(
    dir: impl AsFd,
    rel: &(impl nix::NixPath + ?Sized),
    flags: OFlag,
    resolve: ResolveFlag,
) -> io::Result<OwnedFd> {
    let mut how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | resolve);
    if flags.contains(OFlag::O_CREAT) {
        how = how.mode(Mode::from_bits_truncate(0o644));
    }
    // EAGAIN: something on the way was renamed meanwhile and the kernel could not prove that we stay inside.
    for _ in 0..8 {
        match fcntl::openat2(dir.as_fd(), rel, how) {
            Err(nix::Error::EAGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(nix::Error::EAGAIN.into())
}

/// Opens a folder to look things up in with [`open_beneath`].
pub fn open_dir(path: &(impl nix::NixPath + ?Sized)) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(fcntl::open(path, flags, Mode::empty())?)
}

/// Sends up to `count` bytes of `from`, beginning at `offset` (which moves), to the socket `to`.
pub fn sendfile(
    to: impl AsFd,
    from: impl AsFd,
    offset: &mut i64,
    count: usize,
) -> io::Result<usize> {
    Ok(nix::sys::sendfile::sendfile64(
        to,
        from,
        Some(offset),
        count,
    )?)
}

/// Moves up to `count` bytes; one of the two must be a pipe. `offset` is a place in `from` when that is a file.
pub fn splice(
    from: impl AsFd,
    to: impl AsFd,
    offset: Option<&mut i64>,
    count: usize,
    flags: SpliceFFlags,
) -> io::Result<usize> {
    Ok(fcntl::splice(from, offset, to, None, count, flags)?)
}

/// Copies up to `count` bytes from one pipe to another without taking them out of the first.
pub fn tee(from: impl AsFd, to: impl AsFd, count: usize, flags: SpliceFFlags) -> io::Result<usize> {
    Ok(fcntl::tee(from, to, count, flags)?)
}

/// Reads at `offset` without moving the file's own position; 0 is the end of the file.
pub fn pread(fd: impl AsFd, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| nix::Error::EOVERFLOW)?;
    Ok(nix::sys::uio::pread(fd, buf, offset)?)
}

/// Reads what is there, at the file's own position.
pub fn read(fd: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(fd, buf)?)
}

/// Writes at the file's own position, possibly only a part.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(nix::unistd::write(fd, bytes)?)
}

/// A pipe (read end, write end), both CLOEXEC and non-blocking.
pub fn pipe_cloexec_nonblock() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?)
}

/// A pipe (read end, write end), both CLOEXEC, whose calls wait: what a program expects as its output.
pub fn pipe_cloexec() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Asks for room for `bytes` in a pipe and returns what it has now (the kernel rounds up, and limits ordinary users).
pub fn set_pipe_size(fd: impl AsFd, bytes: usize) -> io::Result<usize> {
    let bytes = i32::try_from(bytes).map_err(|_| nix::Error::EINVAL)?;
    let size = fcntl::fcntl(fd, FcntlArg::F_SETPIPE_SZ(bytes))?;
    Ok(usize::try_from(size).unwrap_or(0))
}

/// How much a pipe can hold.
pub fn pipe_size(fd: impl AsFd) -> io::Result<usize> {
    let size = fcntl::fcntl(fd, FcntlArg::F_GETPIPE_SZ)?;
    Ok(usize::try_from(size).unwrap_or(0))
}

/// Whether two descriptors are of the same file, pipe or socket.
pub fn same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (nix::sys::stat::fstat(one)?, nix::sys::stat::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// How many bytes wait in a pipe or socket (FIONREAD).
pub fn readable_bytes(fd: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: `count` is a live integer of the type that FIONREAD writes.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) };
    nix::errno::Errno::result(result)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_knows_its_size_and_content() {
        let (reader, writer) = pipe_cloexec_nonblock().unwrap();
        assert_eq!(readable_bytes(&reader).unwrap(), 0);
        write(&writer, b"hello").unwrap();
        assert_eq!(readable_bytes(&reader).unwrap(), 5);
        let now = set_pipe_size(&reader, 4096).unwrap();
        assert_eq!(pipe_size(&reader).unwrap(), now);
    }
}
