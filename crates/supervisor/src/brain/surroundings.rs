//! What is set up around a process before it starts, and what is looked at when it has ended: limits and control group,
//! the place in its log, its readiness pipe; the cause of its end, what it left behind, and whether all ends with it.
//! Not here: the spawn order itself (`start`), one control group (`cgroup`).

use super::cgroup::{self, Cgroups};
use super::check::Manner;
use super::logs::tail::Tail;
use super::process::OUT_OF_MEMORY;
use super::shutdown::Closing;
use super::start;
use super::supervisor::Supervisor;
use crate::config::extras::ShutdownOn;
use crate::config::{self, Ready};
use crate::error::Error;
use crate::holder::wire::{Channel, Confinement, Order};
use crate::program::state::{Exit, Life, State};
use trine_sys::file;

/// Enough for a newline.
const READY_PIPE_BYTES: usize = 4096;
/// What the supervisor ends with when a program that decides could never be started.
const NEVER_STARTED: u8 = 1;

impl Supervisor {
    /// Makes a place for control groups if a program has use for one.
    pub fn find_cgroups(&mut self) {
        let mut all = self.config.processes.iter();
        let wanted = all.any(|p| p.extras.kill_descendants || !p.extras.limits.cgroup.is_empty());
        if !wanted || self.cgroups.is_some() {
            return;
        }
        match Cgroups::find(self.holder_pid) {
            Ok(cgroups) => self.cgroups = Some(cgroups),
            Err(why) => tracing::debug!("working without control groups: {why}"),
        }
    }

    /// `Err`: a limit that cannot be kept, for people. Without a place for control groups only those are missed who
    /// have limits there: sweeping up works without.
    pub(super) fn confine(
        &mut self,
        id: &str,
        generation: u64,
        settings: &config::Process,
    ) -> Result<Confinement, String> {
        let limits = &settings.extras.limits;
        let mut out = Confinement {
            rlimits: limits.rlimits.clone(),
            nice: limits.nice,
            oom_score_adj: limits.oom_score_adj,
            no_new_privileges: limits.no_new_privileges,
            capabilities: limits.capabilities,
            cgroup: None,
        };
        if limits.cgroup.is_empty() && !settings.extras.kill_descendants {
            return Ok(out);
        }
        self.find_cgroups();
        let made = match &self.cgroups {
            Some(cgroups) => cgroups.make(id, generation, &limits.cgroup),
            None => Err("no control groups of version 2 can be made here".to_owned()),
        };
        match made {
            Ok(folder) => out.cgroup = folder.to_str().map(str::to_owned),
            Err(why) if limits.cgroup.is_empty() => {
                tracing::debug!("{id} starts without a control group: {why}");
            }
            Err(why) => return Err(why),
        }
        Ok(out)
    }

    /// Notes where the log of the coming generation begins, if a line in it is waited for.
    pub(super) fn watch_log(&mut self, id: &str, settings: &config::Process) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.log_watch = None;
        if !matches!(settings.ready, Ready::Log { .. }) {
            return;
        }
        let tap = process.taps.get(&Channel::Stdout).cloned();
        if let Some(Ok(tail)) = tap.map(|tap| Tail::open(tap, Some(0))) {
            process.record.log_mark = tail.follower.position();
            process.log_watch = Some(tail.follower);
        }
    }

    /// The same for a generation that an earlier brain has started.
    pub(super) fn watch_log_again(&mut self, id: &str) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let is_starting = matches!(process.record.life.state, State::Starting { .. });
        if !is_starting || !matches!(process.record.settings.ready, Ready::Log { .. }) {
            return;
        }
        let tap = process.taps.get(&Channel::Stdout).cloned();
        if let Some(Ok(mut tail)) = tap.map(|tap| Tail::open(tap, Some(0))) {
            tail.follower.go_back_to(process.record.log_mark);
            process.log_watch = Some(tail.follower);
        }
    }

    /// Has the holder make the readiness pipe, and empties it of earlier generations' words.
    pub(super) fn prepare_ready_pipe(
        &mut self,
        id: &str,
        settings: &config::Process,
    ) -> Result<Result<(), String>, Error> {
        if !matches!(settings.ready, Ready::Descriptor { .. }) {
            return Ok(Ok(()));
        }
        let opened = self.link.call(|ticket| Order::OpenPipe {
            ticket,
            id: id.to_owned(),
            channel: Channel::Ready,
            bytes: READY_PIPE_BYTES,
        })?;
        let pipe = match opened {
            Ok((_, fds)) => fds.into_iter().next(),
            Err(failure) => return Ok(Err(format!("can't make a pipe: {}", failure.text))),
        };
        if let Some(pipe) = &pipe {
            let mut rest = [0; READY_PIPE_BYTES];
            while matches!(file::read(pipe, &mut rest), Ok(1..)) {}
        }
        if let Some(process) = self.processes.get_mut(id) {
            process.ready_pipe = pipe;
        }
        Ok(Ok(()))
    }

    /// How to run a command in the place of a program.
    #[must_use]
    pub(super) fn manner(&self, id: &str) -> Manner {
        let process = self.processes.get(id);
        let made = process.map(|process| start::manner(&process.record.settings, &self.house));
        match made {
            Some(Ok(manner)) => manner,
            Some(Err(_)) | None => Manner::default(),
        }
    }

    /// A process has ended: what the kernel says of the cause, before its control group goes.
    pub fn note_cause(&mut self, id: &str) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let generation = process.record.generation;
        let folder = self
            .cgroups
            .as_ref()
            .map(|cgroups| cgroups.folder(id, generation));
        if folder.is_some_and(|folder| cgroup::ran_out_of_memory(&folder)) {
            let limits = &process.record.settings.extras.limits.cgroup;
            let limit = limits.get("memory.max").map_or(String::new(), |limit| {
                format!(" (memory.max is {limit} bytes)")
            });
            let cause = format!("{OUT_OF_MEMORY}: the kernel killed it{limit}");
            tracing::warn!("{id} {cause}");
            process.record.cause = Some(cause);
        }
    }

    /// What follows from an end whatever its cause: sweeping up.
    pub fn after_exit(&mut self, id: &str, generation: u64) -> Result<(), Error> {
        let sweeps = self
            .processes
            .get(id)
            .is_some_and(|process| process.record.settings.extras.kill_descendants);
        if sweeps {
            self.sweep(id, generation);
        } else if let Some(cgroups) = &self.cgroups {
            let _ = std::fs::remove_dir(cgroups.folder(id, generation));
        }
        Ok(())
    }

    /// Whether the whole supervisor ends with this program, which has come to rest by itself.
    pub(super) fn decide_end(&mut self, id: &str) -> Result<(), Error> {
        let Some(process) = self.processes.get(id) else {
            return Ok(());
        };
        if self.daemon.closing.is_some() || process.record.queued {
            return Ok(());
        }
        let settings = &process.record.settings;
        let life = &process.record.life;
        let has_failed = match life.state {
            State::Fatal => true,
            State::Exited => !life
                .last_exit
                .is_some_and(|exit| settings.policy.expects(exit)),
            _ => return Ok(()),
        };
        let decides = match settings.extras.shutdown_on {
            ShutdownOn::Never => false,
            ShutdownOn::Failure => has_failed,
            ShutdownOn::End => true,
        };
        if !decides {
            return Ok(());
        }
        self.daemon.exit_code = code_of(life);
        let code = self.daemon.exit_code;
        tracing::info!("{id} has ended, and everything with it (exit code {code})");
        self.close(Closing::End)
    }
}

/// As a shell tells it: death by a signal is 128 and its number.
fn code_of(life: &Life) -> u8 {
    match (&life.state, life.last_exit) {
        (_, Some(Exit::Code(code))) if code != 0 => u8::try_from(code).unwrap_or(u8::MAX),
        (_, Some(Exit::Signal { signal, .. })) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (State::Fatal, _) => NEVER_STARTED,
        (_, Some(Exit::Code(_)) | None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: State, last_exit: Option<Exit>, want: u8) {
        let life = Life {
            state,
            last_exit,
            ..Life::default()
        };
        assert_eq!(code_of(&life), want);
    }

    #[test]
    fn exit_codes_of_the_whole() {
        check(State::Exited, Some(Exit::Code(0)), 0);
        check(State::Exited, Some(Exit::Code(3)), 3);
        check(State::Fatal, Some(Exit::Code(0)), 1); // ended too quickly, again and again
        check(State::Fatal, None, 1);
        let killed = Exit::Signal {
            signal: 9,
            core: false,
        };
        check(State::Exited, Some(killed), 137);
    }
}
