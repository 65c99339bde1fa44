//! What the holder tells a new brain: processes, sockets, and what earlier brains have stored.
//! Not here: what becomes of it (`begin`, `adopt`).

use super::adopt::Row;
use super::link::Link;
use super::presence::CONTROL_KEY;
use super::servers::SERVER_PREFIX;
use super::supervisor::CONFIG_KEY;
use crate::config::Config;
use crate::error::Error;
use crate::holder::wire::{FIRST_KEY, Order, Report, TableHead};
use crate::launch::{First, Said};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

/// What the holder told.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) head: TableHead,
    pub(super) notify: Option<OwnedFd>,
    /// What is bound for control, by the holder's keys: one, unless a brain died while it moved.
    pub(super) control: BTreeMap<String, OwnedFd>,
    /// The holder's keys of what is bound for HTTP servers.
    pub(super) servers: BTreeSet<String>,
    pub(super) rows: Vec<Row>,
    pub(super) sockets: BTreeMap<String, String>,
}

pub(super) fn read(link: &mut Link) -> Result<Table, Error> {
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
        control: BTreeMap::new(),
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
            Report::Socket { key, .. } if key.split('/').next() == Some(CONTROL_KEY) => {
                let fd = fds.into_iter().next();
                table.control.extend(fd.map(|fd| (key, fd)));
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
pub(super) fn configuration(head: &TableHead) -> Result<(Config, Option<Said>), Error> {
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
