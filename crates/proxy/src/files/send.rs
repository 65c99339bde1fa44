//! Brings a file to the client: small ones in one piece with their head, larger ones by sendfile.
//!
//! Not here: what is to be sent (see the parent module).

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::task::{Poll, ready};

use trine_http1::{CHUNK_END, Version, write_chunk_head, write_header};

use super::cache::{Entry, SMALL};
use super::{Plan, filtered};
use crate::config::Config;
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::conn::reply::{self, Closing, push_number, write_number};
use crate::engine::Generation;
use crate::filter;
use crate::headers::added;
use crate::headers::trailers::Finale;
use crate::range::Ranges;
use crate::stream::Next;
use crate::template::Scene;
use crate::upstream::fault::Fault;
use crate::workbench::Workbench;

/// The most that one call hands to the kernel, so that a fast client does not keep the core to itself.
const CHUNK: u64 = 1024 * 1024;

/// Why a file did not come through. The connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the client's fault: {0}")]
    Client(Fault),
    #[error("the file became shorter while it was sent")]
    Shrunk,
    #[error("cannot read the file: {0}")]
    Read(io::Error),
    #[error("its content cannot be unpacked or compressed: {0}")]
    Changed(io::Error),
}

/// Sends the head and what the plan says.
pub(crate) async fn send(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    generation: &Generation,
    entry: &Entry,
    plan: &Plan,
    closing: Closing,
) -> Result<(), Broken> {
    let Workbench {
        input, head, out, ..
    } = bench;
    let request = head.on(input.all());
    // An upstream may have said what it is.
    let given = record.visit.content_type.clone();
    let kind = given.as_deref().unwrap_or(entry.content_type.as_bytes());
    out.clear();
    record.status = match plan {
        Plan::NotModified => 304,
        Plan::Whole | Plan::Parts(Ranges::Whole | Ranges::Unsatisfiable) => record.status_for(200),
        Plan::Parts(Ranges::One(_) | Ranges::Many(_)) => 206,
    };
    let status = record.status;
    let mut added = Vec::new();
    let rules = generation.config.rules(record.visit.rules);
    let scene = Scene::new(conn, &generation.config, Some(request), record);
    let job = Job {
        conn,
        entry,
        kind,
        config: &generation.config,
        chunks: rules.chunks,
        closing,
        server: rules.signature.line(Some(&scene)),
        finale: Finale::new(conn, &generation.config, rules, request, status),
        version: request.version(),
        head_only: request.method() == "HEAD",
    };
    conn.set_pace(&scene);
    if added::adds(rules, record) {
        // What `$sent_http_content_type` looks at.
        added.extend_from_slice(b"HTTP/1.1\r\n");
        added.extend_from_slice(&entry.fields);
        let shown = added.len();
        added::write(&mut added, rules, status, Some(entry.modified), &scene);
        added.drain(..shown);
    }
    // Without chunks the end of a body of unknown length would be the connection's.
    let framed = entry.size <= SMALL || request.version() == Version::Http11;
    let change = if framed && !record.visit.bare {
        let now = conn.engine.time.now();
        filtered::plan(rules, &request, entry, kind, status, now)
    } else {
        filter::PLAIN
    };
    if change.changes() && !matches!(plan, Plan::NotModified) {
        let texts = change.texts(&scene);
        let change = (&change, texts);
        return Box::pin(job.changed(out, change, status, &added, record)).await;
    }
    change.write(out);
    added.splice(0..0, out.drain(..));
    match plan {
        Plan::NotModified => {
            reply::start_head(out, &conn.engine.time, &job.server, 304);
            out.extend_from_slice(&entry.validators);
            out.extend_from_slice(&added);
            job.end_head(out);
            record.note_head(job.config, out);
            conn.send(out).await.map_err(Broken::Client)
        }
        Plan::Whole | Plan::Parts(Ranges::Whole | Ranges::Unsatisfiable) => {
            reply::start_head(out, &conn.engine.time, &job.server, status);
            let fields = if status == 200 {
                &entry.fields[..]
            } else {
                &entry.page[..]
            };
            let fields = if given.is_some() {
                write_header(out, b"Content-Type", kind);
                // The first line is the file's own.
                let end = memchr::memchr(b'\n', fields).map_or(0, |at| at + 1);
                &fields[end..]
            } else {
                fields
            };
            if job.finale.is_some() {
                let lines = fields.split_inclusive(|&byte| byte == b'\n');
                for line in lines.filter(|line| !line.starts_with(b"Content-Length:")) {
                    out.extend_from_slice(line);
                }
            } else {
                out.extend_from_slice(fields);
            }
            out.extend_from_slice(&added);
            job.begin(out, entry.size);
            job.part(out, 0..entry.size, record).await?;
            job.end(record).await
        }
        Plan::Parts(Ranges::One(range)) => {
            reply::start_head(out, &conn.engine.time, &job.server, 206);
            write_header(out, b"Content-Type", kind);
            job.length(out, range.end - range.start);
            content_range(out, range, entry.size);
            out.extend_from_slice(&entry.validators);
            out.extend_from_slice(&added);
            job.begin(out, range.end - range.start);
            job.part(out, range.clone(), record).await?;
            job.end(record).await
        }
        Plan::Parts(Ranges::Many(ranges)) => Box::pin(job.parts(out, ranges, &added, record)).await,
    }
}

pub(super) struct Job<'a> {
    pub(super) conn: &'a Conn,
    pub(super) entry: &'a Entry,
    /// The content type.
    pub(super) kind: &'a [u8],
    pub(super) config: &'a Config,
    /// The location has them.
    chunks: bool,
    closing: Closing,
    /// It goes out in chunks, for fields follow it.
    pub(super) finale: Option<Finale<'a>>,
    /// The line that names the program.
    pub(super) server: Cow<'a, [u8]>,
    version: Version,
    pub(super) head_only: bool,
}

impl Job<'_> {
    /// Whether the client knows chunks.
    pub(super) fn is_new(&self) -> bool {
        self.version == Version::Http11 && (self.chunks || self.conn.stream.http2().is_some())
    }

    pub(super) fn end_head(&self, out: &mut Vec<u8>) {
        reply::write_connection(out, self.closing, self.version);
        out.extend_from_slice(b"\r\n");
    }

    /// Sends what is in `out`, then a part of the file.
    async fn part(
        &self,
        out: &mut Vec<u8>,
        range: Range<u64>,
        record: &mut Record,
    ) -> Result<(), Broken> {
        let length = range.end - range.start;
        record.note_head(self.config, out);
        if self.head_only || length == 0 {
            return self.conn.send(out).await.map_err(Broken::Client);
        }
        if self.entry.size <= SMALL {
            let body = self
                .conn
                .engine
                .files
                .body(self.entry)
                .map_err(Broken::from_read)?;
            let part = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok());
            let part = part
                .and_then(|(start, end)| body.get(start..end))
                .ok_or(Broken::Shrunk)?;
            out.extend_from_slice(part);
            self.conn.send(out).await.map_err(Broken::Client)?;
            record.body_bytes += length;
            return Ok(());
        }
        self.conn
            .send_part(out, Next::More)
            .await
            .map_err(Broken::Client)?;
        self.sendfile(range, record).await
    }

    /// Sends several parts, each with a small head of its own (RFC 9110 section 14.6).
    async fn parts(
        &self,
        out: &mut Vec<u8>,
        ranges: &[Range<u64>],
        added: &[u8],
        record: &mut Record,
    ) -> Result<(), Broken> {
        let boundary = self.conn.engine.ids.next();
        let heads: Vec<Vec<u8>> = ranges
            .iter()
            .map(|range| {
                let mut head = b"\r\n--".to_vec();
                head.extend_from_slice(&boundary);
                head.extend_from_slice(b"\r\n");
                write_header(&mut head, b"Content-Type", self.kind);
                content_range(&mut head, range, self.entry.size);
                head.extend_from_slice(b"\r\n");
                head
            })
            .collect();
        let end = [b"\r\n--", &boundary[..], b"--\r\n"].concat();
        let content: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let framing: usize = heads.iter().map(Vec::len).sum();

        reply::start_head(out, &self.conn.engine.time, &self.server, 206);
        write_header(
            out,
            b"Content-Type",
            &[b"multipart/byteranges; boundary=", &boundary[..]].concat(),
        );
        let length = content + (framing + end.len()) as u64;
        self.length(out, length);
        out.extend_from_slice(&self.entry.validators);
        out.extend_from_slice(added);
        self.begin(out, length);
        if self.head_only {
            record.note_head(self.config, out);
            return self.conn.send(out).await.map_err(Broken::Client);
        }
        for (head, range) in heads.iter().zip(ranges) {
            out.extend_from_slice(head);
            self.part(out, range.clone(), record).await?;
            record.body_bytes += head.len() as u64;
            out.clear();
        }
        record.body_bytes += end.len() as u64;
        self.conn.send(&end).await.map_err(Broken::Client)?;
        self.end(record).await
    }

    /// Appends how long the content is, unless its last chunk tells.
    fn length(&self, out: &mut Vec<u8>, length: u64) {
        if self.finale.is_none() {
            write_number(out, b"Content-Length", length);
        }
    }

    /// Ends the head, and begins the only chunk if it goes out in one.
    fn begin(&self, out: &mut Vec<u8>, length: u64) {
        if self.finale.is_none() {
            return self.end_head(out);
        }
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        self.end_head(out);
        if let Ok(length @ 1..) = usize::try_from(length) {
            write_chunk_head(out, length);
        }
    }

    /// Sends what follows the content.
    async fn end(&self, record: &Record) -> Result<(), Broken> {
        let Some(finale) = &self.finale else {
            return Ok(());
        };
        let mut last = finale.last_chunk(record);
        if record.body_bytes > 0 {
            last.splice(0..0, CHUNK_END.iter().copied());
        }
        self.conn.send(&last).await.map_err(Broken::Client)
    }

    async fn sendfile(&self, range: Range<u64>, record: &mut Record) -> Result<(), Broken> {
        let mut offset = range.start;
        let mut seen = u64::MAX;
        poll_fn(|cx| {
            while offset < range.end {
                let most = ready!(self.conn.poll_pace(cx));
                let count = usize::try_from((range.end - offset).min(CHUNK)).unwrap_or(usize::MAX);
                let count = count.min(most);
                match self
                    .conn
                    .stream
                    .poll_sendfile(cx, self.entry.fd.as_fd(), &mut offset, count)
                {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Shrunk)),
                    Poll::Ready(Ok(sent)) => {
                        record.body_bytes += sent as u64;
                        self.conn.paced(sent);
                    }
                    Poll::Ready(Err(error)) => {
                        let fault = Fault::ClientGone {
                            while_: "it got a file",
                            source: Some(error),
                        };
                        return Poll::Ready(Err(Broken::Client(fault)));
                    }
                    Poll::Pending => {
                        let moved = std::mem::replace(&mut seen, offset) != offset;
                        return self
                            .conn
                            .poll_send_late(cx, moved)
                            .map(|fault| Err(Broken::Client(fault)));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl Broken {
    pub(super) fn from_read(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Shrunk
        } else {
            Self::Read(error)
        }
    }
}

fn content_range(out: &mut Vec<u8>, range: &Range<u64>, size: u64) {
    out.extend_from_slice(b"Content-Range: bytes ");
    push_number(out, range.start);
    out.push(b'-');
    push_number(out, range.end - 1);
    out.push(b'/');
    push_number(out, size);
    out.extend_from_slice(b"\r\n");
}
