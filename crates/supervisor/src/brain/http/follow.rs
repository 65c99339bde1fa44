//! Answers that do not end: logs as they grow, events as they happen.
//! Not here: the logs' own readers (`logs::tail`).

use super::{respond, text};
use crate::brain::ask::Handle;
use crate::brain::logs::tail::Tail;
use crate::brain::rpc::log_paths;
use crate::brain::supervisor::Supervisor;
use crate::holder::wire::Channel;
use http::HeaderValue;
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;
use trine_control::route::EventQuery;
use trine_control::server::{Body, EventHub, Request, Response};
use trine_control::sse;

/// How much of what there is comes first.
const FIRST_BYTES: u64 = 1024;
const PIECE: usize = 64 << 10;
/// How often a file is looked at that nobody tells us about.
const LOOK: Duration = Duration::from_millis(100);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `/NAME[/stdout|/stderr]`
pub(super) async fn process(handle: &Handle, path: &str) -> Response {
    let path = percent_decode_str(path.trim_start_matches('/'))
        .decode_utf8_lossy()
        .into_owned();
    let (name, channel) = match path.split_once('/') {
        None => (path.clone(), Channel::Stdout),
        Some((name, "" | "stdout")) => (name.to_owned(), Channel::Stdout),
        Some((name, "stderr")) => (name.to_owned(), Channel::Stderr),
        Some(_) => return text(404, "there are stdout and stderr\n"),
    };
    let look = move |s: &Supervisor| log_paths::of_process(s, &name, channel);
    match handle.look(look).await {
        Ok(None) | Err(_) => text(404, "there is no such process\n"),
        Ok(Some((Some(tap), _))) => match Tail::open_bytes(tap, FIRST_BYTES) {
            Ok(tail) => stream(Body::pulled(tail, |mut tail| async move {
                let piece = match tail.next_piece() {
                    Ok(None) => tail.follower.next_piece().await,
                    other => other,
                };
                piece.ok().flatten().map(|piece| (Bytes::from(piece), tail))
            })),
            Err(_) => text(410, "there is no log\n"),
        },
        Ok(Some((None, path))) => file(path),
    }
}

pub(super) async fn main_log(handle: &Handle) -> Response {
    match handle.look(log_paths::main_log).await {
        Ok(path) => file(path),
        Err(_) => text(404, "the supervisor is ending\n"),
    }
}

fn stream(body: Body) -> Response {
    let mut response = respond(200, "text/plain;charset=utf-8", body);
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn file(path: Option<PathBuf>) -> Response {
    match path.map(Followed::open) {
        Some(Ok(followed)) => stream(Body::pulled(followed, |mut followed| async move {
            let piece = followed.next().await.ok()?;
            Some((Bytes::from(piece), followed))
        })),
        _ => text(410, "there is no log\n"),
    }
}

/// A file that others write, read on for as long as somebody listens.
struct Followed {
    path: PathBuf,
    file: File,
    at: u64,
}

impl Followed {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let at = file.metadata()?.len().saturating_sub(FIRST_BYTES);
        Ok(Self { path, file, at })
    }

    async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut piece = vec![0; PIECE];
            let count = self.file.read_at(&mut piece, self.at)?;
            if count > 0 {
                self.at += count as u64;
                piece.truncate(count);
                return Ok(piece);
            }
            if self.file.metadata()?.len() < self.at {
                self.at = 0;
                return Ok(b"==> File truncated <==\n".to_vec());
            }
            if let Ok(now) = std::fs::metadata(&self.path)
                && now.ino() != self.file.metadata()?.ino()
            {
                self.file = File::open(&self.path)?;
                self.at = 0;
                continue;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// `/events`: what happens from now on, or after the event that the header names.
pub(super) fn events(hub: &EventHub, request: &Request) -> Response {
    let last = request.headers().get("last-event-id");
    let since = last.and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let source = hub.subscribe(EventQuery {
        since,
        kinds: Vec::new(),
    });
    let body = Body::pulled((source, true), |(mut source, is_first)| async move {
        let piece = if is_first {
            ": hello\n\n".to_owned()
        } else {
            tokio::select! {
                events = source.next() => events.iter().map(sse::encode).collect(),
                () = tokio::time::sleep(KEEP_ALIVE) => sse::KEEP_ALIVE.to_owned(),
            }
        };
        Some((Bytes::from(piece), (source, false)))
    });
    let mut response = respond(200, sse::CONTENT_TYPE, body);
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
