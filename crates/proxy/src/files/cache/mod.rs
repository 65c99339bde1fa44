//! Open files of one core, with their heads ready-made; looked at again after a second at most.
//!
//! Everything is opened beneath its folder by the kernel's own rules (openat2), so that neither `..` nor a link
//! leads out. The folder itself is opened by its path each time: a link to it may be switched by a deploy.
//! Not here: answering with what was found.

mod open;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trine_http1::write_header;
use trine_sys::file::pread;

use crate::compress::Coding;
use crate::config::{FileRules, Kinds, Links};
use crate::conn::reply::write_number;

/// How long what was found is believed.
const FRESH: Duration = Duration::from_secs(1);
/// Files kept open by each core.
const MOST_FILES: usize = 512;
/// Up to this size a file is read into memory and goes out together with its head.
pub(crate) const SMALL: u64 = 32 * 1024;
/// Contents of small files kept in memory by each core.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// A file that was changed this recently may change again without a sign: its clock ticks slowly.
const SETTLED: Duration = Duration::from_secs(2);

/// The open files of one core.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: RefCell<HashMap<Vec<u8>, Rc<Entry>>>,
    key: RefCell<Vec<u8>>,
    bytes: Cell<usize>,
    uses: Cell<u64>,
}

/// What makes one file several answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) kinds: &'a Kinds,
    pub(crate) etag: bool,
    /// Parts of it may be asked for.
    pub(crate) ranges: bool,
    pub(crate) links: Links,
    /// It is a compressed one beside the file that was asked for.
    pub(crate) coding: Option<Coding>,
    /// It depends on what the client accepts.
    pub(crate) varies: bool,
}

impl<'a> Shape<'a> {
    pub(crate) fn new(kinds: &'a Kinds, how: &FileRules) -> Self {
        Self {
            kinds,
            etag: how.etag,
            ranges: how.max_ranges > 0,
            links: how.links,
            coding: None,
            varies: false,
        }
    }

    /// Tells it from the other shapes of the same file.
    fn mark(&self) -> u8 {
        let coding = match self.coding {
            None => 0,
            Some(Coding::Br) => 1,
            Some(Coding::Zstd) => 2,
            Some(Coding::Gzip) => 3,
        };
        let links = match self.links {
            Links::All => 0,
            Links::OwnersOnly => 1,
            Links::None => 2,
        };
        let flag = |flag: bool, bit: u8| u8::from(flag) << bit;
        coding | links << 2 | flag(self.etag, 4) | flag(self.ranges, 5) | flag(self.varies, 6)
    }
}

/// An open file, as it was when it was looked at.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) fd: OwnedFd,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) etag: Vec<u8>,
    pub(crate) content_type: String,
    /// It is compressed already.
    pub(crate) coding: Option<Coding>,
    /// ETag and Last-Modified: what a 304 and a 206 also tell.
    pub(crate) validators: Vec<u8>,
    /// Content-Type, Content-Length and ETag: what an error page has.
    pub(crate) page: Vec<u8>,
    /// The same with Last-Modified and Accept-Ranges: what a 200 has.
    pub(crate) fields: Vec<u8>,
    /// All of a small file, once it has been read.
    body: RefCell<Option<Rc<[u8]>>>,
    /// The same compressed in a way, once somebody wanted that.
    squeezed: RefCell<Option<Squeezed>>,
    identity: Identity,
    checked: Cell<Instant>,
    used: Cell<u64>,
}

/// Content, and how it is compressed: by what and at which level.
type Squeezed = ((Coding, u32), Rc<[u8]>);

/// What changes when the file or its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What there is at a path.
#[derive(Debug)]
pub(crate) enum Look {
    File(Rc<Entry>),
    /// A folder that was asked for without a slash at the end.
    Folder,
    /// A folder without any of its index files.
    NoIndex,
    Missing,
    Forbidden,
    /// Something is wrong on our side.
    Trouble(io::Error),
}

impl Cache {
    /// What `rest`, a path beneath `root`, stands for. A folder stands for the first of the `index` files in it.
    pub(crate) fn look(
        &self,
        root: &Path,
        rest: &[u8],
        index: &[&[u8]],
        shape: &Shape<'_>,
        now: Instant,
    ) -> Look {
        let mut key = self.key.borrow_mut();
        key.clear();
        key.extend_from_slice(&shape.kinds.fingerprint.to_ne_bytes());
        key.push(shape.mark());
        key.extend_from_slice(root.as_os_str().as_bytes());
        key.push(0);
        key.extend_from_slice(rest);
        let known = self.entries.borrow().get(key.as_slice()).cloned();
        if let Some(entry) = &known {
            self.uses.set(self.uses.get() + 1);
            entry.used.set(self.uses.get());
            if now.saturating_duration_since(entry.checked.get()) < FRESH {
                return Look::File(Rc::clone(entry));
            }
        }
        match open::find(root, rest, index, shape.links) {
            Ok((fd, name, meta)) => {
                if let Some(entry) = known
                    && entry.identity == Identity::of(&meta)
                {
                    entry.checked.set(now);
                    return Look::File(entry);
                }
                let entry = Rc::new(Entry::new(fd, &name, shape, &meta, now));
                entry.used.set(self.uses.get());
                self.keep(key.clone(), Rc::clone(&entry));
                Look::File(entry)
            }
            Err(look) => {
                if known.is_some() {
                    self.forget(&key);
                }
                look
            }
        }
    }

    /// All of a small file.
    pub(crate) fn body(&self, entry: &Entry) -> io::Result<Rc<[u8]>> {
        if let Some(body) = entry.body.borrow().as_ref() {
            return Ok(Rc::clone(body));
        }
        let mut bytes = vec![0; usize::try_from(entry.size).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match pread(&entry.fd, &mut bytes[filled..], filled as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        let body: Rc<[u8]> = bytes.into();
        let room = self.bytes.get() + body.len() <= MOST_BYTES;
        if room && entry.is_settled() {
            self.bytes.set(self.bytes.get() + body.len());
            *entry.body.borrow_mut() = Some(Rc::clone(&body));
        }
        Ok(body)
    }

    /// All of a small file compressed in this way, if it is kept.
    pub(crate) fn squeezed(&self, entry: &Entry, how: (Coding, u32)) -> Option<Rc<[u8]>> {
        let kept = entry.squeezed.borrow();
        let (known, body) = kept.as_ref()?;
        (*known == how).then(|| Rc::clone(body))
    }

    /// Keeps it.
    pub(crate) fn keep_squeezed(&self, entry: &Entry, how: (Coding, u32), body: &Rc<[u8]>) {
        // It goes when the file's own content goes.
        if entry.body.borrow().is_some() {
            *entry.squeezed.borrow_mut() = Some((how, Rc::clone(body)));
        }
    }

    /// How many files are open.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Closes everything, when descriptors are short.
    pub(crate) fn clear(&self) {
        self.entries.borrow_mut().clear();
        self.bytes.set(0);
    }

    fn keep(&self, key: Vec<u8>, entry: Rc<Entry>) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= MOST_FILES
            && let Some(oldest) = entries
                .iter()
                .min_by_key(|(_, entry)| entry.used.get())
                .map(|(key, _)| key.clone())
            && let Some(gone) = entries.remove(&oldest)
        {
            self.release(&gone);
        }
        if let Some(gone) = entries.insert(key, entry) {
            self.release(&gone);
        }
    }

    fn forget(&self, key: &[u8]) {
        if let Some(gone) = self.entries.borrow_mut().remove(key) {
            self.release(&gone);
        }
    }

    fn release(&self, gone: &Entry) {
        let held = gone.body.borrow().as_ref().map_or(0, |body| body.len());
        self.bytes.set(self.bytes.get().saturating_sub(held));
    }
}

impl Entry {
    fn new(
        file: File,
        name: &[u8],
        shape: &Shape<'_>,
        meta: &std::fs::Metadata,
        now: Instant,
    ) -> Self {
        let name = match shape.coding {
            Some(coding) => name
                .strip_suffix(coding.ending().as_bytes())
                .unwrap_or(name),
            None => name,
        };
        let content_type = shape.kinds.of(name);
        // Whole seconds, as HTTP dates are; a time before 1970 is as good as none.
        let seconds = u64::try_from(meta.mtime()).unwrap_or(0);
        let modified = UNIX_EPOCH + Duration::from_secs(seconds);
        let mut etag = String::new();
        // Writing to a String cannot fail. The form is nginx's.
        let _ = write!(etag, "\"{seconds:x}-{:x}\"", meta.size());
        let mut validators = Vec::new();
        if shape.etag {
            write_header(&mut validators, b"ETag", etag.as_bytes());
        } else {
            etag.clear();
        }
        if let Some(coding) = shape.coding {
            write_header(
                &mut validators,
                b"Content-Encoding",
                coding.name().as_bytes(),
            );
        }
        if shape.varies {
            validators.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        let mut page = Vec::new();
        write_header(&mut page, b"Content-Type", content_type.as_bytes());
        write_number(&mut page, b"Content-Length", meta.size());
        page.extend_from_slice(&validators);
        let date = httpdate::fmt_http_date(modified);
        write_header(&mut validators, b"Last-Modified", date.as_bytes());
        let mut fields = page.clone();
        write_header(&mut fields, b"Last-Modified", date.as_bytes());
        if shape.ranges {
            fields.extend_from_slice(b"Accept-Ranges: bytes\r\n");
        }
        Self {
            fd: file.into(),
            size: meta.size(),
            modified,
            etag: etag.into_bytes(),
            content_type,
            coding: shape.coding,
            validators,
            page,
            fields,
            body: RefCell::new(None),
            squeezed: RefCell::new(None),
            identity: Identity::of(meta),
            checked: Cell::new(now),
            used: Cell::new(0),
        }
    }

    /// Whether a change from now on would show in the file's times.
    fn is_settled(&self) -> bool {
        let (seconds, nanos) = self.identity.changed;
        let changed = Duration::new(
            u64::try_from(seconds).unwrap_or(0),
            u32::try_from(nanos).unwrap_or(0),
        );
        SystemTime::now()
            .duration_since(UNIX_EPOCH + changed)
            .is_ok_and(|age| age > SETTLED)
    }
}

impl Identity {
    fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The path of a file as a person would write it, for logs.
pub(crate) fn shown(root: &Path, rest: &[u8]) -> std::path::PathBuf {
    root.join(std::ffi::OsString::from_vec(rest.to_vec()))
}

#[cfg(test)]
mod tests;
