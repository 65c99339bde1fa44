//! One line for each request: formatted after the answer has gone out, gathered per core, written in large
//! pieces by a thread of its own.
//!
//! Lines of several cores and processes do not mix: the file is opened for appending, and only whole lines are
//! written. Not here: what is counted (see `conn::record`).

use std::cell::RefCell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tokio::sync::Notify;
use trine_http1::Request;
use trine_service::logging::Syslog;

use crate::config::{AccessLog, AccessPlace, LogEscape, LogFormat, LogUse, StreamLog};
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::conn::reply::push_number;
use crate::layer4::{self, session::Session};
use crate::template::{Scene, Template};

/// Pieces that wait for the writer; beyond that a core writes for itself.
const MOST_WAITING: usize = 256;

/// An open log, shared by the cores.
#[derive(Debug)]
pub(crate) struct Target {
    out: Out,
    thread: LogThread,
    buffer: usize,
    flush: Duration,
    gzips: bool,
}

#[derive(Debug)]
enum Out {
    Stdout,
    File(File),
    Syslog(Syslog),
}

impl Target {
    /// Opens the log; called again to reopen it.
    pub(crate) fn open(config: &AccessLog, thread: &LogThread) -> io::Result<Arc<Self>> {
        let out = match &config.place {
            AccessPlace::Stdout => Out::Stdout,
            AccessPlace::File(path) => {
                Out::File(OpenOptions::new().append(true).create(true).open(path)?)
            }
            AccessPlace::Syslog(settings) => Out::Syslog(Syslog::new(settings.clone())),
        };
        Ok(Arc::new(Self {
            out,
            thread: thread.clone(),
            buffer: config.buffer,
            flush: config.flush,
            gzips: config.gzips,
        }))
    }

    fn write(&self, lines: &[u8]) {
        let written = match &self.out {
            // A member of its own for each piece: together they are a good file.
            Out::File(file) if self.gzips => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                let packed = gzip.write_all(lines).and_then(|()| gzip.finish());
                packed.and_then(|packed| (&*file).write_all(&packed))
            }
            Out::File(file) => (&*file).write_all(lines),
            Out::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush())
            }
            Out::Syslog(syslog) => {
                let lines = lines.split(|&byte| byte == b'\n');
                lines
                    .filter(|line| !line.is_empty())
                    .for_each(|line| syslog.send(line));
                Ok(())
            }
        };
        if let Err(error) = written {
            tracing::error!(bytes = lines.len(), "access log lines are lost: {error}");
        }
    }
}

/// The thread that writes, so that no core waits for a disk. It ends when the last log is let go.
#[derive(Debug, Clone)]
pub(crate) struct LogThread {
    /// `None`: there is no thread, and cores write for themselves.
    inbox: Option<SyncSender<Piece>>,
}

#[derive(Debug)]
enum Piece {
    Lines(Arc<Target>, Vec<u8>),
    /// All that came before is written.
    Mark(SyncSender<()>),
}

impl LogThread {
    pub(crate) fn start() -> Self {
        let (sender, inbox) = sync_channel::<Piece>(MOST_WAITING);
        let work = move || {
            for piece in inbox {
                match piece {
                    Piece::Lines(target, lines) => target.write(&lines),
                    // Whoever asked may have left.
                    Piece::Mark(done) => _ = done.send(()),
                }
            }
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        Self {
            inbox: thread.spawn(work).ok().map(|_| sender),
        }
    }

    /// Waits until all that was handed over is written.
    pub(crate) fn settle(&self) {
        let Some(inbox) = &self.inbox else { return };
        let (done, reply) = sync_channel(1);
        if inbox.send(Piece::Mark(done)).is_ok() {
            // A writer that is gone has nothing to settle.
            let _ = reply.recv();
        }
    }

    /// Gives the piece back if it cannot be taken.
    fn take(&self, piece: Piece) -> Option<Piece> {
        let Some(inbox) = &self.inbox else {
            return Some(piece);
        };
        inbox.try_send(piece).err().map(|error| match error {
            TrySendError::Full(piece) | TrySendError::Disconnected(piece) => piece,
        })
    }
}

/// One core's part of all logs, in the order of [`Config::access_logs`](crate::config::Config::access_logs).
pub(crate) struct Writers {
    writers: RefCell<Vec<Writer>>,
    dirty: Notify,
}

/// One core's part of one log.
struct Writer {
    target: Arc<Target>,
    lines: Vec<u8>,
    /// When the oldest line came.
    since: Option<Instant>,
}

impl Writer {
    fn due(&self) -> Option<Instant> {
        Some(self.since? + self.target.flush)
    }

    /// Hands the lines to the thread that writes.
    fn hand_over(&mut self) {
        self.since = None;
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        let piece = Piece::Lines(Arc::clone(&self.target), lines);
        let back = self.target.thread.take(piece);
        // The disk is slower than the requests: no line is lost, and memory has its bounds.
        if let Some(Piece::Lines(target, lines)) = back {
            target.write(&lines);
        }
    }
}

impl Writers {
    pub(crate) fn new(targets: &[Arc<Target>]) -> Self {
        let writers = Self {
            writers: RefCell::default(),
            dirty: Notify::new(),
        };
        writers.switch(targets);
        writers
    }

    /// Goes on with other files; lines that wait still go to the old ones.
    pub(crate) fn switch(&self, targets: &[Arc<Target>]) {
        self.flush();
        let writers = targets.iter().map(|target| Writer {
            target: Arc::clone(target),
            lines: Vec::new(),
            since: None,
        });
        *self.writers.borrow_mut() = writers.collect();
    }

    /// Adds the lines of one request.
    pub(crate) fn write(&self, uses: &[LogUse], scene: &Scene<'_>) {
        for one in uses {
            if let Some(condition) = &one.condition {
                let value = condition.value(scene);
                if value.is_empty() || value == b"0" {
                    continue;
                }
            }
            self.line(one.log, |lines| match &one.format {
                LogFormat::Combined => combined(lines, scene.conn, scene.request, scene.record),
                LogFormat::Json => json(lines, scene.conn, scene.request, scene.record),
                LogFormat::Custom(template, escape) => {
                    custom(lines, template, *escape, scene);
                }
            });
        }
    }

    /// Adds the lines of one session of `stream`.
    pub(crate) fn write_session(&self, uses: &[StreamLog], session: &Session) {
        for one in uses {
            if let Some(condition) = &one.condition {
                let value = condition.value(session);
                if value.is_empty() || value == b"0" {
                    continue;
                }
            }
            self.line(one.log, |lines| {
                let scene = layer4::template::Scene::new(session);
                one.format
                    .write_escaped(lines, scene, |out, value| safe(out, one.escape, value));
                lines.push(b'\n');
            });
        }
    }

    /// Adds what `put` writes to a log.
    fn line(&self, log: usize, put: impl FnOnce(&mut Vec<u8>)) {
        let mut writers = self.writers.borrow_mut();
        let Some(writer) = writers.get_mut(log) else {
            return;
        };
        let was_empty = writer.lines.is_empty();
        put(&mut writer.lines);
        if writer.lines.len() >= writer.target.buffer {
            writer.hand_over();
        } else if was_empty {
            writer.since = Some(Instant::now());
            drop(writers);
            self.dirty.notify_one();
        }
    }

    /// Hands over what has come together.
    pub(crate) fn flush(&self) {
        let mut writers = self.writers.borrow_mut();
        writers.iter_mut().for_each(Writer::hand_over);
    }

    /// Hands over lines that have waited long enough, for as long as it is polled.
    pub(crate) async fn flush_regularly(&self) {
        loop {
            self.dirty.notified().await;
            while let Some(at) = self.next_flush() {
                tokio::time::sleep_until(at.into()).await;
                let now = Instant::now();
                for writer in self.writers.borrow_mut().iter_mut() {
                    if writer.due().is_some_and(|due| due <= now) {
                        writer.hand_over();
                    }
                }
            }
        }
    }

    /// When the first line has waited long enough.
    fn next_flush(&self) -> Option<Instant> {
        self.writers.borrow().iter().filter_map(Writer::due).min()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").finish_non_exhaustive()
    }
}

/// A format of the configuration's own.
fn custom(out: &mut Vec<u8>, template: &Template, escape: LogEscape, scene: &Scene<'_>) {
    template.write_escaped(out, scene, |out, value| safe(out, escape, value));
    out.push(b'\n');
}

/// A value in a line.
fn safe(out: &mut Vec<u8>, escape: LogEscape, value: Option<&[u8]>) {
    match (escape, value) {
        (LogEscape::Default, Some(value)) => escaped(out, value),
        (LogEscape::Default, None) => out.push(b'-'),
        (LogEscape::Json, Some(value)) => json_escaped(out, value),
        (LogEscape::None, Some(value)) => out.extend_from_slice(value),
        (LogEscape::Json | LogEscape::None, None) => {}
    }
}

/// As nginx escapes for JSON; bytes beyond ASCII go through as they are.
fn json_escaped(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            // Writing to a Vec cannot fail.
            0..32 => _ = write!(out, "\\u{byte:04X}"),
            _ => out.push(byte),
        }
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
    push_number(out, u64::from(record.shown_status()));
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
        status: record.shown_status(),
        body_bytes: record.body_bytes,
        host: request.and_then(|request| request.authority()).map(text),
        referer: field("referer"),
        user_agent: field("user-agent"),
        request_id: record.known_id(),
        upstream: record.server().map(|peer| peer.name.as_str()),
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
            place: AccessPlace::File(path.clone()),
            buffer: AccessLog::BUFFER,
            flush: AccessLog::FLUSH,
            gzips: false,
        };
        let thread = LogThread::start();
        let writers = Writers::new(&[Target::open(&config, &thread).unwrap()]);
        let put = |line: &[u8]| {
            let lines = &mut writers.writers.borrow_mut()[0].lines;
            lines.extend_from_slice(line);
        };
        put(b"one\n");
        std::fs::rename(&path, temp.path().join("old")).unwrap();
        writers.switch(&[Target::open(&config, &thread).unwrap()]);
        put(b"two\n");
        drop(writers);
        thread.settle();
        assert_eq!(std::fs::read(temp.path().join("old")).unwrap(), b"one\n");
        assert_eq!(std::fs::read(path).unwrap(), b"two\n");
    }
}
