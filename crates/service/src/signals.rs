//! Signals as something to poll: signal-hook's self-pipe, readable when a signal has come.
//!
//! Not here: what a signal means. The handlers only mark the signal and write one byte (`signal-safety(7)`).

use std::fmt;
#[cfg(feature = "tokio")]
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

pub use nix::sys::signal::Signal;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Origin;

use crate::Error;

/// Catches a set of signals. Dropping it takes the handlers away; the signals are ignored from then on
/// (signal-hook keeps its own handler installed), they do not become deadly again.
///
/// After `fork`, the child shares the parent's pipe: it drops this value and makes its own (or resets
/// the dispositions by `trine_sys::signals`).
pub struct SignalPipe {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

impl SignalPipe {
    /// Starts catching `signals`.
    ///
    /// # Errors
    /// [`Error::Signals`] when the kernel refuses a handler or there is no descriptor for the pipe.
    ///
    /// # Panics
    /// For signals nobody may catch or ours must not (KILL, STOP, SEGV, ILL, FPE).
    pub fn new(signals: &[Signal]) -> Result<Self, Error> {
        let numbers = signals.iter().map(|signal| *signal as i32);
        let delivery = UnixStream::pair()
            .and_then(|(read, write)| {
                read.set_nonblocking(true)?;
                SignalDelivery::with_pipe(read, write, WithOrigin::default(), numbers)
            })
            .map_err(Error::Signals)?;
        Ok(Self { delivery })
    }

    /// The signals that came since the last call, each at most once, in the order of their numbers.
    /// Empties the pipe; never blocks.
    pub fn drain(&mut self) -> Vec<Signal> {
        let mut came: Vec<Signal> = self
            .drain_with_senders()
            .into_iter()
            .map(|one| one.signal)
            .collect();
        came.dedup();
        came
    }

    /// As [`Self::drain`], with who sent each. A signal that came several times is there several times, up to five.
    pub fn drain_with_senders(&mut self) -> Vec<Came> {
        let came = self.delivery.pending();
        came.filter_map(|origin| Came::read(&origin)).collect()
    }

    /// Turns it into a source for async code. Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`Error::Signals`] when the pipe cannot be registered with the runtime.
    #[cfg(feature = "tokio")]
    pub fn into_async(self) -> Result<AsyncSignals, Error> {
        let wake = self
            .delivery
            .get_read()
            .try_clone()
            .and_then(tokio::net::UnixStream::from_std);
        wake.map(|wake| AsyncSignals {
            pipe: self,
            wake,
            came: Vec::new(),
        })
        .map_err(Error::Signals)
    }
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Which.
    pub signal: Signal,
    /// Who sent it; `None`: the kernel (a terminal, a timer).
    pub sender: Option<Sender>,
}

/// The process that sent a signal, as the kernel says (`si_pid`, `si_uid` of `sigaction(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Its number, 0 when it lives outside of our process namespace.
    pub pid: i32,
    /// The user it ran as.
    pub uid: u32,
}

impl Came {
    fn read(origin: &Origin) -> Option<Self> {
        let signal = Signal::try_from(origin.signal).ok()?;
        let sender = origin.process.map(|process| Sender {
            pid: process.pid,
            uid: process.uid,
        });
        Some(Self { signal, sender })
    }
}

impl fmt::Display for Sender {
    /// `process 17 (systemd) of user 0`; the name is there while the process is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, uid } = self;
        if *pid == 0 {
            return write!(f, "a process outside of our namespace, of user {uid}");
        }
        match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => write!(f, "process {pid} ({}) of user {uid}", name.trim_end()),
            Err(_) => write!(f, "process {pid} of user {uid}, which is gone"),
        }
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

impl AsRawFd for SignalPipe {
    fn as_raw_fd(&self) -> RawFd {
        self.delivery.get_read().as_raw_fd()
    }
}

impl fmt::Debug for SignalPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalPipe")
            .field("fd", &self.as_raw_fd())
            .finish_non_exhaustive()
    }
}

/// A [`SignalPipe`] inside a tokio runtime.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub struct AsyncSignals {
    pipe: SignalPipe,
    /// Another descriptor of the pipe's reading end; tokio owns each that it watches.
    wake: tokio::net::UnixStream,
    came: Vec<Signal>,
}

#[cfg(feature = "tokio")]
impl AsyncSignals {
    /// The next signal. Dropping the future loses none.
    ///
    /// # Errors
    /// Only when the runtime is shutting down.
    pub async fn next(&mut self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.came.pop() {
                return Ok(signal);
            }
            self.came = self.pipe.drain();
            self.came.reverse();
            if self.came.is_empty() {
                self.wake.readable().await?;
                // Tells tokio when the pipe is empty; a byte means nothing, the signal is marked elsewhere.
                let _ = self.wake.try_read(&mut [0; 64]);
            }
        }
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    // One test: signals are the whole process's.
    #[tokio::test(flavor = "current_thread")]
    async fn catching() {
        let mut pipe = SignalPipe::new(&[Signal::SIGHUP, Signal::SIGUSR1]).unwrap();
        assert_eq!(pipe.drain(), []);
        for signal in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGUSR1] {
            raise(signal).unwrap();
        }
        assert_eq!(pipe.drain(), [Signal::SIGHUP, Signal::SIGUSR1], "each once");

        raise(Signal::SIGHUP).unwrap();
        let came = pipe.drain_with_senders();
        let sender = came[0].sender.expect("raised by a process");
        assert_eq!((came.len(), sender.pid), (1, std::process::id() as i32));
        assert!(
            sender
                .to_string()
                .starts_with(&format!("process {} (", sender.pid)),
            "{sender}"
        );

        raise(Signal::SIGHUP).unwrap();
        let mut signals = pipe.into_async().unwrap();
        assert_eq!(
            signals.next().await.unwrap(),
            Signal::SIGHUP,
            "came before it was watched"
        );
        let later = async {
            tokio::task::yield_now().await;
            raise(Signal::SIGUSR1).unwrap();
            raise(Signal::SIGHUP).unwrap();
        };
        let (signal, ()) = tokio::join!(signals.next(), later);
        assert_eq!(signal.unwrap(), Signal::SIGHUP);
        assert_eq!(signals.next().await.unwrap(), Signal::SIGUSR1);
        drop(signals);
        raise(Signal::SIGHUP).unwrap(); // ignored now; the default would end us
    }
}
