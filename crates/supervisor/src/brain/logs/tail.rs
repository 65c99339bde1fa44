//! Reading logs back: the last lines over rotated files, and what is added from then on.
//! Not here: HTTP (see `control`), or writing (see `pump`).

use super::file::{backup, compressed};
use super::tap::Tap;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// How much is read at a time.
const PIECE: usize = 64 << 10;
/// The most that a tail looks at.
const MOST: u64 = 64 << 20;

/// A log file, or the text of one that was compressed.
#[derive(Debug)]
enum Text {
    File(File),
    Unpacked(Vec<u8>),
}

impl Text {
    /// A file that was rotated away so many times ago.
    fn older(path: &Path, number: u32) -> io::Result<Option<Self>> {
        let there = |name: &Path| match File::open(name) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        if let Some(file) = there(&backup(path, number))? {
            return Ok(Some(Self::File(file)));
        }
        let Some(packed) = there(&compressed(path, number))? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        MultiGzDecoder::new(io::BufReader::new(packed))
            .take(MOST)
            .read_to_end(&mut text)?;
        Ok(Some(Self::Unpacked(text)))
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Unpacked(text) => Ok(text.len() as u64),
        }
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(into, at),
            Self::Unpacked(text) => {
                let rest = text.get(usize::try_from(at).unwrap_or(usize::MAX)..);
                let rest = rest.unwrap_or_default();
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(into, at),
            Self::Unpacked(_) if self.read_at(into, at)? == into.len() => Ok(()),
            Self::Unpacked(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Where the last `lines` lines before `end` of `file` begin, and how many of them were found.
fn back(file: &Text, end: u64, lines: usize) -> io::Result<(u64, usize)> {
    let mut piece = vec![0; PIECE];
    let mut at = end;
    let mut found = 0;
    while at > 0 && end - at < MOST {
        let from = at.saturating_sub(PIECE as u64);
        let len = usize::try_from(at - from).unwrap_or(PIECE);
        file.read_exact_at(&mut piece[..len], from)?;
        for (index, byte) in piece[..len].iter().enumerate().rev() {
            let place = from + index as u64;
            if *byte == b'\n' && place + 1 < end {
                found += 1;
                if found == lines {
                    return Ok((place + 1, found));
                }
            }
        }
        at = from;
    }
    Ok((at, found + usize::from(at < end)))
}

/// The last lines of a log as it is now, oldest first, and where to go on reading.
#[derive(Debug)]
pub struct Tail {
    pieces: Vec<(Text, u64, u64)>,
    pub follower: Follower,
}

impl Tail {
    /// `lines`: `None` is the whole newest file. Reads from the disk, and may have to decompress.
    pub fn open(tap: Arc<Tap>, lines: Option<usize>) -> io::Result<Self> {
        let changed = tap.subscribe();
        let (file, generation) = tap.open_to_read(None)?;
        let end = file.metadata()?.len();
        let mut pieces = Vec::new();
        if lines != Some(0) {
            let newest = Text::File(file.try_clone()?);
            let (start, mut found) = match lines {
                Some(lines) => back(&newest, end, lines)?,
                None => (0, 0),
            };
            pieces.push((newest, start, end));
            let mut number = 1;
            while lines.is_some_and(|lines| found < lines && start == 0) {
                let Some(older) = Text::older(tap.path(), number)? else {
                    break;
                };
                let len = older.len()?;
                let (start, more) = back(&older, len, lines.unwrap_or(0) - found)?;
                pieces.insert(0, (older, start, len));
                found += more;
                number += 1;
            }
        }
        Ok(Self {
            pieces,
            follower: Follower {
                tap,
                changed,
                file,
                generation,
                at: end,
            },
        })
    }

    /// The last bytes of the newest file.
    pub fn open_bytes(tap: Arc<Tap>, bytes: u64) -> io::Result<Self> {
        let mut tail = Self::open(tap, Some(0))?;
        let end = tail.follower.at;
        let file = tail.follower.file.try_clone()?;
        let start = end.saturating_sub(bytes);
        tail.pieces.push((Text::File(file), start, end));
        Ok(tail)
    }

    /// The next bytes of what there was; `None` at the end of it.
    pub fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some((file, at, end)) = self.pieces.first_mut() {
            let len = usize::try_from(*end - *at).unwrap_or(PIECE).min(PIECE);
            let mut piece = vec![0; len];
            let count = file.read_at(&mut piece, *at)?;
            *at += count as u64;
            if count == 0 {
                self.pieces.remove(0);
                continue;
            }
            piece.truncate(count);
            return Ok(Some(piece));
        }
        Ok(None)
    }
}

/// Reads on where a tail ended, across rotations.
#[derive(Debug)]
pub struct Follower {
    tap: Arc<Tap>,
    changed: watch::Receiver<()>,
    file: File,
    generation: u64,
    at: u64,
}

impl Follower {
    /// Where in the newest file it is.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Reads again from a place that an earlier follower was at; from the start of a file that is shorter by now.
    pub fn go_back_to(&mut self, position: u64) {
        self.at = if position <= self.at { position } else { 0 };
    }

    /// The next bytes, waiting for them. `None`: the log has come to its end, its process is gone for good.
    pub async fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            self.changed.mark_unchanged();
            if let Some(piece) = self.read()? {
                return Ok(Some(piece));
            }
            if self.tap.generation() > self.generation {
                // Nothing is added to a file once it is rotated: what was read was all.
                if let Some(piece) = self.read()? {
                    return Ok(Some(piece));
                }
                (self.file, self.generation) = self.tap.open_to_read(Some(self.generation + 1))?;
                self.at = 0;
                continue;
            }
            if self.tap.is_closed() || self.changed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut piece = vec![0; PIECE];
        let mut count = self.file.read_at(&mut piece, self.at)?;
        if count == 0
            && self.tap.generation() == self.generation
            && self.file.metadata()?.len() < self.at
        {
            self.at = 0; // emptied by somebody
            count = self.file.read_at(&mut piece, 0)?;
        }
        self.at += count as u64;
        piece.truncate(count);
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}
