//! Why a worker ended, in words and as one word for counting. Pure: everything known goes in.
//!
//! Linux tells a parent how a child ended, never who sent a deadly signal. So this says what is known (our own deeds,
//! signals that the worker could still name, the kernel's OOM counters) and leaves the rest open.
//! Not here: finding out (`deaths`, `oom`).

use std::time::Duration;

use trine_service::signals::Signal;

use super::oom::mib;

/// All that is known of one death.
#[derive(Debug, Default)]
pub(super) struct Death {
    pub pid: i32,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub dumped_core: bool,
    /// What we did to it, and why.
    pub our_doing: Option<String>,
    /// It was asked to leave.
    pub asked: bool,
    /// What it said of signals from others, or of its own leaving.
    pub said: Option<String>,
    /// What it said when it could not boot.
    pub failure: Option<String>,
    /// What the OOM counters say.
    pub oom: Option<String>,
    pub lived: Duration,
    pub peak_bytes: Option<u64>,
    /// What it was at, or its last request.
    pub requests: Vec<String>,
    pub last_request: Option<String>,
}

/// What a death is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// It left as it was told to, or said that it would.
    Asked,
    /// It could not boot.
    Boot,
    /// We ended it: it hung, or did not end in time.
    Arbiter,
    Oom,
    /// Somebody's signal.
    Signal,
    /// It crashed: a signal of the processor's or of its own.
    Crash,
    /// It ended by itself, with an exit code.
    Exit,
}

impl Cause {
    pub(super) const ALL: [Self; 7] = [
        Self::Asked,
        Self::Boot,
        Self::Arbiter,
        Self::Oom,
        Self::Signal,
        Self::Crash,
        Self::Exit,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Boot => "boot",
            Self::Arbiter => "arbiter",
            Self::Oom => "oom",
            Self::Signal => "signal",
            Self::Crash => "crash",
            Self::Exit => "exit",
        }
    }
}

/// gunicorn's codes for an application that cannot be loaded.
const BOOT_CODES: [i32; 2] = [3, 4];

impl Death {
    pub(super) fn cause(&self) -> Cause {
        match (self.code, self.signal) {
            (Some(code), _) if BOOT_CODES.contains(&code) || self.failure.is_some() => Cause::Boot,
            (Some(0), _) if self.asked => Cause::Asked,
            (Some(0), _) if self.said.is_some() => Cause::Signal,
            _ if self.our_doing.is_some() => Cause::Arbiter,
            (Some(_), _) => Cause::Exit,
            (None, Some(libc::SIGKILL)) if self.oom.is_some() => Cause::Oom,
            (None, Some(signal)) if is_crash(signal) => Cause::Crash,
            (None, _) if self.asked && self.signal == Some(libc::SIGTERM) => Cause::Asked,
            (None, _) => Cause::Signal,
        }
    }

    /// The line for the log, which begins as gunicorn's does.
    pub(super) fn tell(&self) -> String {
        let pid = self.pid;
        let how = match (self.code, self.signal) {
            (Some(0), _) if self.asked && self.our_doing.is_none() => {
                return format!("Worker (pid:{pid}) has ended after {:.1?}.", self.lived);
            }
            (Some(0), _) => format!("Worker (pid:{pid}) has ended."),
            (Some(code), _) => format!("Worker (pid:{pid}) exited with code {code}."),
            (None, signal) => format!(
                "Worker (pid:{pid}) was sent {}!",
                name_of(signal.unwrap_or_default())
            ),
        };
        let mut text = how;
        let mut add = |part: &str| {
            text.push(' ');
            text.push_str(part);
            if !part.ends_with('.') {
                text.push('.');
            }
        };
        match (self.cause(), &self.our_doing, &self.said) {
            (_, Some(why), _) => add(&format!("By its arbiter: {why}")),
            (_, None, Some(said)) => add(said),
            (Cause::Oom, ..) => add(&capital(self.oom.as_deref().unwrap_or_default())),
            (Cause::Signal, ..) if self.signal == Some(libc::SIGKILL) => add(
                "Not by its arbiter, and the kernel counted no OOM kill: another process sent it, and Linux does not \
                 tell which",
            ),
            (Cause::Signal, ..) => add("Not by its arbiter; Linux does not tell who sent it"),
            (Cause::Crash, ..) => {
                add("It crashed: native code of Python or of an extension module failed")
            }
            (Cause::Exit, ..) => add("Something in the application ended the process"),
            (Cause::Asked | Cause::Boot | Cause::Arbiter, ..) => {}
        }
        if self.dumped_core {
            add("It left a core dump");
        }
        add(&format!("It lived {:.1?}", self.lived));
        if let Some(peak) = self.peak_bytes {
            add(&format!("Its memory peaked at {}", mib(peak)));
        }
        if !self.requests.is_empty() {
            add(&format!("It was at {}", self.requests.join(", ")));
        } else if let Some(last) = &self.last_request {
            add(&format!("Its last request was {last}"));
        }
        text
    }
}

/// Signals that a process brings upon itself.
fn is_crash(signal: i32) -> bool {
    [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGABRT,
        libc::SIGSYS,
        libc::SIGTRAP,
    ]
    .contains(&signal)
}

fn name_of(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(
        |_| format!("signal {signal}"),
        |known| known.as_str().to_owned(),
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death() -> Death {
        Death {
            pid: 7,
            lived: Duration::from_millis(1500),
            ..Death::default()
        }
    }

    #[track_caller]
    fn check(death: &Death, word: &str, text: &str) {
        assert_eq!((death.cause().word(), death.tell().as_str()), (word, text));
    }

    #[test]
    fn every_kind_of_death() {
        check(
            &Death {
                code: Some(0),
                asked: true,
                ..death()
            },
            "asked",
            "Worker (pid:7) has ended after 1.5s.",
        );
        check(
            &Death {
                code: Some(3),
                failure: Some("x".into()),
                ..death()
            },
            "boot",
            "Worker (pid:7) exited with code 3. It lived 1.5s.",
        );
        let kill = Some(libc::SIGKILL);
        check(
            &Death {
                signal: kill,
                our_doing: Some("it hung".into()),
                oom: Some("oom".into()),
                ..death()
            },
            "arbiter",
            "Worker (pid:7) was sent SIGKILL! By its arbiter: it hung. It lived 1.5s.",
        );
        check(
            &Death {
                signal: kill,
                oom: Some("the kernel did it".into()),
                peak_bytes: Some(3 << 20),
                ..death()
            },
            "oom",
            "Worker (pid:7) was sent SIGKILL! The kernel did it. It lived 1.5s. Its memory peaked at 3.0 MiB.",
        );
        check(
            &Death {
                signal: kill,
                requests: vec!["GET / (for 2 ms)".into()],
                ..death()
            },
            "signal",
            "Worker (pid:7) was sent SIGKILL! Not by its arbiter, and the kernel counted no OOM kill: another process \
             sent it, and Linux does not tell which. It lived 1.5s. It was at GET / (for 2 ms).",
        );
        check(
            &Death {
                signal: Some(libc::SIGSEGV),
                dumped_core: true,
                last_request: Some("GET /a".into()),
                ..death()
            },
            "crash",
            "Worker (pid:7) was sent SIGSEGV! It crashed: native code of Python or of an extension module failed. It \
             left a core dump. It lived 1.5s. Its last request was GET /a.",
        );
        check(
            &Death {
                code: Some(0),
                said: Some("SIGTERM came from process 9 (bash) of user 0".into()),
                ..death()
            },
            "signal",
            "Worker (pid:7) has ended. SIGTERM came from process 9 (bash) of user 0. It lived 1.5s.",
        );
        check(
            &Death {
                code: Some(42),
                ..death()
            },
            "exit",
            "Worker (pid:7) exited with code 42. Something in the application ended the process. It lived 1.5s.",
        );
        check(
            &Death {
                signal: Some(libc::SIGHUP),
                ..death()
            },
            "signal",
            "Worker (pid:7) was sent SIGHUP! Not by its arbiter; Linux does not tell who sent it. It lived 1.5s.",
        );
    }
}
