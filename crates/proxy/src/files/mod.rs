//! Files: GET and HEAD for what lies beneath a folder, with conditions and ranges.
//!
//! `cache` finds and keeps files, `kind` names their types, `siblings` looks for compressed ones, `listing` lists folders, `send` brings them to the client. Not here: the rules of
//! conditions and ranges (`conditional`, `range`), or which location a path belongs to.

pub(crate) mod cache;
mod filtered;
mod kind;
mod listing;
mod send;
mod siblings;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::rc::Rc;

use smallvec::SmallVec;
use trine_http1::Request;

use crate::conditional::{Conditions, Validators, Verdict};
use crate::config::{FileRules, Files, Folder, Rules};
use crate::conn::answer::{finish_body, skips_body};
use crate::conn::record::Record;
use crate::conn::reply::{Closing, Reply};
use crate::conn::told::{Told, tell};
use crate::conn::{Conn, Ending};
use crate::engine::Generation;
use crate::range::{Ranges, ranges};
use crate::template::Scene;
use crate::workbench::Workbench;
use cache::{Entry, Look, Shape};
use send::Broken;

/// File names that are never handed out: sources and databases end up in static folders by mistake.
const HIDDEN_SUFFIXES: [&[u8]; 3] = [b".py", b".pyc", b".sqlite3"];

/// What of a file is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Whole,
    NotModified,
    Parts(Ranges),
}

/// What there is to be sent, or what else happens.
pub(crate) enum Found {
    File(Rc<Entry>, Plan),
    Reply(Reply),
    /// An index file: a request for it, which another location may answer.
    Index(Vec<u8>),
    /// A folder without its slash.
    AddSlash,
}

/// Answers with a file.
pub(crate) async fn serve(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    generation: &Generation,
    entry: &Entry,
    plan: &Plan,
) -> Ending {
    let request = bench.head.on(bench.input.all());
    let closing = if conn.may_keep(&request) && skips_body(&request) && !record.body_spent {
        Closing::Keep
    } else {
        Closing::Close
    };
    let length = request.body();
    match send::send(conn, bench, record, generation, entry, plan, closing).await {
        Ok(()) => finish_body(conn, bench, length, closing).await,
        Err(broken @ (Broken::Read(_) | Broken::Changed(_) | Broken::Shrunk)) => {
            let request = bench.head.on(bench.input.all());
            let told = Told::of(conn, &generation.config, Some(request), record);
            tell!(error, told, "the file was sent in part: {broken}");
            Ending::Reset
        }
        Err(broken) => {
            tracing::info!(client = %conn.peer_text, path = %record.visit.path.escape_ascii(), "{broken}");
            Ending::Reset
        }
    }
}

/// The folder and the path beneath it that a request's path stands for.
pub(crate) fn place(folder: &Folder, scene: &Scene<'_>) -> (PathBuf, Vec<u8>) {
    let path = &scene.record.visit.path[..];
    let (base, rest) = match folder {
        Folder::Root(root) => (root.value(scene), path),
        Folder::Alias { folder, strip } => {
            (folder.value(scene), path.get(*strip..).unwrap_or_default())
        }
        Folder::Whole(file) => (file.value(scene), &b""[..]),
    };
    let start = rest.iter().position(|&byte| byte != b'/');
    let rest = &rest[start.unwrap_or(rest.len())..];
    let names_folder = match folder {
        Folder::Root(_) => true,
        Folder::Alias { .. } => path.ends_with(b"/") || base.ends_with(b"/"),
        Folder::Whole(_) => base.ends_with(b"/"),
    };
    if !rest.is_empty() || names_folder {
        return (PathBuf::from(OsString::from_vec(base)), rest.to_vec());
    }
    // The alias is the file itself.
    let file = PathBuf::from(OsString::from_vec(base));
    match (file.parent(), file.file_name()) {
        (Some(parent), Some(name)) => (parent.to_owned(), name.as_bytes().to_vec()),
        _ => (file, Vec::new()),
    }
}

/// The file, and what of it; or what happens in its place.
pub(crate) fn find(files: &Files, rules: &Rules, scene: &Scene<'_>) -> Found {
    let Some(request) = scene.request else {
        return Found::Reply(Reply::status(400));
    };
    let path = &scene.record.visit.path[..];
    let as_get = scene.record.visit.as_get;
    let method = if as_get { "GET" } else { request.method() };
    let refusal = || Found::Reply(Reply::with(405, "Allow", "GET, HEAD"));
    // nginx tells a form that there is no such file before it tells it that files take no forms.
    if !matches!(method, "GET" | "HEAD" | "POST") {
        return refusal();
    }
    if files.hides && is_hidden(path) || scene.record.visit.hidden_separator {
        return Found::Reply(Reply::status(404));
    }
    let (root, rest) = place(&files.folder, scene);
    let cache = &scene.conn.engine.files;
    let now = scene.record.started;
    let kinds = rules.kinds(scene);
    let shape = Shape::new(&kinds, &files.how);
    let names: SmallVec<[Vec<u8>; 2]> = if path.ends_with(b"/") || rest.is_empty() {
        files.index.iter().map(|name| name.value(scene)).collect()
    } else {
        SmallVec::new()
    };
    let index: SmallVec<[&[u8]; 2]> = names.iter().map(Vec::as_slice).collect();
    let look = if files.index_redirects && !index.is_empty() {
        for name in &names {
            if name.starts_with(b"/") {
                return Found::Index(name.clone());
            }
            let file = [&rest[..], name].concat();
            if let Look::File(_) = cache.look(&root, &file, &[], &shape, now) {
                return Found::Index([path, name].concat());
            }
        }
        cache.look(&root, &rest, &[], &shape, now)
    } else {
        siblings::look(cache, &root, &rest, &index, files, &shape, scene)
    };
    let entry = match look {
        Look::File(entry) => entry,
        Look::Folder => return Found::AddSlash,
        Look::NoIndex
            if files.random_index
                && method != "POST"
                && let Some(name) = listing::any_file(&root, &rest) =>
        {
            return Found::Index([path, &name].concat());
        }
        Look::NoIndex if let (Some(listing), "GET" | "HEAD") = (&files.listing, method) => {
            return Found::Reply(listing::page(&root, &rest, listing, &kinds, scene));
        }
        Look::NoIndex | Look::Forbidden => {
            let file = cache::shown(&root, &rest);
            tell!(warn, scene.told(), file = %file.display(), "not allowed, or a folder without an index file");
            return Found::Reply(Reply::status(403));
        }
        Look::Missing => {
            if rules.log_not_found && files.index_redirects {
                let file = cache::shown(&root, &rest);
                tell!(
                    error,
                    scene.told(),
                    "open() \"{}\" failed (2: No such file or directory)",
                    file.display()
                );
            }
            return Found::Reply(Reply::status(404));
        }
        Look::Trouble(error) => {
            tracing::error!(file = %cache::shown(&root, &rest).display(), "cannot open a file: {error}");
            return Found::Reply(Reply::status(if is_shortage(&error) { 503 } else { 500 }));
        }
    };
    if method == "POST" {
        return refusal();
    }
    let as_error = scene.record.visit.error.is_some();
    // Parts can be had only of what is not made anew each time.
    let changed = rules.filters() && request.get("range").is_some() && {
        let (kind, time) = (entry.content_type.as_bytes(), &scene.conn.engine.time);
        filtered::plan(rules, &request, &entry, kind, 200, time.now()).changes()
    };
    let how = FileRules {
        max_ranges: if changed { 0 } else { files.how.max_ranges },
        ..files.how
    };
    match judge(&entry, method, &request, as_error, &how) {
        Ok(plan) => Found::File(entry, plan),
        Err(reply) => Found::Reply(reply),
    }
}

/// Whether there is a file, or a folder, at the path (for `try_files`).
pub(crate) fn exists(files: &Files, wants_folder: bool, rules: &Rules, scene: &Scene<'_>) -> bool {
    let (root, rest) = place(&files.folder, scene);
    let end = rest.iter().rposition(|&byte| byte != b'/');
    let Some(end) = end else {
        return wants_folder && root.is_dir();
    };
    let is_folder = rest.ends_with(b"/");
    let cache = &scene.conn.engine.files;
    match cache.look(
        &root,
        &rest[..=end],
        &[],
        &Shape::new(&rules.kinds, &files.how),
        scene.record.started,
    ) {
        Look::File(_) => !wants_folder && !is_folder,
        Look::Folder => wants_folder,
        _ => false,
    }
}

/// What of the file is sent, by the request's conditions and ranges. An error page is always sent whole.
fn judge(
    entry: &Entry,
    method: &str,
    request: &Request<'_>,
    as_error: bool,
    how: &FileRules,
) -> Result<Plan, Reply> {
    if as_error {
        return Ok(Plan::Whole);
    }
    let fields = Fields::of(request);
    let validators = Validators {
        etag: &entry.etag,
        modified: entry.modified,
    };
    Ok(match fields.conditions.judge(&validators, how.since) {
        Verdict::Failed => return Err(Reply::status(412)),
        Verdict::NotModified => Plan::NotModified,
        Verdict::Send { range: true }
            if method == "GET" && how.max_ranges > 0 && entry.coding.is_none() =>
        {
            match fields.range {
                None => Plan::Whole,
                Some(range) => match ranges(range, entry.size, how.max_ranges) {
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
            }
        }
        Verdict::Send { .. } => Plan::Whole,
    })
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
