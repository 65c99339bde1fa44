//! The holder's life: start a brain, run its orders, reap children, start another brain when it dies, end when told.
//! Not here: what the orders do (see `table`).

use super::brain::{Brain, History};
use super::channel::ChannelError;
use super::leftovers;
use super::process::Inheritance;
use super::table::{Endowment, Table};
use crate::clock;
use crate::error::Error;
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;
use trine_service::readiness::{Notifier, NotifyReceiver};
use trine_service::signals::SignalPipe;
use trine_sys::epoll::{Epoll, Event, Interest};
use trine_sys::limits::{self, Resource};
use trine_sys::process::{self, Signal};

/// The hidden first argument that makes this program a brain, and the descriptor it talks on.
pub const BRAIN_ARGUMENT: &str = "--brain";
pub const BRAIN_FD: i32 = 3;
/// Variables that were meant for us and not for what we start.
pub const OURS: [&str; 7] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

const SIGNALS: u64 = 0;
const LINK: u64 = 1;

/// A brain that dies younger than this makes the next one wait longer.
const SHORT_LIFE: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// When no brain has heard a request to end for so long, the next such request is ours to answer.
const UNHEARD: Duration = Duration::from_secs(5);
/// The exit code then: no brain could be made to work.
const NO_BRAIN: u8 = 70;
/// Four descriptors for each process and then some, where the hard limit allows.
const DESCRIPTORS: u64 = 65536;

#[derive(Debug)]
struct Holder {
    table: Table,
    brain: Option<Brain>,
    /// When the next brain starts, while there is none; `None`: never, as we end without one.
    next_brain: Option<Moment>,
    epoll: Epoll,
    signals: SignalPipe,
    history: History,
    /// Brains in a row that died young.
    short_lives: u32,
    has_spoken: bool,
    /// How often programs were asked to end without a brain.
    last_resorts: u32,
}

/// Runs until a brain orders the end; its code is the result.
pub fn run() -> Result<u8, Error> {
    let mut holder = Holder::new()?;
    loop {
        if holder.brain.is_none() && holder.next_brain.is_some_and(|at| at <= clock::now()) {
            holder.start_brain()?;
        }
        holder.wait_and_handle()?;
        if let (Some(code), None) = (holder.table.exit, &holder.brain) {
            leftovers::end_all();
            return Ok(code);
        }
    }
}

impl Holder {
    fn new() -> Result<Self, Error> {
        let failed = |doing: &'static str| move |source| Error::Holder { doing, source };
        let inherited = trine_service::listeners::inherited().map_err(Error::Service)?;
        let notifier = Notifier::from_env();
        let signals = SignalPipe::new(&[
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ])
        .map_err(Error::Service)?;
        process::set_child_subreaper(true).map_err(failed("become subreaper"))?;
        let descriptors =
            limits::get(Resource::RLIMIT_NOFILE).map_err(failed("read the descriptor limit"))?;
        let _ = limits::raise(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(descriptors.1));
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(failed("open /dev/null"))?;
        // Abstract: no file to clean up, and programs in another folder or root still reach it.
        let notify_address = format!(
            "@trine-supervisor-{}-{:x}",
            process::getpid(),
            clock::now().0
        );
        let notify = NotifyReceiver::bind(&notify_address, 0o600).map_err(Error::Service)?;
        let env: BTreeMap<OsString, OsString> = std::env::vars_os()
            .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
            .collect();
        let table = Table::new(Endowment {
            notify: notify.into(),
            notify_address,
            inherited,
            inheritance: Inheritance {
                env,
                descriptors,
                null,
            },
            notifier,
        });
        let epoll = Epoll::new().map_err(failed("make an epoll"))?;
        epoll
            .add(&signals, SIGNALS, Interest::EPOLLIN)
            .map_err(failed("watch for signals"))?;
        Ok(Self {
            table,
            brain: None,
            next_brain: Some(Moment::default()),
            epoll,
            signals,
            history: History {
                brains: 0,
                last: None,
            },
            short_lives: 0,
            has_spoken: false,
            last_resorts: 0,
        })
    }

    fn start_brain(&mut self) -> Result<(), Error> {
        match Brain::start() {
            Ok(brain) => {
                self.history.brains += 1;
                let watched = self.epoll.add(&brain, LINK, Interest::EPOLLIN);
                watched.map_err(|source| Error::Holder {
                    doing: "watch the brain",
                    source,
                })?;
                self.brain = Some(brain);
                Ok(())
            }
            // Out of processes or memory: nothing to give up programs for.
            Err(_) if self.history.brains > 0 => {
                self.next_brain = Some(clock::now() + LONGEST_WAIT);
                Ok(())
            }
            Err(err) => Err(err),
        }
    }

    fn wait_and_handle(&mut self) -> Result<(), Error> {
        let timeout = match (&self.brain, self.next_brain) {
            (None, Some(at)) => i32::try_from((at - clock::now()).as_millis())
                .unwrap_or(i32::MAX)
                .saturating_add(1),
            (Some(_), _) | (None, None) => -1,
        };
        let mut events = [Event::EMPTY; 8];
        let count = self.epoll.wait(&mut events, timeout);
        let count = count.map_err(|source| Error::Holder {
            doing: "wait",
            source,
        })?;
        for event in &events[..count] {
            match event.token() {
                // Orders first: what a brain said before it died still counts.
                LINK => self.talk(),
                _ => self.take_signals(),
            }
        }
        Ok(())
    }

    /// Runs the orders that have come in and sends what waits.
    fn talk(&mut self) {
        let Some(brain) = &mut self.brain else { return };
        let heard = brain.hear(&mut self.table, self.history);
        self.has_spoken |= brain.has_spoken;
        // What fails here fails because the link is out of the epoll already.
        let _ = match heard.and_then(|()| brain.speak()) {
            Ok(true) => self.epoll.modify(&*brain, LINK, Interest::EPOLLIN),
            Ok(false) => {
                let both = Interest::EPOLLIN | Interest::EPOLLOUT;
                self.epoll.modify(&*brain, LINK, both)
            }
            Err(ChannelError::Closed) => self.epoll.delete(&*brain),
            Err(ChannelError::Io(_) | ChannelError::Wire(_)) => {
                brain.kill();
                self.epoll.delete(&*brain)
            }
        };
    }

    fn take_signals(&mut self) {
        let mut letters = Vec::new();
        for signal in self.signals.drain() {
            if signal == Signal::SIGCHLD {
                continue;
            }
            let is_end = matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT);
            if is_end && self.table.unheard_for(clock::now()) >= UNHEARD {
                self.end_without_brain();
            }
            letters.push(self.table.signalled(signal as i32));
        }
        while let Some((pid, exit)) = leftovers::reap(|pid| self.table.ends_group_of(pid)) {
            if self.brain.as_ref().is_some_and(|brain| brain.pid == pid) {
                self.bury_brain(exit);
            } else {
                letters.push(self.table.ended(pid.as_raw(), exit));
            }
        }
        if let Some(brain) = &mut self.brain {
            if letters
                .into_iter()
                .try_for_each(|letter| brain.tell(letter))
                .is_err()
            {
                brain.kill();
            }
            self.talk();
        }
        if self.last_resorts > 0 && !self.table.has_programs() {
            self.table.exit = Some(NO_BRAIN);
        }
    }

    fn bury_brain(&mut self, exit: Exit) {
        self.talk(); // its last words
        let Some(brain) = self.brain.take() else {
            return;
        };
        self.history.last = Some(exit);
        let wait = if clock::now() - brain.since < SHORT_LIFE {
            self.short_lives += 1;
            (FIRST_WAIT * 2u32.saturating_pow(self.short_lives.min(16) - 1)).min(LONGEST_WAIT)
        } else {
            self.short_lives = 0;
            Duration::ZERO
        };
        self.next_brain = (self.last_resorts == 0).then(|| clock::now() + wait);
        if let (false, true, Exit::Code(code)) = (self.has_spoken, self.table.is_empty(), exit) {
            // It could not even begin, and there is nothing to hold.
            self.table.exit = Some(u8::try_from(code).unwrap_or(NO_BRAIN).max(1));
        }
    }

    /// Somebody asks for the end again and again, and no brain is able to bring it about.
    fn end_without_brain(&mut self) {
        let signal = if self.last_resorts == 0 {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        self.last_resorts += 1;
        self.next_brain = None;
        if let Some(brain) = &self.brain {
            brain.kill();
        }
        self.table.signal_all(signal);
    }
}
