//! Steps of a chore: a title before, the time after, and a table at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// What became of the steps so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

#[derive(Debug)]
struct Done {
    title: String,
    took: Duration,
    problem: Option<String>,
}

impl Steps {
    /// Runs one step. A failure is printed and kept, and the caller decides whether going on makes sense.
    pub(crate) fn run<T>(
        &mut self,
        title: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> Option<T> {
        eprintln!("\n== {title}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let (value, problem) = match result {
            Ok(value) => (Some(value), None),
            Err(problem) => {
                eprintln!("xtask: {title} failed: {problem:#}");
                (None, Some(format!("{problem:#}")))
            }
        };
        self.done.push(Done {
            title: title.to_owned(),
            took,
            problem,
        });
        value
    }

    pub(crate) fn all_passed(&self) -> bool {
        self.done.iter().all(|step| step.problem.is_none())
    }

    /// The table of steps and times.
    pub(crate) fn print_times(&self) {
        eprintln!();
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        for step in &self.done {
            let verdict = if step.problem.is_none() {
                "ok    "
            } else {
                "FAILED"
            };
            eprintln!(
                "{verdict} {:>7.1} s  {}",
                step.took.as_secs_f64(),
                step.title
            );
        }
        eprintln!("       {:>7.1} s  in all", total.as_secs_f64());
    }
}

/// Runs a command with our own output, and fails when it fails.
pub(crate) fn call(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        if arg.is_empty() || arg.contains([' ', '"', '\'']) {
            format!("'{arg}'")
        } else {
            arg.into_owned()
        }
    }));
    words.join(" ")
}
