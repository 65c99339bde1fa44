//! `trine logs`: the last lines of log files, or those since a time, and with `-f` what is added to them; several programs
//! are merged into one stream.
//!
//! The files are read where they lie, so that the logs of a site that is down, and of the supervisor itself, are read by
//! the same command. Not here: when a line was written (`time`), files that were rotated away (`history`).

mod follow;
mod history;
mod time;

use std::fs;
use std::io::{self, BufRead, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use trine_service::exit::Exit;

use crate::cli::LogsArgs;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::supervisor::Supervisor;
use history::History;

/// How many lines there are to begin with when nothing is said.
const LINES: usize = 100;

/// One log, and what its lines are called when there are others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    label: String,
    path: PathBuf,
}

pub(crate) async fn run(args: &LogsArgs, run_dir: &RunDir) -> anyhow::Result<Exit> {
    let since = args.since.as_deref().map(time::since).transpose();
    let since = since.map_err(|what| {
        let way_out = "say 10m, 2h30m, 14:30, 2026-11-25 14:30 or 2026-11-25T14:30:00Z";
        Failure::new(Exit::Usage, what, way_out)
    })?;
    let mut sources: Vec<Source> = Vec::new();
    for name in &args.names {
        for source in find(name, args.at.control.as_deref(), run_dir).await {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    let lines = args
        .lines
        .unwrap_or(if since.is_some() { usize::MAX } else { LINES });
    let mut logs = Vec::new();
    for source in &sources {
        let opened = follow::Log::open(&source.path);
        let log = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no_log(&source.label, run_dir).into());
            }
            opened => opened.with_context(|| cannot_read(&source.path))?,
        };
        logs.push(log);
    }
    let mut printer = Printer::new(&sources);
    let mut histories = Vec::new();
    for (source, log) in sources.iter().zip(&logs) {
        let history = log
            .reached()
            .and_then(|newest| History::open(&source.path, newest, lines, since));
        histories.push(history.with_context(|| cannot_read(&source.path))?);
    }
    // A reader that has gone away (`| head`) is no error.
    if !merge(&mut histories, &mut printer).context("cannot read the logs")? || !args.follow {
        return Ok(Exit::Ok);
    }
    loop {
        tokio::time::sleep(follow::LOOK).await;
        for (number, log) in logs.iter_mut().enumerate() {
            let is_read = log.copy(|bytes| printer.bytes(number, bytes));
            if !is_read.with_context(|| cannot_read(&sources[number].path))? {
                return Ok(Exit::Ok);
            }
        }
        if !printer.flush() {
            return Ok(Exit::Ok);
        }
    }
}

/// In the run directory, unless another supervisor is meant; else where the supervisor says that the output of a program, or
/// of each process of a group, goes.
async fn find(name: &str, control: Option<&Path>, run_dir: &RunDir) -> Vec<Source> {
    let source = |label: &str, path: PathBuf| Source {
        label: label.to_owned(),
        path,
    };
    let own = source(name, run_dir.log(name));
    if control.is_none() && own.path.exists() {
        return vec![own];
    }
    let programs = Supervisor::at(control, run_dir)
        .programs()
        .await
        .unwrap_or_default();
    let full = |group: &str, name: &str| format!("{group}:{name}");
    let named: Vec<_> = programs
        .iter()
        .filter(|p| p.name == name || full(&p.group, &p.name) == name)
        .collect();
    let found = if named.is_empty() {
        let group = name.strip_suffix(":*").unwrap_or(name);
        programs.iter().filter(|p| p.group == group).collect()
    } else {
        named
    };
    let logs = found.into_iter().flat_map(|program| {
        let both = [&program.stdout_log, &program.stderr_log];
        let paths = both.into_iter().flatten();
        paths.map(|path| source(&program.name, PathBuf::from(path)))
    });
    // Not every program has written to both.
    let there: Vec<Source> = logs.filter(|source| source.path.exists()).collect();
    if there.is_empty() { vec![own] } else { there }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

fn no_log(name: &str, run_dir: &RunDir) -> Failure {
    let known = known_logs(run_dir);
    let way_out = if known.is_empty() {
        format!("start the site first: trine up{}", run_dir.flag())
    } else {
        format!("there are logs of: {}", known.join(", "))
    };
    let what = format!(
        "there is no log of `{name}` in {}",
        run_dir.logs().display()
    );
    Failure::new(crate::actions::REFUSED, what, way_out)
}

fn known_logs(run_dir: &RunDir) -> Vec<String> {
    let entries = fs::read_dir(run_dir.logs()).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".log")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// Prints all lines in the order of their times; a line without one follows the line before it. `false`: nobody reads.
fn merge(histories: &mut [History], printer: &mut Printer) -> io::Result<bool> {
    let mut heads = Vec::new();
    for history in histories.iter_mut() {
        heads.push(history.next()?);
    }
    loop {
        let first = heads
            .iter()
            .enumerate()
            .filter_map(|(number, head)| head.as_ref().map(|line| (line.time, number)))
            .min();
        let Some((_, number)) = first else {
            return Ok(printer.flush());
        };
        let next = histories[number].next()?;
        let line = std::mem::replace(&mut heads[number], next);
        if line.is_some_and(|line| !printer.bytes(number, &line.text)) {
            return Ok(false);
        }
    }
}

/// A line as it stands in a log, its end included.
#[derive(Debug)]
struct Line {
    /// Its own, or that of the line before it.
    time: Option<Timestamp>,
    text: Vec<u8>,
}

fn read_line(from: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let count = from.read_until(b'\n', &mut text)?;
    Ok((count > 0).then_some(text))
}

/// Standard output. With several logs each line says whose it is, and lines are never mixed.
struct Printer {
    out: io::BufWriter<io::Stdout>,
    labels: Option<Vec<String>>,
    /// Of each log: a line whose end has not come.
    begun: Vec<Vec<u8>>,
}

impl Printer {
    fn new(sources: &[Source]) -> Self {
        let width = sources.iter().map(|source| source.label.chars().count());
        let width = width.max().unwrap_or(0);
        let label = |source: &Source| format!("{:width$} | ", source.label);
        Self {
            out: io::BufWriter::new(io::stdout()),
            labels: (sources.len() > 1).then(|| sources.iter().map(label).collect()),
            begun: vec![Vec::new(); sources.len()],
        }
    }

    /// Whether somebody reads.
    fn bytes(&mut self, number: usize, bytes: &[u8]) -> bool {
        let Some(labels) = &self.labels else {
            return self.out.write_all(bytes).is_ok();
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[number];
            begun.extend_from_slice(piece);
            if !begun.ends_with(b"\n") {
                continue;
            }
            let written = self.out.write_all(labels[number].as_bytes());
            if written.and_then(|()| self.out.write_all(begun)).is_err() {
                return false;
            }
            begun.clear();
        }
        true
    }

    fn flush(&mut self) -> bool {
        self.out.flush().is_ok()
    }
}
