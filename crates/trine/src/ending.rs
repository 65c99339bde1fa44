//! Waiting for the end of a process, by its pidfd. Not here: starting or reaping it.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process whose end can be awaited; it need not be our child.
#[derive(Debug)]
pub(crate) struct Ending {
    pidfd: AsyncFd<OwnedFd>,
}

impl Ending {
    /// Must be called inside the runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's cannot"
    )]
    pub(crate) fn of(pidfd: OwnedFd) -> io::Result<Self> {
        AsyncFd::with_interest(pidfd, Interest::READABLE).map(|pidfd| Self { pidfd })
    }

    pub(crate) fn pidfd(&self) -> &OwnedFd {
        self.pidfd.get_ref()
    }

    /// Resolves once it has ended, and at once from then on.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        self.pidfd.readable().await?.retain_ready();
        Ok(())
    }
}
