//! `autoindex`: what is in a folder; and `random_index`: any of it.
//!
//! `page` writes it down. Not here: which folders are listed.

mod page;

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, fstatat};
use trine_sys::file::{open_beneath, open_dir};

use crate::config::{Kinds, Listing, ListingFormat};
use crate::conn::reply::Reply;
use crate::template::Scene;

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    name: Vec<u8>,
    kind: Kind,
    size: i64,
    /// Seconds since 1970.
    modified: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Folder,
    File,
    Other,
}

/// The page that lists the folder `rest` beneath `root`.
pub(super) fn page(
    root: &Path,
    rest: &[u8],
    listing: &Listing,
    kinds: &Kinds,
    scene: &Scene<'_>,
) -> Reply {
    let mut items = match read(root, rest) {
        Ok(items) => items,
        Err(error) => return refusal(&error, root, rest, scene),
    };
    // Folders first, then by name, byte for byte.
    items.sort_by(|one, other| {
        let files = |item: &Item| item.kind != Kind::Folder;
        (files(one), &one.name).cmp(&(files(other), &other.name))
    });
    let path = &scene.record.visit.path[..];
    match listing.format {
        ListingFormat::Html => {
            let kind = kinds.with_charset("text/html");
            let utf8 = kind.to_ascii_lowercase().ends_with("charset=utf-8");
            Reply::text(200, kind, page::html(path, &items, listing, utf8))
        }
        ListingFormat::Xml => {
            Reply::text(200, "text/xml; charset=utf-8".to_owned(), page::xml(&items))
        }
        ListingFormat::Json => {
            let kind = kinds.with_charset("application/json");
            Reply::text(200, kind, page::json(&items, None))
        }
        ListingFormat::Jsonp => {
            let callback = scene.argument("callback").filter(|name| !name.is_empty());
            match callback {
                None => {
                    let kind = kinds.with_charset("application/json");
                    Reply::text(200, kind, page::json(&items, None))
                }
                Some(name) if page::is_callback(name) => {
                    let kind = kinds.with_charset("application/javascript");
                    Reply::text(200, kind, page::json(&items, Some(name)))
                }
                Some(name) => {
                    let client = scene.conn.peer_text.as_str();
                    tracing::info!(%client, "client sent invalid callback name: \"{}\"", name.escape_ascii());
                    Reply::status(400)
                }
            }
        }
    }
}

/// The name of any file in the folder, if there is one.
pub(super) fn any_file(root: &Path, rest: &[u8]) -> Option<Vec<u8>> {
    let mut files = read(root, rest).ok()?;
    files.retain(|item| item.kind == Kind::File);
    let count = u64::try_from(files.len()).ok().filter(|count| *count > 0)?;
    let chance = RandomState::new().hash_one(0_u8) % count;
    Some(files.swap_remove(usize::try_from(chance).ok()?).name)
}

fn refusal(error: &io::Error, root: &Path, rest: &[u8], scene: &Scene<'_>) -> Reply {
    use nix::errno::Errno;
    let shown = super::cache::shown(root, rest);
    tracing::error!(client = %scene.conn.peer_text, "opendir() \"{}\" failed: {error}", shown.display());
    let status = match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ELOOP | Errno::EXDEV,
        ) => 404,
        Some(Errno::EACCES | Errno::EPERM) => 403,
        _ => 500,
    };
    Reply::status(status)
}

/// What is in the folder, but for names that begin with a dot.
fn read(root: &Path, rest: &[u8]) -> io::Result<Vec<Item>> {
    let root = open_dir(root)?;
    let rest = if rest.is_empty() { b"." } else { rest };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let folder = open_beneath(&root, OsStr::from_bytes(rest), flags)?;
    let at = folder.try_clone()?;
    let mut items = Vec::new();
    let mut dir = Dir::from_fd(folder)?;
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        let found = fstatat(&at, name, AtFlags::empty())
            .or_else(|_| fstatat(&at, name, AtFlags::AT_SYMLINK_NOFOLLOW));
        // Gone meanwhile: it is not in the folder any more.
        let Ok(found) = found else { continue };
        items.push(Item {
            name: name.to_bytes().to_vec(),
            kind: kind(&found),
            size: found.st_size,
            modified: found.st_mtime,
        });
    }
    Ok(items)
}

fn kind(found: &FileStat) -> Kind {
    match found.st_mode & libc::S_IFMT {
        libc::S_IFDIR => Kind::Folder,
        libc::S_IFREG => Kind::File,
        _ => Kind::Other,
    }
}
