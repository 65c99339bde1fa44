//! Counts what `cargo test` prints, while letting it through.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::step::show;

/// How many tests ran, over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Tally {
    /// Runs `cargo test …`, shows its output, adds up its result lines.
    pub(crate) fn cargo_test(&mut self, mut command: Command) -> anyhow::Result<()> {
        let shown = show(&command);
        eprintln!("$ {shown}");
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {shown}"))?;
        let out = child.stdout.take().context("no pipe from cargo test")?;
        // Read apart, so that a process which a test left behind with the pipe in its hands cannot hold us up.
        let (line_sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                if line_sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut ended = None;
        let status = loop {
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => self.take(&line)?,
                Err(RecvTimeoutError::Disconnected) => break child.wait()?,
                Err(RecvTimeoutError::Timeout) => match (ended, child.try_wait()?) {
                    // Quiet for two turns after its end: what there was has been read.
                    (Some(status), _) => {
                        eprintln!("xtask: a test left a process behind that holds the output open");
                        break status;
                    }
                    (None, now) => ended = now,
                },
            }
        };
        if !status.success() {
            bail!("`{shown}` ended with {status}");
        }
        Ok(())
    }

    /// Shows a line, and counts it.
    fn take(&mut self, line: &[u8]) -> anyhow::Result<()> {
        self.count(&String::from_utf8_lossy(line));
        let mut ours = std::io::stdout().lock();
        ours.write_all(line)?;
        ours.write_all(b"\n")?;
        Ok(())
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; other lines count nothing.
    fn count(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        let Some((_verdict, counts)) = rest.split_once(". ") else {
            return;
        };
        for part in counts.split("; ") {
            match part
                .split_once(' ')
                .map(|(number, what)| (number.parse::<usize>(), what))
            {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                Some((Ok(number), "ignored")) => self.ignored += number,
                Some(_) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_process_that_holds_the_pipe_open_does_not_hold_up_the_run() {
        let mut tally = Tally::default();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "sleep 20 & echo 'test result: ok. 7 passed; 0 failed; 0 ignored'",
        ]);
        let start = Instant::now();
        tally.cargo_test(command).unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(tally.passed, 7);
    }

    #[test]
    fn result_lines_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            tally.count(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 5,
                failed: 1,
                ignored: 1
            }
        );
    }
}
