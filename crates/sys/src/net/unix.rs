//! Unix listeners with a mode, and with a lock that tells a stale socket from one that is served.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};

/// A listening Unix socket and the lock that says it is owned.
///
/// The lock lives as long as any process holds the descriptor, so children made by fork keep it too. Dropping
/// this closes both and leaves the files; [`UnixListenFd::remove_files`] takes them away.
#[derive(Debug)]
pub struct UnixListenFd {
    pub fd: OwnedFd,
    pub lock: OwnedFd,
}

impl UnixListenFd {
    /// Removes the socket and then its lock file. Only the process that made them may, and only while it holds
    /// the lock: `path` must be the one given to [`listen_unix`].
    pub fn remove_files(&self, path: &Path) -> io::Result<()> {
        let socket = ignore_missing(std::fs::remove_file(path));
        let lock = ignore_missing(std::fs::remove_file(lock_path(path)));
        socket.and(lock)
    }
}

impl AsFd for UnixListenFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|err| {
        if err.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(err)
        }
    })
}

/// Listens at `path` with exactly `mode` (CLOEXEC, non-blocking).
///
/// `<path>.lock` is locked first. Locked by another, or no lock but a foreign server answers: AddrInUse. A
/// socket that nobody serves is replaced; a file that is no socket is never touched (AlreadyExists).
pub fn listen_unix(path: &Path, mode: u32, backlog: u32) -> io::Result<UnixListenFd> {
    let addr = address(path)?;
    let lock = lock(&lock_path(path))?;
    remove_stale(path, &addr)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind_with_mode(&fd, path, &addr, mode)?;
    super::listen(&fd, backlog)?;
    Ok(UnixListenFd {
        fd,
        lock: lock.into(),
    })
}

/// A datagram socket at `path` with exactly `mode` (CLOEXEC, non-blocking); what was there is replaced when it
/// is a socket.
pub fn bind_datagram(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let addr = address(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(no_socket()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(err),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    bind_with_mode(&fd, path, &addr, mode)?;
    Ok(fd)
}

/// Connects to a Unix socket (CLOEXEC, non-blocking). That takes no waiting: it is done, refused, or WouldBlock where the
/// other side's queue is full.
pub fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let addr = address(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(fd.as_raw_fd(), &addr)?;
    Ok(fd)
}

fn address(path: &Path) -> io::Result<UnixAddr> {
    if !super::fits_unix_path(path) {
        let text = format!(
            "the path is {} bytes long; a Unix socket's can have {}",
            path.as_os_str().len(),
            super::UNIX_PATH_MAX
        );
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
    }
    Ok(UnixAddr::new(path)?)
}

/// The kernel makes the file with the mode of the unbound socket less the umask, so the name never shows a wider
/// mode; what the umask took away is added afterwards. (Binding elsewhere and renaming would do too, but then
/// getsockname tells the other name for ever.)
fn bind_with_mode(fd: &OwnedFd, path: &Path, addr: &UnixAddr, mode: u32) -> io::Result<()> {
    fchmod(fd, Mode::from_bits_truncate(mode))?;
    socket::bind(fd.as_raw_fd(), addr)?;
    if std::fs::symlink_metadata(path)?.permissions().mode() & 0o7777 != mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Locks the path of a socket that another process has made and does not look after any more. AddrInUse: somebody does.
pub fn lock_unix(path: &Path) -> io::Result<OwnedFd> {
    Ok(lock(&lock_path(path))?.into())
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock(path: &Path) -> io::Result<File> {
    for _ in 0..16 {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(err)) => return Err(err),
        }
        // The owner before us may have removed the file between our open and our lock: then it locks nothing.
        let ours = file.metadata()?;
        match std::fs::symlink_metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Err(in_use())
}

/// We hold the lock, so no other Trine daemon is there; but a server that knows no locks may be.
fn remove_stale(path: &Path, addr: &UnixAddr) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(no_socket()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match socket::connect(probe.as_raw_fd(), addr) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => ignore_missing(std::fs::remove_file(path)),
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(in_use()),
        Err(errno) => Err(errno.into()),
    }
}

fn in_use() -> io::Error {
    io::Error::from(Errno::EADDRINUSE)
}

fn no_socket() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a file that is no socket is in the way",
    )
}
