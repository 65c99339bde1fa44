//! The holder's life: start a brain, run its orders, reap children, start another brain when it dies, end when told.
//! Not here: what the orders do (see `table`).

use super::channel::{ChannelError, Inbox, Outbox};
use super::leftovers;
use super::process::Inheritance;
use super::table::{Endowment, Letter, Table};
use super::wire::Order;
use crate::clock;
use crate::error::Error;
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use trine_service::readiness::{Notifier, NotifyReceiver};
use trine_service::signals::SignalPipe;
use trine_sys::epoll::{Epoll, Event, Interest};
use trine_sys::limits::{self, Resource};
use trine_sys::process::{self, Pid, Signal};
use trine_sys::spawn::Spawn;

/// The hidden first argument that makes this program a brain, and the descriptor it talks on.
pub const BRAIN_ARGUMENT: &str = "--brain";
pub const BRAIN_FD: i32 = 3;

const SIGNALS: u64 = 0;
const LINK: u64 = 1;

/// A brain that dies younger than this makes the next one wait longer.
const SHORT_LIFE: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Four descriptors for each process and then some, where the hard limit allows.
const DESCRIPTORS: u64 = 65536;
/// Variables that were meant for us and not for what we start.
const OURS: [&str; 7] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

#[derive(Debug)]
struct Holder {
    table: Table,
    brain: Brain,
    epoll: Epoll,
    signals: SignalPipe,
    /// How often a brain was started.
    brains: u64,
    last_brain: Option<Exit>,
    /// Brains in a row that died young.
    short_lives: u32,
    has_spoken: bool,
}

#[derive(Debug)]
enum Brain {
    Alive {
        pid: Pid,
        since: Moment,
        link: Link,
    },
    /// The next one starts then.
    Due {
        at: Moment,
    },
}

#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
}

/// Runs until a brain orders the end; its code is the result.
pub fn run() -> Result<u8, Error> {
    let mut holder = Holder::new()?;
    loop {
        if let Brain::Due { at } = holder.brain
            && at <= clock::now()
        {
            holder.start_brain()?;
        }
        holder.wait_and_handle()?;
        if let (Some(code), Brain::Due { .. }) = (holder.table.exit, &holder.brain) {
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
            brain: Brain::Due {
                at: Moment::default(),
            },
            epoll,
            signals,
            brains: 0,
            last_brain: None,
            short_lives: 0,
            has_spoken: false,
        })
    }

    fn start_brain(&mut self) -> Result<(), Error> {
        let failed = |doing: &'static str| move |source| Error::Holder { doing, source };
        let (ours, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
        ours.set_nonblocking(true)
            .map_err(failed("make a socket pair"))?;
        // Not the path: the file may have been replaced, and this brain must be of our own version.
        let mut plan = Spawn::new(c"/proc/self/exe".into());
        let text = |text: OsString| {
            CString::new(text.into_vec()).map_err(|err| Error::Holder {
                doing: "pass arguments on",
                source: err.into(),
            })
        };
        let mut args = std::env::args_os();
        plan.argv = vec![
            text(args.next().unwrap_or_default())?,
            text(BRAIN_ARGUMENT.into())?,
        ];
        plan.argv
            .extend(args.map(text).collect::<Result<Vec<_>, _>>()?);
        plan.env = std::env::vars_os()
            .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
            .map(|(name, value)| text([name, value].join(&OsString::from("="))))
            .collect::<Result<_, _>>()?;
        // A group of its own: Ctrl-C on the terminal is for the holder, which passes it on as an event.
        plan.process_group = Some(0);
        plan.fds.push((theirs.as_fd(), BRAIN_FD));
        let child = plan.spawn().map_err(Error::StartBrain)?;
        let socket = OwnedFd::from(ours);
        self.epoll
            .add(&socket, LINK, Interest::EPOLLIN)
            .map_err(failed("watch the brain"))?;
        let link = Link {
            socket,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
        };
        self.brain = Brain::Alive {
            pid: child.pid,
            since: clock::now(),
            link,
        };
        self.brains += 1;
        Ok(())
    }

    fn wait_and_handle(&mut self) -> Result<(), Error> {
        let timeout = match self.brain {
            Brain::Alive { .. } => -1,
            Brain::Due { at } => i32::try_from((at - clock::now()).as_millis())
                .unwrap_or(i32::MAX)
                .saturating_add(1),
        };
        let mut events = [Event::EMPTY; 8];
        let count = self
            .epoll
            .wait(&mut events, timeout)
            .map_err(|source| Error::Holder {
                doing: "wait",
                source,
            })?;
        for event in &events[..count] {
            match event.token() {
                // Orders first: what a brain said before it died still counts.
                LINK => self.talk()?,
                _ => self.take_signals()?,
            }
        }
        Ok(())
    }

    /// Runs the orders that have come in and sends what waits. A broken link needs no care: the brain's end follows.
    fn talk(&mut self) -> Result<(), Error> {
        let Brain::Alive { link, .. } = &mut self.brain else {
            return Ok(());
        };
        let heard = link.hear(
            &mut self.table,
            &mut self.has_spoken,
            self.brains,
            self.last_brain,
        );
        let alive = heard.is_ok() && link.speak().is_ok();
        let interest = if link.outbox.is_empty() {
            Interest::EPOLLIN
        } else {
            Interest::EPOLLIN | Interest::EPOLLOUT
        };
        let watched = if alive {
            self.epoll.modify(&link.socket, LINK, interest)
        } else {
            self.epoll.delete(&link.socket)
        };
        if let Err(ChannelError::Wire(err)) = heard {
            return Err(Error::Protocol(err));
        }
        let _ = watched; // gone from the epoll already
        Ok(())
    }

    fn take_signals(&mut self) -> Result<(), Error> {
        let mut letters = Vec::new();
        for signal in self.signals.drain() {
            if signal != Signal::SIGCHLD {
                letters.push(self.table.signalled(signal as i32));
            }
        }
        while let Some((pid, exit)) = leftovers::reap(|pid| self.table.is_program(pid)) {
            match &self.brain {
                Brain::Alive { pid: brain, .. } if *brain == pid => self.bury_brain(exit)?,
                _ => letters.push(self.table.ended(pid.as_raw(), exit)),
            }
        }
        if let Brain::Alive { link, .. } = &mut self.brain {
            for (report, fds) in letters {
                link.outbox.push(&report, fds).map_err(Error::Protocol)?;
            }
            self.talk()?;
        }
        Ok(())
    }

    fn bury_brain(&mut self, exit: Exit) -> Result<(), Error> {
        self.talk()?; // its last words
        let Brain::Alive { since, .. } = self.brain else {
            return Ok(());
        };
        self.last_brain = Some(exit);
        let wait = if clock::now() - since < SHORT_LIFE {
            self.short_lives += 1;
            (FIRST_WAIT * 2u32.saturating_pow(self.short_lives.min(16) - 1)).min(LONGEST_WAIT)
        } else {
            self.short_lives = 0;
            Duration::ZERO
        };
        self.brain = Brain::Due {
            at: clock::now() + wait,
        };
        if let (false, true, Exit::Code(code)) = (self.has_spoken, self.table.is_empty(), exit) {
            // It could not even begin, and there is nothing to hold.
            self.table.exit = Some(u8::try_from(code).unwrap_or(70).max(1));
        }
        Ok(())
    }
}

impl Link {
    fn hear(
        &mut self,
        table: &mut Table,
        has_spoken: &mut bool,
        brains: u64,
        last: Option<Exit>,
    ) -> Result<(), ChannelError> {
        loop {
            let more = self.inbox.fill(&self.socket);
            while let Some((orders, _)) = self.inbox.take::<Vec<Order>>()? {
                *has_spoken = true;
                for order in orders {
                    let letters: Vec<Letter> = match order {
                        Order::Hello => table.tell_all(brains, last),
                        order => table.perform(order).into_iter().collect(),
                    };
                    for (report, fds) in letters {
                        self.outbox.push(&report, fds)?;
                    }
                }
            }
            if !more? {
                return Ok(());
            }
        }
    }

    fn speak(&mut self) -> Result<(), ChannelError> {
        self.outbox.flush(&self.socket).map(drop)
    }
}
