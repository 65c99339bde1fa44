//! Opens what a path stands for, beneath its folder only.
//!
//! Not here: keeping it open (see the parent module).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, fstatat};
use trine_sys::file::{open_beneath, open_beneath_without_links, open_dir};

use super::Look;
use crate::config::Links;

/// Opens what `rest` stands for: a file, or a folder's index file.
pub(super) fn find(
    root: &Path,
    rest: &[u8],
    index: &[&[u8]],
    links: Links,
) -> Result<(File, Vec<u8>, std::fs::Metadata), Look> {
    let root = open_dir(root).map_err(look_at)?;
    if !rest.is_empty() && !rest.ends_with(b"/") {
        let (file, meta) = open(&root, rest, links)?;
        return if meta.is_file() {
            Ok((file, rest.to_vec(), meta))
        } else if meta.is_dir() {
            Err(Look::Folder)
        } else {
            // Pipes, sockets and devices are nobody's business.
            Err(Look::Missing)
        };
    }
    for index in index {
        let name = [rest, index].concat();
        match open(&root, &name, links) {
            Ok((file, meta)) if meta.is_file() => return Ok((file, name, meta)),
            Ok(_) | Err(Look::Missing) => {}
            Err(look) => return Err(look),
        }
    }
    let folder = if rest.is_empty() {
        Ok(())
    } else {
        open(&root, rest, links).map(drop)
    };
    Err(folder.err().unwrap_or(Look::NoIndex))
}

fn open(root: &OwnedFd, rest: &[u8], links: Links) -> Result<(File, std::fs::Metadata), Look> {
    // Without O_NONBLOCK a pipe without a writer would hold up the whole core; `open_beneath` sees to that.
    let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY;
    let name = OsStr::from_bytes(rest);
    let fd = match links {
        Links::All => open_beneath(root, name, flags).map_err(look_at)?,
        Links::None => match open_beneath_without_links(root, name, flags) {
            // As in nginx, a link that is no folder is none: only one at the end is forbidden.
            Err(error) if is_loop(&error) && has_linked_parent(root, rest) => {
                return Err(Look::Missing);
            }
            other => other.map_err(look_at)?,
        },
        Links::OwnersOnly => match open_beneath_without_links(root, name, flags) {
            Err(error) if is_loop(&error) => {
                if !owners_agree(root, rest).map_err(look_at)? {
                    return Err(Look::Forbidden);
                }
                open_beneath(root, name, flags).map_err(look_at)?
            }
            other => other.map_err(look_at)?,
        },
    };
    let file = File::from(fd);
    let meta = file.metadata().map_err(Look::Trouble)?;
    Ok((file, meta))
}

/// Whether every link on the way belongs to the owner of what it leads to.
fn owners_agree(root: &OwnedFd, rest: &[u8]) -> io::Result<bool> {
    let ends = memchr::memchr_iter(b'/', rest).chain(std::iter::once(rest.len()));
    for end in ends.filter(|end| *end > 0) {
        let part = OsStr::from_bytes(&rest[..end]);
        let link: FileStat = fstatat(root, part, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if link.st_mode & libc::S_IFMT == libc::S_IFLNK
            && fstatat(root, part, AtFlags::empty())?.st_uid != link.st_uid
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ELOOP as i32)
}

/// Whether a link is met before the last name of the path.
fn has_linked_parent(root: &OwnedFd, rest: &[u8]) -> bool {
    let Some(slash) = memchr::memrchr(b'/', rest) else {
        return false;
    };
    let parent = OsStr::from_bytes(&rest[..slash]);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    open_beneath_without_links(root, parent, flags).is_err_and(|error| is_loop(&error))
}

fn look_at(error: io::Error) -> Look {
    match error.raw_os_error().map(Errno::from_raw) {
        // EXDEV: a link leads out of the folder. ENXIO: a socket.
        Some(
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::EXDEV
            | Errno::ENAMETOOLONG
            | Errno::ENXIO
            | Errno::EINVAL,
        ) => Look::Missing,
        // ELOOP: a link that may not be followed, or one that leads round in circles.
        Some(Errno::EACCES | Errno::EPERM | Errno::ELOOP) => Look::Forbidden,
        _ => Look::Trouble(error),
    }
}
