//! One line for each request: formatted after the answer has gone out, gathered per core, written in large pieces.
//!
//! Lines of several cores and processes do not mix: the file is opened for appending, and only whole lines are
//! written. Not here: what is counted (see `conn::record`).

use std::cell::RefCell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;
use trine_http1::Request;

use crate::config::{AccessLog, LogFormat};
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::conn::reply::push_number;

/// Lines wait until so much has come together, or so long.
const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// An open log, shared by the cores.
#[derive(Debug)]
pub(crate) struct Target {
    /// `None` is standard output.
    file: Option<File>,
    format: LogFormat,
}

impl Target {
    /// Opens the log; called again to reopen it.
    pub(crate) fn open(config: &AccessLog) -> io::Result<Arc<Self>> {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        let file = config.path.as_ref().map(open).transpose()?;
        Ok(Arc::new(Self {
            file,
            format: config.format,
        }))
    }

    fn write(&self, lines: &[u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => (&*file).write_all(lines),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush())
            }
        }
    }
}

/// One core's part of the log.
pub(crate) struct Writer {
    target: RefCell<Option<Arc<Target>>>,
    lines: RefCell<Vec<u8>>,
    dirty: Notify,
}

impl Writer {
    pub(crate) fn new(target: Option<Arc<Target>>) -> Self {
        Self {
            target: RefCell::new(target),
            lines: RefCell::default(),
            dirty: Notify::new(),
        }
    }

    /// Goes on with another file; lines that wait still go to the old one.
    pub(crate) fn switch(&self, target: Option<Arc<Target>>) {
        self.flush();
        *self.target.borrow_mut() = target;
    }

    /// Adds the line of one request; `None` for one that could not be read.
    pub(crate) fn write(&self, conn: &Conn, request: Option<Request<'_>>, record: &Record) {
        let format = match self.target.borrow().as_ref() {
            None => return,
            Some(target) => target.format,
        };
        let mut lines = self.lines.borrow_mut();
        let was_empty = lines.is_empty();
        match format {
            LogFormat::Combined => combined(&mut lines, conn, request, record),
            LogFormat::Json => json(&mut lines, conn, request, record),
        }
        let full = lines.len() >= FLUSH_BYTES;
        drop(lines);
        if full {
            self.flush();
        } else if was_empty {
            self.dirty.notify_one();
        }
    }

    /// Writes what has come together.
    pub(crate) fn flush(&self) {
        let mut lines = self.lines.borrow_mut();
        if lines.is_empty() {
            return;
        }
        if let Some(target) = self.target.borrow().as_ref()
            && let Err(error) = target.write(&lines)
        {
            tracing::error!(bytes = lines.len(), "access log lines are lost: {error}");
        }
        lines.clear();
    }

    /// Writes lines that have waited long enough, for as long as it is polled.
    pub(crate) async fn flush_regularly(&self) {
        loop {
            self.dirty.notified().await;
            tokio::time::sleep(FLUSH_AFTER).await;
            self.flush();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// nginx's `combined` format.
fn combined(out: &mut Vec<u8>, conn: &Conn, request: Option<Request<'_>>, record: &Record) {
    match record.real_ip {
        // Writing to a Vec cannot fail.
        Some(addr) => _ = write!(out, "{addr}"),
        None => out.extend_from_slice(conn.peer_text.as_bytes()),
    }
    out.extend_from_slice(b" - - [");
    conn.engine.time.write_local(out);
    out.extend_from_slice(b"] \"");
    match request {
        None => out.push(b'-'),
        Some(request) => {
            out.extend_from_slice(request.method().as_bytes());
            out.push(b' ');
            escaped(out, request.target());
            out.push(b' ');
            out.extend_from_slice(request.version_text());
        }
    }
    out.extend_from_slice(b"\" ");
    push_number(out, u64::from(status(record)));
    out.push(b' ');
    push_number(out, record.body_bytes);
    for name in ["referer", "user-agent"] {
        out.extend_from_slice(b" \"");
        match request.and_then(|request| request.get(name)) {
            None | Some(b"") => out.push(b'-'),
            Some(value) => escaped(out, value),
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

/// A request that nobody got an answer to is one whose client went away.
fn status(record: &Record) -> u16 {
    if record.status == 0 {
        499
    } else {
        record.status
    }
}

/// As nginx escapes: quotes, backslashes, control characters and all beyond ASCII become `\xXX`.
fn escaped(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        if byte == b'"' || byte == b'\\' || !(b' '..0x7f).contains(&byte) {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "\\x{byte:02X}");
        } else {
            out.push(byte);
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: String,
    method: &'a str,
    target: String,
    protocol: String,
    status: u16,
    body_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    total_ms: f64,
}

fn json(out: &mut Vec<u8>, conn: &Conn, request: Option<Request<'_>>, record: &Record) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let field = |name: &str| request.and_then(|request| request.get(name)).map(text);
    let since =
        |at: Instant| (at.saturating_duration_since(record.started).as_micros() as f64) / 1000.0;
    let line = Line {
        time: jiff::Timestamp::try_from(conn.engine.time.now())
            .unwrap_or_default()
            .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
            .to_string(),
        client: record
            .real_ip
            .map_or_else(|| conn.peer_text.clone(), |addr| addr.to_string()),
        method: request.map_or("", |request| request.method()),
        target: request.map_or_else(String::new, |request| text(request.target())),
        protocol: request.map_or_else(String::new, |request| text(request.version_text())),
        status: status(record),
        body_bytes: record.body_bytes,
        host: request.and_then(|request| request.authority()).map(text),
        referer: field("referer"),
        user_agent: field("user-agent"),
        request_id: record.known_id(),
        upstream: record.upstream.as_ref().map(|peer| peer.name.as_str()),
        connect_ms: record.connected.map(since),
        first_byte_ms: record.first_byte.map(since),
        total_ms: since(Instant::now()),
    };
    let before = out.len();
    if serde_json::to_writer(&mut *out, &line).is_err() {
        // Cannot be: strings and numbers always have a form in JSON.
        out.truncate(before);
        return;
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_nginx_does() {
        let mut out = Vec::new();
        escaped(&mut out, b"a \"b\" \\ \x7f\n\xc3\xa9~");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r"a \x22b\x22 \x5C \x7F\x0A\xC3\xA9~"
        );
    }

    #[test]
    fn a_reopened_file_gets_what_comes_after() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("access.log");
        let config = AccessLog {
            path: Some(path.clone()),
            format: LogFormat::Combined,
        };
        let writer = Writer::new(Some(Target::open(&config).unwrap()));
        writer.lines.borrow_mut().extend_from_slice(b"one\n");
        std::fs::rename(&path, temp.path().join("old")).unwrap();
        writer.switch(Some(Target::open(&config).unwrap()));
        writer.lines.borrow_mut().extend_from_slice(b"two\n");
        drop(writer);
        assert_eq!(std::fs::read(temp.path().join("old")).unwrap(), b"one\n");
        assert_eq!(std::fs::read(path).unwrap(), b"two\n");
    }
}
