//! Connecting processes with their logs: which pipe goes to which tap, before a start, after a reload, for a new brain.
//! Not here: moving bytes (see `logs`).

use super::adopt::Row;
use super::logs::filter::Wanted;
use super::logs::pump::Manner;
use super::logs::tap::{self, Tap};
use super::logs::{self, Key, auto_log};
use super::process::Process;
use super::supervisor::Supervisor;
use crate::config::{self, Destination, Sink};
use crate::error::Error;
use crate::holder::wire::{Channel, Order};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Room in a log pipe: much for a few processes, less when there are many, as the kernel counts them per user.
const ALL_PIPES_BYTES: usize = 32 << 20;
const LEAST_PIPE_BYTES: usize = 64 << 10;
const MOST_PIPE_BYTES: usize = 1 << 20;
/// So many are asked for in one go: the kernel bounds how many descriptors may be on their way.
const PIPES_AT_ONCE: usize = 128;

impl Supervisor {
    /// Before a start. `Ok(Err)`: the reason why it cannot be, for people.
    pub fn prepare_logs(
        &mut self,
        id: &str,
        settings: &config::Process,
    ) -> Result<Result<(), String>, Error> {
        if let Err(err) = self.name_auto_logs(id, settings) {
            return Ok(Err(format!("can't make its log: {err}")));
        }
        self.open_pipes([(id, settings)])?;
        for (channel, sink) in self.sinks(id, settings) {
            let Some(sink) = sink else {
                self.disconnect(id, channel);
                continue;
            };
            let tap = match self.tap_at(sink.path()) {
                Some(tap) => tap.reopen(&sink).map(|()| tap),
                None => Tap::open(&sink).map(Arc::new),
            };
            let tap = match tap {
                Ok(tap) => tap,
                Err(err) => {
                    let path = sink.path().display();
                    return Ok(Err(format!("can't open its log {path}: {err}")));
                }
            };
            if let Err(reason) = self.connect(id, settings, channel, tap)? {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }

    /// For a process of an earlier brain, whose pipe the holder has.
    pub fn reconnect(
        &mut self,
        id: &str,
        channel: Channel,
        pipe: OwnedFd,
        staging: Option<OwnedFd>,
    ) -> Result<(), Error> {
        let Some(process) = self.processes.get(id) else {
            return Ok(());
        };
        let settings = process.record.settings.clone();
        let Some(sink) = self.sink(id, &settings, channel) else {
            return Ok(());
        };
        let tap = match self.tap_at(sink.path()) {
            Some(tap) => tap,
            None => match Tap::open_or_retry(&sink) {
                Ok(tap) => Arc::new(tap),
                Err(err) => {
                    tracing::error!("can't open {}: {err}", sink.path().display());
                    return Ok(());
                }
            },
        };
        let key = Key {
            id: id.to_owned(),
            channel,
        };
        let wanted = self.wanted(&settings, channel);
        if channel == Channel::Stdout && self.is_listener(&settings.group) {
            if let Err(err) = self.listen_to(id, pipe) {
                tracing::error!("can't listen to {id}: {err}");
            }
        } else {
            let manner = match staging {
                Some(_) => Manner { wanted, staging },
                None => self.manner_of(id, channel, wanted, &tap)?,
            };
            self.pump.add(key, pipe, tap.clone(), manner);
        }
        if let Some(process) = self.processes.get_mut(id) {
            process
                .wanted
                .insert(channel, (wanted, tap.changes(wanted)));
            process.taps.insert(channel, tap);
        }
        Ok(())
    }

    /// What an earlier brain had only half written of a process's output goes out of its logs again.
    pub(super) fn take_back(&self, row: &Row) {
        let Some(process) = self.processes.get(&row.id) else {
            return;
        };
        let fds = row
            .fds
            .iter()
            .skip(row.fds.len().saturating_sub(row.channels.len()));
        for (channel, fd) in row.channels.iter().zip(fds) {
            let output = channel.other().filter(|_| channel.is_staging());
            let settings = &process.record.settings;
            let sink = output.and_then(|output| self.sink(&row.id, settings, output));
            if let Some(sink) = sink
                && let Err(err) = logs::take_back(fd, sink.path())
            {
                let path = sink.path().display();
                tracing::error!(
                    "{path} may have the end of what {} said twice: {err}",
                    row.id
                );
            }
        }
    }

    /// With a place for output that is changed on its way, which the holder keeps.
    fn manner_of(
        &mut self,
        id: &str,
        channel: Channel,
        wanted: Wanted,
        tap: &Tap,
    ) -> Result<Manner, Error> {
        let mut manner = Manner {
            wanted,
            staging: None,
        };
        let Some(place) = channel.other().filter(|_| tap.changes(wanted)) else {
            return Ok(manner);
        };
        let opened = self.link.call(|ticket| Order::OpenPipe {
            ticket,
            id: id.to_owned(),
            channel: place,
            bytes: 0,
        })?;
        match opened {
            Ok((_, fds)) => manner.staging = fds.into_iter().next(),
            // It works without, as long as no brain dies.
            Err(failure) => tracing::error!("{id}: can't keep its output safe: {}", failure.text),
        }
        Ok(manner)
    }

    /// Processes that name the same file share one tap, so that nobody's rotation is in another's way.
    fn tap_at(&self, path: &Path) -> Option<Arc<Tap>> {
        let mark = tap::mark(path);
        let taps = self.processes.values().flat_map(|p| p.taps.values());
        taps.into_iter().find(|tap| tap.is_at(path, mark)).cloned()
    }

    /// What is to be made of a channel's output beside writing it.
    fn wanted(&self, settings: &config::Process, channel: Channel) -> Wanted {
        let output = match channel {
            Channel::Stdout => &settings.stdout,
            Channel::Stderr => &settings.stderr,
            Channel::Ready | Channel::StdoutStaging | Channel::StderrStaging => {
                return Wanted::default();
            }
        };
        Wanted {
            capture_bytes: output.capture_bytes,
            events: output.events,
            strip_ansi: self.config.child_logs.strip_ansi,
            syslog: output.syslog,
            main_log: self.house.hears_all,
        }
    }

    /// Has the holder make the log pipes of these processes that have none yet. Asking for all at once, before many are
    /// started, spares a wait for each.
    pub fn open_pipes<'a>(
        &mut self,
        processes: impl IntoIterator<Item = (&'a str, &'a config::Process)>,
    ) -> Result<(), Error> {
        let mut missing = Vec::new();
        for (id, settings) in processes {
            for channel in [Channel::Stdout, Channel::Stderr] {
                let key = Key {
                    id: id.to_owned(),
                    channel,
                };
                let taps = self.processes.get(id).map(|process| &process.taps);
                let is_there = taps.is_some_and(|taps| taps.contains_key(&channel))
                    || matches!(self.pipes.get(&key), Some(Ok(_)));
                if !is_there && self.needs_pipe(settings, channel) {
                    missing.push(key);
                }
            }
        }
        let share = ALL_PIPES_BYTES / self.config.processes.len().max(1);
        let bytes = share.clamp(LEAST_PIPE_BYTES, MOST_PIPE_BYTES);
        for some in missing.chunks(PIPES_AT_ONCE) {
            let opened = self.link.call_all(some.iter().map(|key| {
                let (id, channel) = (key.id.clone(), key.channel);
                move |ticket| Order::OpenPipe {
                    ticket,
                    id,
                    channel,
                    bytes,
                }
            }))?;
            for (key, opened) in some.iter().zip(opened) {
                let pipe = match opened {
                    Ok((_, fds)) => fds.into_iter().next().ok_or_else(String::new),
                    Err(failure) => Err(failure.text),
                };
                self.pipes.insert(key.clone(), pipe);
            }
        }
        Ok(())
    }

    /// The same for processes as they are going to be started.
    pub fn open_pipes_of(&mut self, ids: &[String]) -> Result<(), Error> {
        let mut coming = Vec::new();
        for id in ids {
            if let Some(process) = self.processes.get(id)
                && process.taps.is_empty()
            {
                coming.push((id.as_str(), process.wanted().clone()));
            }
        }
        self.open_pipes(coming.iter().map(|(id, settings)| (*id, &**settings)))
    }

    fn connect(
        &mut self,
        id: &str,
        settings: &config::Process,
        channel: Channel,
        tap: Arc<Tap>,
    ) -> Result<Result<(), String>, Error> {
        let key = Key {
            id: id.to_owned(),
            channel,
        };
        let wanted = self.wanted(settings, channel);
        let is_listener = channel == Channel::Stdout && self.is_listener(&settings.group);
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(Ok(()));
        };
        let now = (wanted, tap.changes(wanted));
        let before = process.wanted.insert(channel, now);
        if let Some(old) = process.taps.get(&channel).cloned() {
            process.taps.insert(channel, tap.clone());
            let is_same = Arc::ptr_eq(&old, &tap);
            if !is_listener && (!is_same || before.is_some_and(|before| before != now)) {
                let manner = self.manner_of(id, channel, wanted, &tap)?;
                self.pump.redirect(key, tap, manner);
            }
            if !is_same {
                self.close_unless_used(&old);
            }
            return Ok(Ok(()));
        }
        let pipe = match self.pipes.remove(&key) {
            Some(Ok(pipe)) => pipe,
            Some(Err(why)) => return Ok(Err(format!("can't make a log pipe: {why}"))),
            None => return Ok(Err("it has no log pipe".to_owned())),
        };
        process.taps.insert(channel, tap.clone());
        if is_listener {
            let heard = self.listen_to(id, pipe);
            return Ok(heard.map_err(|err| format!("can't listen to it: {err}")));
        }
        let manner = self.manner_of(id, channel, wanted, &tap)?;
        self.pump.add(key, pipe, tap, manner);
        Ok(Ok(()))
    }

    fn disconnect(&mut self, id: &str, channel: Channel) {
        let process = self.processes.get_mut(id);
        if let Some(tap) = process.and_then(|process| process.taps.remove(&channel)) {
            let id = id.to_owned();
            drop(self.pump.remove(Key { id, channel }));
            self.close_unless_used(&tap);
        }
    }

    /// For a process that is removed: what it said last is moved before the holder closes the pipes.
    pub async fn disconnect_all(&self, id: &str, process: &Process) {
        for (channel, tap) in &process.taps {
            let key = Key {
                id: id.to_owned(),
                channel: *channel,
            };
            let _ = self.pump.remove(key).await;
            self.close_unless_used(tap);
        }
    }

    /// Readers of a log to which nobody is connected any more need not wait.
    fn close_unless_used(&self, tap: &Arc<Tap>) {
        if self.tap_at(tap.path()).is_none() {
            tap.close();
        }
    }

    /// Waits until all that programs have said is where it belongs.
    pub async fn settle_logs(&self) {
        for (id, process) in &self.processes {
            for (channel, tap) in &process.taps {
                let key = Key {
                    id: id.clone(),
                    channel: *channel,
                };
                let _ = self.pump.drain(key).await;
                tap.close();
            }
        }
    }

    /// Where each channel goes; `None`: nowhere, or where the other one goes.
    fn sinks(&self, id: &str, settings: &config::Process) -> [(Channel, Option<Sink>); 2] {
        let auto = self.processes.get(id).map(|p| &p.record.auto_logs);
        [
            (Channel::Stdout, &settings.stdout),
            (Channel::Stderr, &settings.stderr),
        ]
        .map(|(channel, output)| {
            let auto = auto.and_then(|logs| logs.get(&channel));
            let sink = self.needs_pipe(settings, channel);
            (
                channel,
                sink.then(|| output.sink(auto.map(PathBuf::as_path))),
            )
        })
    }

    /// Whether anything becomes of what a process writes there.
    fn needs_pipe(&self, settings: &config::Process, channel: Channel) -> bool {
        let output = match channel {
            Channel::Stdout => &settings.stdout,
            Channel::Stderr if settings.redirect_stderr => return false,
            Channel::Stderr => &settings.stderr,
            Channel::Ready | Channel::StdoutStaging | Channel::StderrStaging => return false,
        };
        let is_listener = channel == Channel::Stdout && self.is_listener(&settings.group);
        output.to != Destination::Nowhere
            || output.is_heard()
            || self.house.hears_all
            || is_listener
    }

    fn sink(&self, id: &str, settings: &config::Process, channel: Channel) -> Option<Sink> {
        let sinks = self.sinks(id, settings).into_iter();
        sinks
            .filter(|(known, _)| *known == channel)
            .find_map(|(_, sink)| sink)
    }

    /// Makes the files of automatic logs that have none yet.
    pub(super) fn name_auto_logs(
        &mut self,
        id: &str,
        settings: &config::Process,
    ) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        let logs = &self.config.child_logs;
        let folder = logs.folder.clone().unwrap_or_else(std::env::temp_dir);
        let outputs = [
            (Channel::Stdout, &settings.stdout),
            (Channel::Stderr, &settings.stderr),
        ];
        for (channel, output) in outputs {
            let known = process.record.auto_logs.contains_key(&channel);
            if output.to == Destination::Auto && !known {
                let start = format!(
                    "{}-{}---{}-",
                    settings.name,
                    channel.name(),
                    self.config.identifier
                );
                let path = auto_log::make(&folder, &start)?;
                process.record.auto_logs.insert(channel, path);
            }
        }
        Ok(())
    }

    /// Removes the automatic logs of earlier runs, unless they are to be kept.
    pub fn clear_auto_logs(&self) {
        let logs = &self.config.child_logs;
        let has_some = |p: &Arc<config::Process>| {
            [&p.stdout, &p.stderr]
                .iter()
                .any(|o| o.to == Destination::Auto)
        };
        if logs.keep || !self.config.processes.iter().any(has_some) {
            return;
        }
        let folder = logs.folder.clone().unwrap_or_else(std::env::temp_dir);
        match auto_log::clear(&folder, &self.config.identifier) {
            Ok(0) => {}
            Ok(left) => tracing::warn!("{left} old logs in {} stay", folder.display()),
            Err(err) => tracing::warn!("old logs in {} stay: {err}", folder.display()),
        }
    }
}
