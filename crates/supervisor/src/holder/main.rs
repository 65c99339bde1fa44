//! The holder's life: start a brain, run its orders, reap children, start another brain when it dies or hangs, make
//! way for a newer holder, end when told.
//! Not here: what the orders do (see `table`), how another program takes our place (see `upgrade`).

use super::brain::{Brain, History};
use super::channel::ChannelError;
use super::kept::{Keeper, Kept, Unpacking};
use super::leftovers;
use super::process::Inheritance;
use super::table::{Endowment, Table};
use super::upgrade;
use super::wire::{Failure, Report, Ticket};
use crate::clock;
use crate::error::Error;
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;
use trine_service::listeners::{Inherited, InheritedFd, inherited};
use trine_service::readiness::{Notifier, NotifyReceiver};
use trine_service::signals::SignalPipe;
use trine_sys::epoll::{Epoll, Event, Interest};
use trine_sys::limits::{self, Resource};
use trine_sys::process::{self, Signal};

/// The hidden first argument that makes this program a brain, and the descriptor it talks on.
pub const BRAIN_ARGUMENT: &str = "--brain";
pub const BRAIN_FD: i32 = 3;
/// Variables that were meant for us and not for what we start.
pub const OURS: [&str; 9] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    upgrade::TABLE,
    upgrade::TRIAL,
];

const SIGNALS: u64 = 0;
const LINK: u64 = 1;
const DOOR: u64 = 2;
const STDINS: u64 = 3;

/// A brain that dies younger than this makes the next one wait longer.
const SHORT_LIFE: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The same after one that had taken over: it worked, whatever killed it.
const LONGEST_WAIT_IF_LIVED: Duration = Duration::from_millis(50);
/// When no brain has heard a request to end for so long, the next such request is ours to answer.
const UNHEARD: Duration = Duration::from_secs(5);
/// The exit code then: no brain could be made to work.
const NO_BRAIN: u8 = 70;
/// A brain that has been told something, or has a client at its door, and gives no sign of life for so long, hangs.
const BRAIN_PATIENCE: Duration = Duration::from_secs(15);
/// After an upgrade, so many brains may die before one has taken over; then the old program is put back.
const TRIES_AFTER_UPGRADE: u32 = 5;
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
    /// Where whoever put us into the background waits.
    started: Option<OwnedFd>,
    /// The program to go back to while no brain of the present one has taken over.
    previous: Option<OwnedFd>,
}

/// What the holder begins with.
#[derive(Debug, Default)]
pub struct Start {
    /// For the first brain.
    pub stored: Option<(String, String)>,
    /// Where whoever put us into the background waits for a word that all has begun.
    pub started: Option<OwnedFd>,
}

/// Runs until a brain orders the end; its code is the result.
pub fn run(start: Start) -> Result<u8, Error> {
    let mut holder = Holder::new()?;
    if let Some((key, value)) = start.stored {
        holder.table.store(key, value);
    }
    holder.started = start.started;
    holder.take_signals(); // those that came while another holder made way for us
    loop {
        if holder.brain.is_none() && holder.next_brain.is_some_and(|at| at <= clock::now()) {
            holder.start_brain()?;
        }
        holder.wait_and_handle()?;
        if let (Some(code), None) = (holder.table.exit, &holder.brain) {
            if !holder.table.leave {
                leftovers::end_all();
            }
            return Ok(code);
        }
    }
}

impl Holder {
    fn new() -> Result<Self, Error> {
        let failed = |doing: &'static str| move |source| Error::Holder { doing, source };
        let kept = upgrade::inherit().map_err(failed("read what the holder before us left"))?;
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
        // A holder that made way for us left them blocked.
        trine_sys::signals::unblock_all().map_err(failed("let signals through"))?;
        process::set_child_subreaper(true).map_err(failed("become subreaper"))?;
        let history = History {
            brains: kept.as_ref().map_or(0, |kept| kept.brains),
            last: None,
        };
        let (table, previous) = match kept {
            None => (first_table()?, None),
            Some(kept) => {
                taken_over(kept).map_err(failed("take over from the holder before us"))?
            }
        };
        let epoll = Epoll::new().map_err(failed("make an epoll"))?;
        epoll
            .add(&signals, SIGNALS, Interest::EPOLLIN)
            .and_then(|()| epoll.add(table.sockets().door(), DOOR, Interest::EPOLLIN))
            .map_err(failed("watch for signals"))?;
        epoll
            .add(table.stdins(), STDINS, Interest::EPOLLIN)
            .map_err(failed("watch standard inputs"))?;
        Ok(Self {
            table,
            brain: None,
            next_brain: Some(Moment::default()),
            epoll,
            signals,
            history,
            short_lives: 0,
            has_spoken: false,
            last_resorts: 0,
            previous,
            started: None,
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
        let until = |at: Moment| {
            i32::try_from((at - clock::now()).as_millis())
                .unwrap_or(i32::MAX)
                .saturating_add(1)
        };
        let owed = self.brain.as_ref().and_then(Brain::owes_since);
        let timeout = match (&self.brain, self.next_brain) {
            (None, Some(at)) => until(at),
            (Some(_), _) => owed.map_or(-1, |since| until(since + BRAIN_PATIENCE)),
            (None, None) => -1,
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
                DOOR => {
                    self.table.sockets().answer_door();
                    self.ping();
                }
                STDINS => self.table.feed_waiting(),
                _ => self.take_signals(),
            }
        }
        if let Some(brain) = &self.brain
            && brain
                .owes_since()
                .is_some_and(|since| clock::now() - since >= BRAIN_PATIENCE)
        {
            brain.kill();
        }
        if let Some((ticket, program)) = self.table.upgrade.take() {
            self.make_way(ticket, program);
        }
        Ok(())
    }

    fn ping(&mut self) {
        if let Some(brain) = &mut self.brain {
            if brain.ping().is_err() {
                brain.kill();
            }
            self.talk();
        }
    }

    /// Runs the orders that have come in and sends what waits.
    fn talk(&mut self) {
        let Some(brain) = &mut self.brain else { return };
        let heard = brain.hear(&mut self.table, self.history);
        self.has_spoken |= brain.has_spoken;
        if self.table.started
            && let Some(waiting) = self.started.take()
        {
            // Whether it waits or not, the terminal is no longer ours.
            let _ = trine_sys::file::write(&waiting, b"started\n");
            let _ = crate::launch::leave_terminal();
        }
        brain.ponged(self.table.pong);
        if brain.has_lived {
            self.previous = None;
        }
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
        if let Some(brain) = &mut self.brain
            && !letters.is_empty()
        {
            let told = letters
                .into_iter()
                .try_for_each(|letter| brain.tell(letter));
            if told.and_then(|()| brain.ping()).is_err() {
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
            let longest = if brain.has_lived {
                LONGEST_WAIT_IF_LIVED
            } else {
                LONGEST_WAIT
            };
            (FIRST_WAIT * 2u32.saturating_pow(self.short_lives.min(16) - 1)).min(longest)
        } else {
            self.short_lives = 0;
            Duration::ZERO
        };
        self.next_brain = (self.last_resorts == 0).then(|| clock::now() + wait);
        if self.short_lives >= TRIES_AFTER_UPGRADE {
            self.go_back();
        }
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

    /// Executes another program in our place. Returns only if that is refused.
    fn make_way(&mut self, ticket: Ticket, program: Option<String>) {
        let Err(failure) = self.try_to_make_way(program);
        if let Some(brain) = &mut self.brain {
            let _ = brain.tell((Report::Refused { ticket, failure }, Vec::new()));
            self.talk();
        }
    }

    fn try_to_make_way(&mut self, program: Option<String>) -> Result<Infallible, Failure> {
        let failed = |err: io::Error| Failure::of("upgrade", &err);
        let program = match program {
            Some(program) => program.into(),
            None => upgrade::own_path().map_err(failed)?.into_os_string(),
        };
        let program = CString::new(program.into_vec()).map_err(|err| failed(err.into()))?;
        let own = upgrade::own_program().map_err(failed)?;
        let kept = self.table.pack(&mut Keeper::default()).map_err(failed)?;
        let table = upgrade::seal(&kept).map_err(failed)?;
        upgrade::try_out(&program, &table, self.table.null())?;
        if let Some(brain) = self.brain.take() {
            let _ = self.epoll.delete(&brain);
            brain.end();
            self.next_brain = Some(Moment::default());
        }
        self.replace_by(&program, Some(own)).map_err(failed)
    }

    fn replace_by(
        &mut self,
        program: &CString,
        previous: Option<OwnedFd>,
    ) -> io::Result<Infallible> {
        let mut keeper = Keeper::default();
        let kept = Kept {
            brains: self.history.brains,
            previous: previous.map(|fd| keeper.keep(fd)).transpose()?,
            ..self.table.pack(&mut keeper)?
        };
        upgrade::exec(program, &upgrade::seal(&kept)?, &keeper)
    }

    /// No brain of the program we were upgraded to is able to take over: the one before it could.
    fn go_back(&mut self) {
        let Some(previous) = self.previous.take() else {
            return;
        };
        // It is closed by the exec, which has opened it by then.
        if let Ok(path) = CString::new(format!("/proc/self/fd/{}", previous.as_raw_fd())) {
            // Refused: there is nothing better to do than to go on trying.
            let _ = self.replace_by(&path, None);
        }
    }
}

/// The table of the first holder.
fn first_table() -> Result<Table, Error> {
    let failed = |doing: &'static str| move |source| Error::Holder { doing, source };
    let inherited = inherited().map_err(Error::Service)?;
    let descriptors =
        limits::get(Resource::RLIMIT_NOFILE).map_err(failed("read the descriptor limit"))?;
    // Abstract: no file to clean up, and programs in another folder or root still reach it.
    let notify_address = format!(
        "@trine-supervisor-{}-{:x}",
        process::getpid(),
        clock::now().0
    );
    let notify = NotifyReceiver::bind(&notify_address, 0o600).map_err(Error::Service)?;
    endowed(notify.into(), notify_address, inherited, descriptors)
        .map_err(failed("prepare for programs"))
}

/// The table of the holder that was in our place, and the program that it was.
fn taken_over(kept: Kept) -> io::Result<(Table, Option<OwnedFd>)> {
    let mut fds = Unpacking;
    let mut inherited = Vec::new();
    for (name, number, fd) in &kept.inherited {
        let fd = fds.take(*fd)?;
        inherited.push(InheritedFd::new(fd, *number, name.clone()));
    }
    let previous = kept.previous.map(|number| fds.take(number)).transpose()?;
    let notify = fds.take(kept.notify)?;
    let mut table = endowed(
        notify,
        kept.notify_address.clone(),
        Inherited::again(inherited),
        kept.descriptors,
    )?;
    table.unpack(kept, &mut fds)?;
    Ok((table, previous))
}

fn endowed(
    notify: OwnedFd,
    notify_address: String,
    inherited: Inherited,
    descriptors: (u64, u64),
) -> io::Result<Table> {
    let _ = limits::raise(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(descriptors.1));
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let env: BTreeMap<OsString, OsString> = std::env::vars_os()
        .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
        .collect();
    Table::new(Endowment {
        notify,
        notify_address,
        inherited,
        inheritance: Inheritance {
            env,
            descriptors,
            null,
        },
        notifier: Notifier::from_env(),
    })
}
