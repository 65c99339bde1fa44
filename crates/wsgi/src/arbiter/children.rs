//! The worker processes as the arbiter holds them: descriptors, slots, what they said.
//!
//! Not here: what becomes of them (`state`).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use trine_service::listeners::Listener;
use trine_sys::file;

use crate::notice::Notice;
use crate::python::Worker;

use super::metrics::Totals;
use super::state::Pid;

#[derive(Debug)]
pub(super) struct Child {
    pub slot: usize,
    pub generation: u64,
    pub pidfd: OwnedFd,
    notice: OwnedFd,
    /// Where it alone takes connections, until it is to leave.
    pub personal: Option<Rc<Listener>>,
    heard: Vec<u8>,
    pub spawned: Instant,
    /// Another is to take its place, for its age.
    pub aged: bool,
    /// It was made for a server with one worker, and would share with nobody.
    pub alone: bool,
    /// Another is to take its place, for a thread that does not react.
    pub stuck: bool,
    /// It as hooks see it.
    pub object: Worker,
    /// Why we killed it, if we did.
    pub our_doing: Option<String>,
    /// Why it could not boot, in its own words.
    pub failure: Option<String>,
    /// What it said of signals from others, or of its leaving.
    pub said: Option<String>,
    /// Its long requests that were told of in the log already: the since of each thread.
    pub told: Vec<u64>,
}

impl Child {
    pub(super) fn new(
        slot: usize,
        generation: u64,
        pidfd: OwnedFd,
        notice: OwnedFd,
        object: Worker,
    ) -> Self {
        Self {
            slot,
            generation,
            pidfd,
            notice,
            personal: None,
            heard: Vec::new(),
            spawned: Instant::now(),
            object,
            aged: false,
            alone: false,
            stuck: false,
            our_doing: None,
            failure: None,
            said: None,
            told: Vec::new(),
        }
    }

    pub(super) fn notice(&self) -> &OwnedFd {
        &self.notice
    }

    /// Reads what it told, and remembers what explains its end. `true`: it will tell no more.
    pub(super) fn listen(&mut self) -> (Vec<Notice>, bool) {
        let mut part = [0; 4096];
        let ended = loop {
            match file::read(&self.notice, &mut part) {
                Ok(0) => break true,
                Ok(count) => self.heard.extend_from_slice(&part[..count]),
                Err(_) => break false,
            }
        };
        let mut told = Vec::new();
        while let Some((notice, used)) = Notice::decode(&self.heard) {
            self.heard.drain(..used);
            match &notice {
                Notice::Failed(why) => self.failure = Some(why.clone()),
                Notice::Signalled(who) => self.said = Some(who.clone()),
                Notice::Leaving(why) => self.said = Some(why.clone()),
                Notice::Ready | Notice::Recycle(_) => {}
            }
            told.push(notice);
        }
        (told, ended)
    }
}

#[derive(Debug, Default)]
pub(super) struct Children {
    by_pid: BTreeMap<Pid, Child>,
    /// What those that have ended had counted.
    pub totals: Totals,
    /// Why the one that ended last could not boot.
    pub last_failure: Option<String>,
}

impl Children {
    pub(super) fn insert(&mut self, pid: Pid, child: Child) {
        self.by_pid.insert(pid, child);
    }

    pub(super) fn get_mut(&mut self, pid: Pid) -> Option<&mut Child> {
        self.by_pid.get_mut(&pid)
    }

    pub(super) fn get(&self, pid: Pid) -> Option<&Child> {
        self.by_pid.get(&pid)
    }

    pub(super) fn remove(&mut self, pid: Pid) -> Option<Child> {
        self.by_pid.remove(&pid)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Pid, &Child)> {
        self.by_pid.iter().map(|(pid, child)| (*pid, child))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Pid, &mut Child)> {
        self.by_pid.iter_mut().map(|(pid, child)| (*pid, child))
    }

    /// A slot that no child has.
    pub(super) fn free_slot(&self, slots: usize) -> Option<usize> {
        (0..slots).find(|slot| self.by_pid.values().all(|child| child.slot != *slot))
    }

    /// Forgets all of them, in a forked child: they are its siblings.
    pub(super) fn clear(&mut self) {
        self.by_pid.clear();
    }
}
