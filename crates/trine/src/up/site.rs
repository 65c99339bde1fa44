//! A site that is being started, watched and stopped: the supervisor's process, and what it tells us.
//!
//! Not here: how a daemon is started or stopped; the supervisor does that, this room follows it.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::ExitStatus;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use trine_control::message::ProgramStatus;
use trine_service::exit::Exit;
use trine_service::signals::{AsyncSignals, SignalPipe};

use super::configs::{PROXY, WSGI};
use super::diagnosis::{self, Context, Dead};
use super::judge::{Judgement, judge, shown, shown_at_the_end, told};
use super::launch::{Launched, launch};
use super::plan::Plan;
use super::progress::{Mark, Progress};
use crate::failure::Failure;
use crate::supervisor::{Feed, Supervisor};

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) plan: Plan,
    supervisor: Supervisor,
    feed: Feed,
    launched: Launched,
    signals: AsyncSignals,
    progress: Progress,
    log_starts: LogStarts,
}

/// How the start, or the watch, came to its end.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ready,
    /// A person asked for the end.
    Interrupted,
    /// The supervisor has ended without our doing.
    Ended(ExitStatus),
}

/// How long each log was before this start; older lines explain nothing.
#[derive(Debug)]
struct LogStarts([(&'static str, u64); 3]);

enum Turn {
    Look,
    Signal,
    Ended(ExitStatus),
}

impl Site {
    /// Starts the supervisor. Signals that ask for an end are caught from here on.
    pub(crate) fn launch(plan: Plan) -> anyhow::Result<Self> {
        let signals = SignalPipe::new(&ends())?.into_async()?;
        let log_starts = LogStarts(["supervisor", WSGI, PROXY].map(|name| {
            (
                name,
                fs::metadata(plan.run_dir.log(name)).map_or(0, |meta| meta.len()),
            )
        }));
        let supervisor = Supervisor::of(&plan.run_dir);
        let launched = launch(&plan)?;
        let feed = supervisor.feed();
        let mut progress = Progress::new();
        progress.set(
            "supervisor",
            Mark::Good,
            &format!("started (process {})", launched.pid),
        );
        Ok(Self {
            supervisor,
            feed,
            launched,
            signals,
            progress,
            log_starts,
            plan,
        })
    }

    /// Follows the start. A program that fails ends the whole site, and is explained.
    pub(crate) async fn until_ready(&mut self) -> anyhow::Result<Outcome> {
        loop {
            match self.turn().await? {
                Turn::Signal => return Ok(Outcome::Interrupted),
                Turn::Ended(status) => return Err(self.supervisor_ended(status).into()),
                Turn::Look => {}
            }
            let Some(programs) = self.look().await else {
                continue;
            };
            match judge(&programs) {
                Judgement::Waiting => {}
                Judgement::AllReady => {
                    self.feed.told(); // the way here was shown as rows
                    self.progress.finish();
                    return Ok(Outcome::Ready);
                }
                Judgement::Dead { program, verdict } => {
                    self.stop().await?;
                    return Err(self.explain(&program, &verdict).into());
                }
            }
        }
    }

    /// Stays until a person or the supervisor ends it, and tells what changes meanwhile.
    pub(crate) async fn watch(&mut self) -> anyhow::Result<Outcome> {
        loop {
            match self.turn().await? {
                Turn::Signal => return Ok(Outcome::Interrupted),
                Turn::Ended(status) => return Ok(Outcome::Ended(status)),
                Turn::Look => {
                    for line in self.feed.told().iter().filter_map(told) {
                        self.progress.note(&line);
                    }
                }
            }
        }
    }

    /// Stops everything in order and waits. Another signal meanwhile makes it quick.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.progress.finish();
        self.launched.signal(Signal::SIGTERM);
        loop {
            match self.turn().await? {
                Turn::Ended(status) => {
                    self.progress.settle("stopped");
                    self.progress.set("supervisor", Mark::Good, "stopped");
                    self.progress.finish();
                    return Ok(status);
                }
                Turn::Signal => {
                    self.progress.note("cutting off the requests in flight");
                    self.launched.signal(Signal::SIGQUIT);
                }
                Turn::Look => {
                    self.progress.tick();
                    for program in self.supervisor.programs_soon().await.unwrap_or_default() {
                        if let Some((mark, text)) = shown_at_the_end(&program) {
                            self.progress.set(&program.name, mark, &text);
                        }
                    }
                }
            }
        }
    }

    /// The same, asked for by a person, who is told how to make it quick.
    pub(crate) async fn stop_on_request(&mut self) -> anyhow::Result<ExitStatus> {
        self.progress.note(
            "\nstopping when the requests in flight are answered; Ctrl-C again cuts them off",
        );
        self.stop().await
    }

    /// How the supervisor's own end is told: asked for from elsewhere, or a failure.
    pub(crate) fn end_told(&self, status: ExitStatus) -> Result<(), Failure> {
        if status.success() {
            Ok(())
        } else {
            Err(self.supervisor_ended(status))
        }
    }

    async fn turn(&mut self) -> anyhow::Result<Turn> {
        tokio::select! {
            biased;
            status = self.launched.ended() => Ok(Turn::Ended(status.context("cannot watch the supervisor")?)),
            signal = self.signals.next() => signal.map(|_| Turn::Signal).context("cannot wait for signals"),
            () = self.feed.changed() => Ok(Turn::Look),
        }
    }

    /// Shows the programs as they are; nothing while the supervisor does not answer.
    async fn look(&mut self) -> Option<Vec<ProgramStatus>> {
        self.progress.tick();
        let programs = self.supervisor.programs_soon().await?;
        for program in &programs {
            let (mark, text) = shown(program);
            self.progress.set(&program.name, mark, &text);
        }
        Some(programs)
    }

    fn explain(&self, program: &str, verdict: &str) -> Failure {
        let log = self.plan.run_dir.log(program);
        let output = self.log_starts.read(program, &log);
        let dead = Dead {
            program,
            verdict,
            output: &output,
            log: &log,
        };
        let context = Context {
            app: &self.plan.app,
            folder: &self.plan.folder,
            python: self.plan.python.as_ref(),
        };
        diagnosis::explain(&dead, &context)
    }

    fn supervisor_ended(&self, status: ExitStatus) -> Failure {
        let log = self.plan.run_dir.log("supervisor");
        let output = self.log_starts.read("supervisor", &log);
        let exit = match status.code() {
            Some(75) => Exit::TryAgain,
            Some(78) => Exit::Config,
            _ => Exit::Bug,
        };
        let way_out = format!("its whole log: {}", log.display());
        Failure::new(
            exit,
            format!("trine-supervisor has ended ({status})"),
            way_out,
        )
        .with_evidence(diagnosis::tail(&output))
    }
}

/// The signals that ask for an end. Those that our caller ignores stay ignored: SIGHUP under `nohup`,
/// SIGINT in the background of a script.
fn ends() -> Vec<Signal> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored_signals(&status);
    let asks = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    asks.into_iter()
        .filter(|signal| ignored & (1 << (*signal as u32 - 1)) == 0)
        .collect()
}

/// The mask in the line `SigIgn` of `/proc/PID/status`.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

impl LogStarts {
    /// What was written since; whatever cannot be read is empty.
    fn read(&self, name: &str, path: &Path) -> String {
        let start = self
            .0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, start)| *start);
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = fs::File::open(path)?;
            if file.metadata()?.len() >= start {
                file.seek(SeekFrom::Start(start))?; // otherwise it was rotated: all of it is new
            }
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(text)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(
            ignored_signals("Name:\tx\nSigBlk:\tff\nSigIgn:\t0000000000001001\n"),
            0x1001
        );
        assert_eq!(ignored_signals(""), 0);
    }

    #[test]
    fn a_log_is_read_from_where_this_start_began() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wsgi.log");
        fs::write(&path, "before\nnow\n").unwrap();
        assert_eq!(
            LogStarts([("wsgi", 7), ("a", 0), ("b", 0)]).read("wsgi", &path),
            "now\n"
        );
        assert_eq!(
            LogStarts([("wsgi", 70), ("a", 0), ("b", 0)]).read("wsgi", &path),
            "before\nnow\n"
        );
        assert_eq!(
            LogStarts([("wsgi", 0), ("a", 0), ("b", 0)]).read("wsgi", Path::new("/none")),
            ""
        );
    }
}
