//! The brain: configuration, state machines, logs, control API. It may be killed at any instant; the next one reads the
//! holder's table and goes on.
//! Not here: owning anything that programs depend on; that is the holder's.

pub mod adopt;
pub mod ask;
mod asked;
mod begin;
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
pub mod main_log;
pub mod metrics;
pub mod notify;
pub mod outputs;
pub mod perform;
pub mod plan;
mod presence;
pub mod probe;
pub mod process;
pub mod reload;
mod reports;
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
mod table;
mod timers;
pub mod upgrade;
mod usage;
mod waiting;
pub mod web;

use crate::clock;
use crate::config::{Config, Overrides};
use crate::error::Error;
use crate::holder::main::BRAIN_FD;
use crate::holder::wire::Order;
use ask::Watches;
use events::Events;
use link::Link;
use logs::pump::Pump;
use main_log::MainLog;
use servers::Servers;
use start::House;
use std::collections::BTreeMap;
use supervisor::{CONFIG_KEY, DAEMON_KEY, Daemon, Supervisor};
use table::Table;
use tokio::task::JoinSet;
use trine_control::server::EventHub;
use trine_service::PhaseCell;
use trine_sys::fdpass;
use upgrade::Upgrades;

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
    let table = table::read(&mut link)?;
    let is_first = !table.head.stored.contains_key(CONFIG_KEY);
    match runtime.block_on(live(link, table, overrides)) {
        Ok(()) => Ok(0),
        // Nothing runs yet, so nothing is lost by giving up: say why and end the holder too.
        Err((err, link)) if is_first => {
            if let Some(mut link) = link {
                let code = crate::cli::exit_code(&err);
                link.send(&[Order::Exit { code, leave: false }])?;
            }
            Err(err)
        }
        Err((err, _)) => Err(err),
    }
}

/// An error, and the line to the holder if nobody else has it.
type Failed = (Error, Option<Link>);

async fn live(link: Link, table: Table, overrides: &Overrides) -> Result<(), Failed> {
    let (config, first) = match table::configuration(&table.head) {
        Ok(found) => found,
        Err(err) => return Err((err, Some(link))),
    };
    let log = match MainLog::set_up(&config) {
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
    log: MainLog,
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
