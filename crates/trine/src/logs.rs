//! `trine logs`: the last lines of a log file, and with `-f` what is added to it.
//!
//! The files are read where they lie in the run directory, so that the logs of a site that is down, and
//! of the supervisor itself, are read by the same command. Not here: rotation; a fresh file is followed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use trine_service::exit::Exit;

use crate::cli::LogsArgs;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::supervisor::Supervisor;

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(100);
const BLOCK_BYTES: usize = 64 * 1024;

pub(crate) async fn run(args: &LogsArgs, run_dir: &RunDir) -> anyhow::Result<Exit> {
    let path = find(&args.name, run_dir).await;
    let mut log = open(&path, &args.name, run_dir)?;
    let start =
        start_of_last_lines(&mut log.file, args.lines).with_context(|| cannot_read(&path))?;
    log.file
        .seek(SeekFrom::Start(start))
        .with_context(|| cannot_read(&path))?;
    loop {
        // A reader that has gone away (`| head`) is no error.
        if !copy(&mut log.file).with_context(|| cannot_read(&path))? {
            return Ok(Exit::Ok);
        }
        if !args.follow {
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(LOOK).await;
        log.follow_rotation().with_context(|| cannot_read(&path))?;
    }
}

/// In the run directory; else where the supervisor says that the program's output goes.
async fn find(name: &str, run_dir: &RunDir) -> PathBuf {
    let own = run_dir.log(name);
    if own.exists() {
        return own;
    }
    let programs = Supervisor::of(run_dir).programs().await.unwrap_or_default();
    let told = programs
        .into_iter()
        .find(|program| program.name == name)
        .and_then(|program| program.stdout_log);
    told.map_or(own, PathBuf::from)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

struct Log {
    path: PathBuf,
    file: File,
    inode: u64,
}

fn open(path: &Path, name: &str, run_dir: &RunDir) -> anyhow::Result<Log> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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
            return Err(Failure::new(crate::actions::REFUSED, what, way_out).into());
        }
        Err(error) => return Err(error).with_context(|| cannot_read(path)),
    };
    let inode = file.metadata().with_context(|| cannot_read(path))?.ino();
    Ok(Log {
        path: path.to_owned(),
        file,
        inode,
    })
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

impl Log {
    /// Goes over to the new file once the old one was renamed away, and back to the start of one that was cut.
    fn follow_rotation(&mut self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(now) if now.ino() != self.inode => {
                copy(&mut self.file)?; // what came in between
                self.file = File::open(&self.path)?;
                self.inode = now.ino();
            }
            Ok(now) if now.len() < self.file.stream_position()? => {
                self.file.seek(SeekFrom::Start(0))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // between two renames
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Writes what is there to standard output; `false` when nobody reads it any more.
fn copy(file: &mut File) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(out.flush().is_ok());
        }
        if out.write_all(&block[..count]).is_err() {
            return Ok(false);
        }
    }
}

/// The offset where the last `count` lines begin; reads blocks from the end only as far as needed.
fn start_of_last_lines(file: &mut File, count: usize) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let (mut end, mut newlines) = (length, 0);
    let mut block = vec![0; BLOCK_BYTES];
    while end > 0 {
        let size = usize::try_from(end).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let start = end - size as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        for at in (0..size).rev().filter(|at| block[*at] == b'\n') {
            let offset = start + at as u64 + 1;
            // The newline at the very end closes the last line, it does not begin another.
            if offset < length {
                newlines += 1;
            }
            if newlines == count {
                return Ok(if count == 0 { length } else { offset });
            }
        }
        end = start;
    }
    Ok(if count == 0 { length } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, count: usize, want: &str) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let start = usize::try_from(start_of_last_lines(&mut file, count).unwrap()).unwrap();
        assert_eq!(&text[start..], want, "last {count} of {} bytes", text.len());
    }

    #[test]
    fn last_lines() {
        check("", 5, "");
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc", 2, "b\nc");
        check("a\nb\n", 5, "a\nb\n");
        check("a\nb\n", 0, "");
        check("a\n\n\n", 2, "\n\n");
        let long = "0123456789\n".repeat(20_000);
        check(&long, 10_000, &"0123456789\n".repeat(10_000));
    }
}
