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

/// The number of a signal as `parse` reads it, under an older name (`CLD`, `IOT`, `POLL`), or of a real-time one:
/// `RTMIN`, `RTMIN+3`, `RTMAX-1`, 34.
#[must_use]
pub fn parse_number(text: &str) -> Option<i32> {
    let (least, most) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    if let Some(signal) = parse(text) {
        return Some(signal as i32);
    }
    if let Ok(number) = text.trim().parse::<i32>() {
        return Some(number).filter(|number| (least..=most).contains(number));
    }
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, base: i32| match rest {
        "" => Some(base),
        rest if rest.starts_with(['+', '-']) => rest.parse::<i32>().ok()?.checked_add(base),
        _ => None,
    };
    let number = match name {
        "CLD" => Some(libc::SIGCHLD),
        "IOT" => Some(libc::SIGABRT),
        "POLL" => Some(libc::SIGPOLL),
        _ => None,
    };
    let real_time = |(start, base)| name.strip_prefix(start).and_then(|rest| offset(rest, base));
    number.or_else(|| {
        let mut found = [("RTMIN", least), ("RTMAX", most)]
            .into_iter()
            .filter_map(real_time);
        found
            .next()
            .filter(|number| (least..=most).contains(number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<Signal>) {
        assert_eq!(parse(text), want, "{text:?}");
    }

    #[test]
    fn rare_ones() {
        let numbers = [
            "TERM",
            "9",
            "cld",
            "SIGIOT",
            "POLL",
            "rtmin",
            "RTMIN+3",
            "SIGRTMAX-1",
            "34",
        ];
        let got = numbers.map(parse_number);
        let least = libc::SIGRTMIN();
        let want = [15, 9, 17, 6, 29, least, least + 3, libc::SIGRTMAX() - 1, 34];
        assert_eq!(got, want.map(Some));
        for bad in [
            "0", "99", "33", "RTMIN+99", "RTMAX+1", "RTMIN3", "", "PLEASE",
        ] {
            assert_eq!(parse_number(bad), None, "{bad:?}");
        }
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
