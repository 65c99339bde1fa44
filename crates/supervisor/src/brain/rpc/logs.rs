//! Reading and emptying logs. Not here: following them (see `http`).

use super::fault::{BAD_ARGUMENTS, FAILED, NO_FILE, SUCCESS, about, plain, unknown_method};
use super::params::Params;
use super::{Outcome, Rpc, info, names};
use crate::brain::supervisor::Supervisor;
use crate::config::LogTarget;
use crate::holder::wire::Channel;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use trine_control::xmlrpc::{Fault, Value};

/// No answer carries more of a log than this.
const MOST: u64 = 16 << 20;

impl Rpc {
    pub(super) async fn log_call(&self, method: &str, mut params: Params) -> Outcome {
        match method {
            "readLog" => {
                let (offset, length) = (params.number()?, params.number()?);
                let path = self.read(|s| Ok(main_log(s))).await?;
                read_file(path, offset, length).await
            }
            "clearLog" => self.deed(|s| Ok(clear_main(s))).await,
            "readProcessStdoutLog" | "readProcessStderrLog" => {
                let (name, offset, length) = (params.text()?, params.number()?, params.number()?);
                let path = self.log_path(name, channel(method)).await?;
                read_file(path, offset, length).await
            }
            "tailProcessStdoutLog" | "tailProcessStderrLog" => {
                let (name, offset, length) = (params.text()?, params.number()?, params.number()?);
                let path = self.log_path(name, channel(method)).await?;
                tail_file(path, offset, length).await
            }
            "clearProcessLogs" => {
                let name = params.text()?;
                self.deed(move |s| {
                    let id = names::one(s, &name);
                    Ok(id.and_then(|id| clear(s, &id, &name)).map(|()| true.into()))
                })
                .await
            }
            "clearAllProcessLogs" => self.deed(|s| Ok(Ok(clear_all(s)))).await,
            _ => Err(unknown_method()),
        }
    }

    async fn log_path(&self, name: String, channel: Channel) -> Result<Option<PathBuf>, Fault> {
        self.read(move |s| {
            let path = info::log_path(names::process(s, &name)?, channel);
            Ok(path.map(Path::to_owned))
        })
        .await
    }
}

fn channel(method: &str) -> Channel {
    if method.contains("Stderr") {
        Channel::Stderr
    } else {
        Channel::Stdout
    }
}

pub(in crate::brain) fn main_log(s: &Supervisor) -> Option<PathBuf> {
    match &s.config.log.target {
        LogTarget::File(path) => Some(path.clone()),
        LogTarget::Stderr | LogTarget::Syslog => None,
    }
}

fn clear_main(s: &mut Supervisor) -> Outcome {
    let path = main_log(s).filter(|path| path.exists());
    let path = path.ok_or_else(|| plain(NO_FILE))?;
    fs::remove_file(path).map_err(|_| plain(FAILED))?;
    tracing::info!("reopening log file");
    s.log.reopen().map_err(|_| plain(FAILED))?;
    Ok(true.into())
}

fn clear(s: &Supervisor, id: &str, name: &str) -> Result<(), Fault> {
    let Some(process) = s.processes.get(id) else {
        return Ok(());
    };
    for channel in [Channel::Stdout, Channel::Stderr] {
        let cleared = match process.taps.get(&channel) {
            Some(tap) => tap.clear(),
            None => info::log_path(process, channel).map_or(Ok(()), empty),
        };
        cleared.map_err(|_| about(FAILED, name))?;
    }
    Ok(())
}

/// The log of a process that has not run yet.
fn empty(path: &Path) -> io::Result<()> {
    match File::options().write(true).open(path) {
        Ok(file) if file.metadata()?.is_file() => file.set_len(0),
        Ok(_) => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
    }
}

fn clear_all(s: &Supervisor) -> Value {
    let rows = names::all(s).into_iter().filter_map(|id| {
        let settings = &s.processes.get(&id)?.record.settings;
        let (status, description) = match clear(s, &id, &id) {
            Ok(()) => (SUCCESS, "OK".to_owned()),
            Err(fault) => (fault.code, fault.text),
        };
        Some(Value::members([
            ("name", settings.name.as_str().into()),
            ("group", settings.group.as_str().into()),
            ("status", status.into()),
            ("description", description.into()),
        ]))
    });
    Value::Array(rows.collect())
}

async fn read_file(path: Option<PathBuf>, offset: i64, length: i64) -> Outcome {
    let path = match path {
        None => return Err(plain(NO_FILE)),
        Some(path) if !path.exists() => return Err(about(NO_FILE, path.display())),
        Some(path) => path,
    };
    if (offset < 0 && length != 0) || length < 0 {
        return Err(plain(BAD_ARGUMENTS));
    }
    let read = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let (from, most) = if offset < 0 {
            (
                size.saturating_sub(offset.unsigned_abs()),
                offset.unsigned_abs(),
            )
        } else if length == 0 {
            (offset.unsigned_abs(), MOST)
        } else {
            (offset.unsigned_abs(), length.unsigned_abs())
        };
        piece(&file, from, most.min(size.saturating_sub(from)))
    });
    match read.await {
        Ok(Ok(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned().into()),
        _ => Err(plain(FAILED)),
    }
}

/// `[text, the log's size, whether there was more than fits]`
async fn tail_file(path: Option<PathBuf>, offset: i64, length: i64) -> Outcome {
    let answer = |text: &[u8], offset: i64, overflow: bool| {
        Value::Array(vec![
            String::from_utf8_lossy(text).into_owned().into(),
            Value::Int(i32::try_from(offset).unwrap_or(i32::MAX)),
            overflow.into(),
        ])
    };
    let Some(path) = path.filter(|path| path.exists()) else {
        return Ok(answer(b"", 0, false));
    };
    let read = tokio::task::spawn_blocking(move || -> io::Result<(Vec<u8>, i64, bool)> {
        let file = File::open(path)?;
        let size = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        let (mut from, mut length) = (offset, length);
        let overflow = size > from.saturating_add(length);
        if overflow {
            from = size - 1;
        }
        if from.saturating_add(length) > size {
            if from > size - 1 {
                length = 0;
            }
            from = size - length;
        }
        let length = length.max(0).unsigned_abs();
        let bytes = piece(&file, from.max(0).unsigned_abs(), length)?;
        Ok((bytes, size, overflow))
    });
    Ok(match read.await {
        Ok(Ok((bytes, size, overflow))) => answer(&bytes, size, overflow),
        _ => answer(b"", offset, false),
    })
}

fn piece(file: &File, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length.min(MOST)).unwrap_or(0);
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], from + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    /// As stock supervisord 4.3 answers for a log of these ten bytes.
    #[test]
    fn offsets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "0123456789").unwrap();
        let read = |offset, length| match runtime().block_on(read_file(
            Some(path.clone()),
            offset,
            length,
        )) {
            Ok(value) => value.as_str().unwrap().to_owned(),
            Err(fault) => fault.text,
        };
        assert_eq!(
            [read(0, 0), read(3, 0), read(3, 4)],
            ["0123456789", "3456789", "3456"]
        );
        assert_eq!(
            [read(-4, 0), read(-40, 0), read(20, 0)],
            ["6789", "0123456789", ""]
        );
        assert_eq!(
            [read(-4, 1), read(0, -1)],
            ["BAD_ARGUMENTS", "BAD_ARGUMENTS"]
        );
        let tail = |offset, length| {
            format!(
                "{:?}",
                runtime()
                    .block_on(tail_file(Some(path.clone()), offset, length))
                    .unwrap()
            )
        };
        let want = |text: &str, overflow: bool| {
            format!("Array([Str({text:?}), Int(10), Bool({overflow})])")
        };
        assert_eq!(tail(0, 10), want("0123456789", false));
        assert_eq!(tail(0, 4), want("6789", true));
        assert_eq!(tail(8, 4), want("6789", false));
        assert_eq!(tail(10, 4), want("", false));
        assert_eq!(tail(0, 100), want("0123456789", false));
        assert_eq!(tail(0, 0), want("", true));
    }
}
