//! Files: GET and HEAD for what lies beneath a folder, with conditions and ranges.
//!
//! `cache` finds and keeps files, `kind` names their types, `send` brings them to the client. Not here: the rules of
//! conditions and ranges (`conditional`, `range`), or which location a path belongs to.

pub(crate) mod cache;
mod kind;
mod send;

use std::rc::Rc;

use trine_http1::Request;

use crate::conditional::{Conditions, Validators, Verdict};
use crate::config::Files;
use crate::conn::record::Record;
use crate::conn::reply::{Closing, Reply};
use crate::conn::serve::{add_slash, answer, finish_body, skips_body};
use crate::conn::{Conn, Ending};
use crate::range::{Ranges, ranges};
use crate::route::path;
use crate::workbench::Workbench;
use cache::{Entry, Look};

/// File names that are never handed out: sources and databases end up in static folders by mistake.
const HIDDEN_SUFFIXES: [&[u8]; 3] = [b".py", b".pyc", b".sqlite3"];

/// What of a file is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Whole,
    NotModified,
    Parts(Ranges),
}

/// Answers with what `rest`, a path beneath the folder, stands for.
pub(crate) async fn serve(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    files: &Files,
    rest: &[u8],
) -> Ending {
    let request = bench.head.on(bench.input.all());
    let found = match request.method() {
        "GET" | "HEAD" if is_hidden(rest) => Err(Reply::status(404)),
        "GET" | "HEAD" => find(conn, record, files, rest, &request),
        _ => Err(Reply::with(405, "Allow", "GET, HEAD")),
    };
    let (entry, plan) = match found {
        Ok(found) => found,
        Err(reply) => return answer(conn, bench, record, &reply).await,
    };
    let closing = if conn.may_keep(&request) && skips_body(&request) {
        Closing::Keep
    } else {
        Closing::Close
    };
    let length = request.body();
    match send::send(conn, bench, record, &entry, &plan, closing).await {
        Ok(()) => finish_body(conn, bench, length, closing).await,
        Err(broken) => {
            tracing::info!(client = %conn.peer_text, file = %cache::shown(&files.root, rest).display(), "{broken}");
            Ending::Reset
        }
    }
}

/// The file, and what of it; or the answer that says why not.
fn find(
    conn: &Conn,
    record: &Record,
    files: &Files,
    rest: &[u8],
    request: &Request<'_>,
) -> Result<(Rc<Entry>, Plan), Reply> {
    let entry = match conn.engine.files.look(files, rest, record.started) {
        Look::File(entry) => entry,
        Look::Folder => {
            // The path is the request's own, which is the one with the location in front.
            let normal = path::normalise(request.path()).map_err(|_| Reply::status(400))?;
            return Err(add_slash(&normal.path, request.query()));
        }
        Look::NoIndex | Look::Forbidden => return Err(Reply::status(403)),
        Look::Missing => return Err(Reply::status(404)),
        Look::Trouble(error) => {
            tracing::error!(file = %cache::shown(&files.root, rest).display(), "cannot open a file: {error}");
            return Err(Reply::status(if is_shortage(&error) { 503 } else { 500 }));
        }
    };
    let fields = Fields::of(request);
    let validators = Validators {
        etag: &entry.etag,
        modified: entry.modified,
    };
    let plan = match fields.conditions.judge(&validators) {
        Verdict::Failed => return Err(Reply::status(412)),
        Verdict::NotModified => Plan::NotModified,
        Verdict::Send { range: true } if request.method() == "GET" => match fields.range {
            None => Plan::Whole,
            Some(range) => match ranges(range, entry.size) {
                Ranges::Whole => Plan::Whole,
                Ranges::Unsatisfiable => {
                    return Err(Reply::with(
                        416,
                        "Content-Range",
                        format!("bytes */{}", entry.size),
                    ));
                }
                parts => Plan::Parts(parts),
            },
        },
        Verdict::Send { .. } => Plan::Whole,
    };
    Ok((entry, plan))
}

/// The fields that matter for a file.
struct Fields<'a> {
    conditions: Conditions<'a>,
    range: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn of(request: &Request<'a>) -> Self {
        let mut found = Fields {
            conditions: Conditions::default(),
            range: None,
        };
        for (name, value) in request.headers() {
            let slot = match name.len() {
                5 if name.eq_ignore_ascii_case(b"range") => &mut found.range,
                8 if name.eq_ignore_ascii_case(b"if-match") => &mut found.conditions.if_match,
                8 if name.eq_ignore_ascii_case(b"if-range") => &mut found.conditions.if_range,
                13 if name.eq_ignore_ascii_case(b"if-none-match") => {
                    &mut found.conditions.if_none_match
                }
                17 if name.eq_ignore_ascii_case(b"if-modified-since") => {
                    &mut found.conditions.if_modified_since
                }
                19 if name.eq_ignore_ascii_case(b"if-unmodified-since") => {
                    &mut found.conditions.if_unmodified_since
                }
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        found
    }
}

/// Names with a dot in front are not for the world, but for what RFC 8615 puts there; nor are sources.
fn is_hidden(rest: &[u8]) -> bool {
    rest.split(|&byte| byte == b'/')
        .any(|name| name.starts_with(b".") && name != b".well-known")
        || HIDDEN_SUFFIXES.iter().any(|suffix| {
            rest.len() >= suffix.len()
                && rest[rest.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
        })
}

fn is_shortage(error: &std::io::Error) -> bool {
    use nix::errno::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names() {
        for name in [
            ".env",
            "a/.git/config",
            ".well-known/.x",
            "views.py",
            "a/VIEWS.PY",
            "db.sqlite3",
            "x.pyc",
        ] {
            assert!(is_hidden(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "a",
            ".well-known/acme-challenge/x",
            "a.b",
            "python",
            "a/b.css",
            "x.pyx",
        ] {
            assert!(!is_hidden(name.as_bytes()), "{name}");
        }
    }
}
