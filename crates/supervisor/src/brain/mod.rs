//! The brain: configuration, state machines, logs, control API. It may be killed at any instant; the next one reads the
//! holder's table and goes on.
//! Not here: owning anything that programs depend on; that is the holder's.

pub mod adopt;
pub mod ask;
mod calls;
pub mod cgroup;
mod check;
pub mod control;
mod env_file;
pub mod events;
mod health;
pub mod http;
pub mod link;
pub mod logs;
mod main_log;
pub mod metrics;
pub mod notify;
pub mod outputs;
pub mod perform;
pub mod plan;
pub mod probe;
pub mod process;
pub mod reload;
pub mod rolling;
pub mod rpc;
mod scale;
mod servers;
pub mod shutdown;
pub mod sockets;
pub mod start;
pub mod supervisor;
mod surroundings;
mod sweep;
mod syslog;
mod timers;
pub mod upgrade;
mod usage;
mod waiting;
pub mod web;

use self::http::Site;
use crate::clock;
use crate::config::{Config, Habits, Overrides};
use crate::error::Error;
use crate::holder::main::BRAIN_FD;
use crate::holder::wire::{BindOrder, FIRST_KEY, Order, Report, TableHead};
use crate::launch::{First, Said, leave_terminal};
use adopt::Row;
use ask::{Asks, Handle, Watches};
use control::Control;
use events::Events;
use link::Link;
use logs::pump::Pump;
use notify::NotifySocket;
use rpc::Rpc;
use servers::{SERVER_PREFIX, Servers};
use start::House;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use supervisor::{CONFIG_KEY, DAEMON_KEY, Daemon, Supervisor};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trine_control::server::{self, EventHub};
use trine_service::listeners::{Listener, Origin};
use trine_service::logging::LogHandle;
use trine_service::{Phase, PhaseCell};
use trine_sys::fdpass;
use upgrade::Upgrades;

const CONTROL_KEY: &str = "control";
const CONTROL_BACKLOG: u32 = 128;
const ASKS_WAITING: usize = 256;

/// Runs until everything is stopped, or until an error that only a new brain can mend.
pub fn run(overrides: &Overrides) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Brain {
            doing: "start the runtime",
            source,
        })?;
    let socket = fdpass::adopt(BRAIN_FD).map_err(|source| Error::Brain {
        doing: "find the holder",
        source,
    })?;
    let _inside = runtime.enter();
    let mut link = Link::new(socket)?;
    let table = read_table(&mut link)?;
    let is_first = !table.head.stored.contains_key(CONFIG_KEY);
    match runtime.block_on(live(link, table, overrides)) {
        Ok(()) => Ok(0),
        // Nothing runs yet, so nothing is lost by giving up: say why and end the holder too.
        Err((err, link)) if is_first => {
            if let Some(mut link) = link {
                let code = crate::cli::exit_code(&err);
                link.send(&[Order::Exit { code }])?;
            }
            Err(err)
        }
        Err((err, _)) => Err(err),
    }
}

/// An error, and the line to the holder if nobody else has it.
type Failed = (Error, Option<Link>);

async fn live(link: Link, table: Table, overrides: &Overrides) -> Result<(), Failed> {
    let (config, first) = match configuration(&table.head) {
        Ok(found) => found,
        Err(err) => return Err((err, Some(link))),
    };
    let in_front = !config.daemon.daemonize;
    let log = match main_log::set_up(&config, in_front) {
        Ok(log) => log,
        Err(err) => return Err((err, Some(link))),
    };
    let pump = match Pump::start() {
        Ok(pump) => pump,
        Err(source) => {
            return Err((
                Error::Brain {
                    doing: "start the log pump",
                    source,
                },
                Some(link),
            ));
        }
    };
    let mut supervisor = new_supervisor(link, config, overrides, &table, log, pump);
    match supervisor.begin_and_run(table, first).await {
        Ok(()) => Ok(()),
        Err(err) => {
            tracing::error!("{}", trine_service::exit::chain(&err));
            // Once processes were taken over it is for the next brain to go on.
            let nothing_begun = supervisor.processes.is_empty();
            Err((err, Some(supervisor.link).filter(|_| nothing_begun)))
        }
    }
}

fn new_supervisor(
    link: Link,
    config: Config,
    overrides: &Overrides,
    table: &Table,
    log: LogHandle,
    pump: Pump,
) -> Supervisor {
    let fresh = Daemon {
        started: clock::now(),
        generation: 1,
        ready: false,
        closing: None,
        restarting: false,
        last_reload: None,
        upgrades: 0,
        exit_code: 0,
        numprocs: BTreeMap::new(),
        rolling: Vec::new(),
    };
    let daemon = table
        .head
        .stored
        .get(DAEMON_KEY)
        .and_then(|text| serde_json::from_str(text).ok());
    let daemon: Daemon = daemon.unwrap_or(fresh);
    let overrides = Overrides {
        numprocs: daemon.numprocs.clone(),
        ..overrides.clone()
    };
    let (findings, heard) = tokio::sync::mpsc::unbounded_channel();
    Supervisor {
        link,
        overrides,
        daemon,
        processes: BTreeMap::new(),
        house: House::new(&config, table.head.notify_socket.clone()),
        config,
        pump,
        pipes: BTreeMap::new(),
        log,
        hub: EventHub::default(),
        phase: PhaseCell::new(),
        holder_pid: table.head.holder_pid,
        brains: table.head.brains,
        upgrades: Upgrades::new(table.head.upgrades),
        sockets: table.sockets.clone(),
        sockets_may_be_unnamed: true,
        probes: JoinSet::new(),
        waiters: Vec::new(),
        watches: Watches::default(),
        reread: None,
        findings,
        heard: Some(heard),
        cgroups: None,
        askers: Vec::new(),
        events: Events::default(),
        report_at: None,
        servers: Servers::default(),
        rest_at: None,
    }
}

impl Supervisor {
    async fn begin_and_run(&mut self, mut table: Table, first: Option<Said>) -> Result<(), Error> {
        let is_first = first.is_some();
        if let Some(said) = first {
            self.tell_of(&said);
        }
        let listener = self.begin(&mut table, is_first)?;
        self.bind_first_servers(&table.servers, is_first)?;
        self.begun(is_first)?;
        let notify = table
            .notify
            .take()
            .ok_or(Error::Protocol(crate::holder::wire::WireError::Descriptors))?;
        let notify = NotifySocket::new(notify).map_err(|source| Error::Brain {
            doing: "listen to programs",
            source,
        })?;
        if is_first {
            let name = match self.config.habits {
                Habits::Own => "trine-supervisor",
                Habits::Supervisord => "supervisord",
            };
            tracing::info!("{name} started with pid {}", self.holder_pid);
        } else if self.daemon.upgrades != self.upgrades.done {
            self.daemon.upgrades = self.upgrades.done;
            let store = self.store_daemon();
            self.link.send(&[store])?;
            tracing::info!(
                "upgraded to version {}; going on with the programs as they are",
                env!("CARGO_PKG_VERSION")
            );
        } else {
            let how = table.head.last_brain.map_or_else(String::new, |exit| {
                format!(" ({})", process::describe(exit))
            });
            tracing::warn!("the brain was replaced{how}; going on with the programs as they are");
        }
        if is_first {
            self.clear_auto_logs();
        }
        self.adopt_reread(&table.head.stored);
        self.find_cgroups();
        self.adopt_events(&table.head.stored);
        if is_first {
            self.announce_groups()?;
        }
        self.adopt(&table.head.stored, table.rows)?;
        self.hear_what_was_noted()?;
        drop(table.head); // large, and of no more use
        self.sweep_old_generations();
        self.reconcile()?;

        let (handle, mut asks) = Handle::new(ASKS_WAITING);
        let stop = CancellationToken::new();
        let mut control = JoinSet::new();
        self.open_servers(handle.clone())?;
        if let Some(listener) = listener {
            let rpc = Rpc::new(handle.clone(), self.config.has_main_interface());
            let site = Site::new(handle.clone(), rpc, self.hub.clone());
            let hub = self.hub.clone();
            let service = Arc::new(Control { handle, hub, site });
            control.spawn(server::serve(listener, service, stop.clone()));
        }
        self.run_and_answer(&notify, &mut asks).await?;
        stop.cancel();
        self.servers.end().await;
        while control.join_next().await.is_some() {}
        tracing::info!("all programs are stopped");
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
        let code = self.daemon.exit_code;
        self.link.send(&[Order::Exit { code }])
    }

    async fn run_and_answer(
        &mut self,
        notify: &NotifySocket,
        asks: &mut Asks,
    ) -> Result<(), Error> {
        self.run(notify, asks).await?;
        asks.close();
        Ok(())
    }

    /// What must succeed before any program is started; the control socket, if there is to be one.
    fn begin(&mut self, table: &mut Table, is_first: bool) -> Result<Option<Listener>, Error> {
        let listener = self.control_socket(table)?;
        if is_first {
            let config = self.config.clone();
            let problems = self.bind_all(&config)?;
            if !problems.is_empty() {
                return Err(Error::Sockets {
                    problems: problems.join("\n"),
                });
            }
            let forget = Order::Store {
                key: FIRST_KEY.to_owned(),
                value: None,
            };
            let orders = [self.store_config(), self.store_daemon(), forget];
            self.link.send(&orders)?;
        }
        Ok(listener)
    }

    /// All that may fail has not: whoever waits for us to go into the background is told.
    fn begun(&mut self, is_first: bool) -> Result<(), Error> {
        self.write_pidfile(is_first)?;
        if is_first {
            self.link.send(&[Order::Started])?;
        }
        if self.config.daemon.daemonize {
            leave_terminal().map_err(|source| Error::Brain {
                doing: "leave the terminal",
                source,
            })?;
        }
        if self.daemon.ready {
            self.set_phase(Phase::Ready);
        }
        Ok(())
    }

    fn write_pidfile(&mut self, is_first: bool) -> Result<(), Error> {
        let Some(path) = self.config.pidfile.clone() else {
            return Ok(());
        };
        let of_supervisord = self.config.habits == Habits::Supervisord;
        if of_supervisord && is_first {
            // Whoever it names: the sockets have decided that there is nobody else.
            let _ = std::fs::remove_file(&path);
        }
        make_folder(&path)?;
        let path = text(&path)?;
        let written = self.link.call(|ticket| Order::Pidfile { ticket, path })?;
        match written {
            Err(failure) if of_supervisord => {
                tracing::error!(critical = true, "could not write pidfile: {}", failure.text);
                Ok(())
            }
            written => written
                .map(drop)
                .map_err(|failure| Error::Refused { failure }),
        }
    }

    /// What there is to say at the very beginning.
    fn tell_of(&self, said: &Said) {
        let is_root = trine_sys::privileges::effective_uid() == 0;
        match &self.config.daemon.user {
            None if is_root && self.config.habits == Habits::Supervisord => tracing::error!(
                critical = true,
                "Supervisor is running as root. Privileges were not dropped because no user is specified in the config \
                 file. If you intend to run as root, you can set user=root in the config file to avoid this message."
            ),
            None => {}
            Some(user) => tracing::info!("Set uid to user {user} succeeded"),
        }
        for trap in &said.traps {
            tracing::warn!("{trap}");
        }
        for info in &said.infos {
            tracing::info!("{info}");
        }
    }

    /// The control socket, held by the holder like any other, so that clients wait a moment while brains change.
    fn control_socket(&mut self, table: &mut Table) -> Result<Option<Listener>, Error> {
        let Some(path) = self.config.control.clone() else {
            return Ok(None);
        };
        let fd = match table.control.take() {
            Some(fd) => fd,
            None => {
                make_folder(&path)?;
                let bind = BindOrder {
                    address: format!("unix:{}", text(&path)?),
                    mode: trine_control::socket::MODE,
                    owner: None,
                    backlog: CONTROL_BACKLOG,
                    blocking: false,
                };
                let key = CONTROL_KEY.to_owned();
                let bound = self.link.call(|ticket| Order::Bind {
                    ticket,
                    key,
                    bind,
                    give: true,
                })?;
                let (_, fds) = bound.map_err(|failure| Error::Refused { failure })?;
                fds.into_iter()
                    .next()
                    .ok_or(Error::Protocol(crate::holder::wire::WireError::Descriptors))?
            }
        };
        let addr = trine_sys::net::local_addr(&fd).map_err(|source| Error::Brain {
            doing: "use the control socket",
            source,
        })?;
        Ok(Some(Listener {
            fd,
            addr,
            origin: Origin::Inherited,
            file: None,
        }))
    }
}

/// What the holder told.
#[derive(Debug)]
struct Table {
    head: TableHead,
    notify: Option<OwnedFd>,
    control: Option<OwnedFd>,
    /// The holder's keys of what is bound for HTTP servers.
    servers: BTreeSet<String>,
    rows: Vec<Row>,
    sockets: BTreeMap<String, String>,
}

fn read_table(link: &mut Link) -> Result<Table, Error> {
    link.send(&[Order::Hello])?;
    let (head, fds) = loop {
        // What comes before the table is in the table too.
        if let (Report::Table(head), fds) = link.read_waiting()? {
            break (*head, fds);
        }
    };
    let notify = fds.into_iter().next();
    let mut table = Table {
        head,
        notify,
        control: None,
        servers: BTreeSet::new(),
        rows: Vec::new(),
        sockets: BTreeMap::new(),
    };
    loop {
        let (report, fds) = link.read_waiting()?;
        match report {
            Report::Slot {
                id,
                generation,
                life,
                channels,
            } => table.rows.push(Row {
                id,
                generation,
                life,
                channels,
                fds,
            }),
            Report::Socket { key, .. } if key == CONTROL_KEY => {
                table.control = fds.into_iter().next()
            }
            Report::Socket { key, .. } if key.starts_with(SERVER_PREFIX) => {
                table.servers.insert(key);
            }
            Report::Socket { key, address, .. } => drop(table.sockets.insert(key, address)),
            Report::TableEnd => return Ok(table),
            _ => {}
        }
    }
}

/// The configuration in force, or at the first start what the process that was started has read; then with what there
/// is to say about it.
fn configuration(head: &TableHead) -> Result<(Config, Option<Said>), Error> {
    let wrong = |key: &'static str| {
        move |source| Error::Stored {
            key: key.to_owned(),
            source,
        }
    };
    if let Some(text) = head.stored.get(CONFIG_KEY) {
        return Ok((serde_json::from_str(text).map_err(wrong(CONFIG_KEY))?, None));
    }
    let text = head.stored.get(FIRST_KEY).map_or("", String::as_str);
    let first: First = serde_json::from_str(text).map_err(wrong(FIRST_KEY))?;
    Ok((first.config, Some(first.said)))
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
        path: folder.to_owned(),
        source,
    })
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Path {
        path: path.to_owned(),
    })
}
