//! Readiness: epoll and the descriptors that only exist to wake it (eventfd).
//! Not here: what a token means, timers, or any loop.
#![expect(
    unsafe_code,
    reason = "the caller's array of events is the kernel's, under another name"
)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::epoll as sys;
pub use nix::sys::epoll::EpollFlags as Interest;

/// An epoll instance; tokens are the caller's own numbers.
#[derive(Debug)]
pub struct Epoll(sys::Epoll);

/// One readiness report, as filled in by [`Epoll::wait`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(sys::EpollEvent);

impl Event {
    /// An unused place in the array given to [`Epoll::wait`].
    pub const EMPTY: Self = Self(sys::EpollEvent::new(Interest::empty(), 0));

    /// The token the descriptor was added with.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.0.data()
    }

    /// Everything that was reported.
    #[must_use]
    pub fn flags(&self) -> Interest {
        self.0.events()
    }

    /// Reading will not block: there are bytes, the end, or an error to collect.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.flags().intersects(
            Interest::EPOLLIN | Interest::EPOLLRDHUP | Interest::EPOLLHUP | Interest::EPOLLERR,
        )
    }

    /// Writing will not block: there is room, or an error to collect.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.flags()
            .intersects(Interest::EPOLLOUT | Interest::EPOLLHUP | Interest::EPOLLERR)
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("flags", &self.flags())
            .finish()
    }
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(sys::Epoll::new(sys::EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches `fd`. `interest` may hold EPOLLET, EPOLLONESHOT and EPOLLEXCLUSIVE (of several processes
    /// that wait for one listener, only some are woken).
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.0.add(fd, sys::EpollEvent::new(interest, token))?)
    }

    /// Changes what is reported for `fd`. The kernel refuses this for EPOLLEXCLUSIVE entries: delete and add.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self
            .0
            .modify(fd, &mut sys::EpollEvent::new(interest, token))?)
    }

    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits up to `timeout_ms` (-1: for ever, 0: not at all) and returns how many of `events` were filled.
    /// A signal ends the wait early with `Ok(0)`.
    pub fn wait(&self, events: &mut [Event], timeout_ms: i32) -> io::Result<usize> {
        let timeout = sys::EpollTimeout::try_from(timeout_ms.max(-1))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let raw: *mut [sys::EpollEvent] = std::ptr::from_mut(events) as _;
        // SAFETY: `Event` is transparent over `EpollEvent`, and the exclusive borrow passes on.
        let raw = unsafe { &mut *raw };
        match self.0.wait(raw, timeout) {
            Err(nix::Error::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// A counter that is readable while it is not zero: how one thread or process wakes another's epoll.
pub fn eventfd() -> io::Result<OwnedFd> {
    use nix::sys::eventfd::{EfdFlags, EventFd};
    Ok(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?.into())
}

/// Adds one to an [`eventfd`]; a full counter is awake already, so that is no error.
pub fn eventfd_wake(fd: impl AsFd) -> io::Result<()> {
    match nix::unistd::write(fd, &1u64.to_ne_bytes()) {
        Ok(_) | Err(nix::Error::EAGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes the whole count of an [`eventfd`], 0 when nobody woke it.
pub fn eventfd_take(fd: impl AsFd) -> io::Result<u64> {
    let mut count = [0u8; 8];
    match nix::unistd::read(fd, &mut count) {
        Ok(_) => Ok(u64::from_ne_bytes(count)),
        Err(nix::Error::EAGAIN) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}
