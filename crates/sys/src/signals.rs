//! Signal masks, dispositions and names. Receiving signals is signal-hook's business, in `service`.
#![expect(unsafe_code, reason = "dispositions belong to the whole process")]

use std::io;

use nix::errno::Errno;
pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// A thread's signal mask from before [`block_all`].
#[derive(Clone, Debug)]
#[must_use = "signals stay blocked until it is given to `restore`"]
pub struct Mask(SigSet);

/// Blocks every signal for this thread (and those it starts), so that a fork has no handler running in its middle.
pub fn block_all() -> io::Result<Mask> {
    let mut before = SigSet::empty();
    pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )?;
    Ok(Mask(before))
}

pub fn restore(mask: &Mask) -> io::Result<()> {
    Ok(pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&mask.0),
        None,
    )?)
}

/// Lets every signal through to this thread.
pub fn unblock_all() -> io::Result<()> {
    Ok(pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::empty()),
        None,
    )?)
}

/// Sets every signal to its default action: what a forked child does before it sets up its own handlers.
pub fn reset_all() {
    for signal in 1..=MAX_SIGNAL {
        // SAFETY: the default action runs no code of ours; KILL, STOP and libc's own two are refused and stay.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The highest signal number.
pub(crate) const MAX_SIGNAL: i32 = 64;

/// Ignores a signal in this process; exec keeps that, `spawn` undoes it.
pub fn ignore(signal: Signal) -> io::Result<()> {
    // SAFETY: ignoring runs no code of ours.
    let before = unsafe { libc::signal(signal as i32, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        Err(Errno::last().into())
    } else {
        Ok(())
    }
}

/// Sends a signal to this process's main thread, whatever thread calls. Real-time numbers are welcome.
pub fn signal_main_thread(number: i32) -> io::Result<()> {
    let pid = libc::c_long::from(crate::process::getpid().as_raw());
    // SAFETY: the call takes three integers. The main thread's number is the process's.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::c_long::from(number)) };
    Errno::result(result)?;
    Ok(())
}

/// Reads `TERM`, `SIGTERM` (any case) or `15`.
#[must_use]
pub fn parse(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).ok();
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    format!("SIG{name}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<Signal>) {
        assert_eq!(parse(text), want, "{text:?}");
    }

    #[test]
    fn names_and_numbers() {
        check("TERM", Some(Signal::SIGTERM));
        check("sigusr2", Some(Signal::SIGUSR2));
        check("15", Some(Signal::SIGTERM));
        check("9", Some(Signal::SIGKILL));
        check("0", None);
        check("SIGSIGTERM", None);
        check("", None);
        check("99", None);
    }
}
