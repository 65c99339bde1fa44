//! Progress on the terminal: one line per program, redrawn in place; elsewhere a plain line per change.
//!
//! Not here: what a program's state means for the start (see `start`).

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Standard error, as lines of `name: what it does`.
#[derive(Debug)]
pub(crate) struct Progress {
    redraw: bool,
    colour: bool,
    rows: Vec<Row>,
    drawn: usize,
}

#[derive(Debug)]
struct Row {
    name: String,
    text: String,
    mark: Mark,
    since: Instant,
    took: Option<Duration>,
}

/// How a row looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Busy,
    Good,
    Bad,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let redraw = io::stderr().is_terminal() && !dumb;
        Self {
            redraw,
            colour: redraw && !set("NO_COLOR"),
            rows: Vec::new(),
            drawn: 0,
        }
    }

    /// Says what `name` does now. Rows appear in the order of their first mention.
    pub(crate) fn set(&mut self, name: &str, mark: Mark, text: &str) {
        let now = Instant::now();
        let took = |since: Instant| (mark != Mark::Busy).then(|| now - since);
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            if row.text == text && row.mark == mark {
                return;
            }
            // A row that was settled begins anew when it gets busy again.
            let since = if row.mark == Mark::Busy {
                row.since
            } else {
                now
            };
            *row = Row {
                name: name.to_owned(),
                text: text.to_owned(),
                mark,
                since,
                took: took(since),
            };
        } else {
            self.rows.push(Row {
                name: name.to_owned(),
                text: text.to_owned(),
                mark,
                since: now,
                took: took(now),
            });
        }
        if self.redraw {
            self.draw();
        } else {
            let _ = writeln!(io::stderr(), "{name}: {text}");
        }
    }

    /// A line of its own, above which the rows stay as they are.
    pub(crate) fn note(&mut self, line: &str) {
        self.finish();
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Draws the running clocks anew; nothing where lines cannot be redrawn.
    pub(crate) fn tick(&mut self) {
        if self.redraw && self.rows.iter().any(|row| row.mark == Mark::Busy) {
            self.draw();
        }
    }

    /// Whatever was still under way has come to this end.
    pub(crate) fn settle(&mut self, text: &str) {
        let busy = self
            .rows
            .iter()
            .filter(|row| row.mark == Mark::Busy)
            .map(|row| row.name.clone());
        for name in busy.collect::<Vec<_>>() {
            self.set(&name, Mark::Good, text);
        }
    }

    /// Leaves the rows as they stand; what comes next goes below them.
    pub(crate) fn finish(&mut self) {
        self.rows.clear();
        self.drawn = 0;
    }

    fn draw(&mut self) {
        let mut out = String::new();
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A", self.drawn);
        }
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0);
        for row in &self.rows {
            out.push_str(&row.line(width, self.colour));
        }
        self.drawn = self.rows.len();
        let _ = io::stderr().write_all(out.as_bytes());
    }
}

impl Row {
    fn line(&self, width: usize, colour: bool) -> String {
        let (sign, code) = match self.mark {
            Mark::Busy => ("…", "33"),
            Mark::Good => ("✓", "32"),
            Mark::Bad => ("✗", "31"),
        };
        let sign = if colour {
            format!("\x1b[{code}m{sign}\x1b[0m")
        } else {
            sign.to_owned()
        };
        let seconds = self
            .took
            .unwrap_or_else(|| self.since.elapsed())
            .as_secs_f64();
        format!(
            "\x1b[K{sign} {:width$}  {}  {seconds:.1} s\n",
            self.name, self.text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cleared_before_it_is_written() {
        let row = Row {
            name: "wsgi".into(),
            text: "ready".into(),
            mark: Mark::Good,
            since: Instant::now(),
            took: Some(Duration::from_millis(1230)),
        };
        assert_eq!(row.line(5, false), "\x1b[K✓ wsgi   ready  1.2 s\n");
        assert!(row.line(5, true).starts_with("\x1b[K\x1b[32m✓\x1b[0m wsgi"));
    }
}
