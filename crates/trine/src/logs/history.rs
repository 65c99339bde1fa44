//! What a log has said so far: its newest file up to a place, and as many of those that were rotated away, compressed or
//! not, as are asked for. Not here: what is added to it (see `follow`).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use super::{Line, read_line, time};

const BLOCK_BYTES: usize = 64 * 1024;

/// Lines from the oldest on.
pub(super) struct History {
    pieces: VecDeque<Box<dyn BufRead>>,
    since: Option<Timestamp>,
    /// Of the line before.
    time: Option<Timestamp>,
}

impl History {
    /// The last `lines` lines before a place in `newest`, which was found at `path`, and no line from before `since`. Lines that carry no
    /// time, and follow none that does, are as old as the last change of their file.
    pub(super) fn open(
        path: &Path,
        newest: (File, u64),
        lines: usize,
        since: Option<Timestamp>,
    ) -> io::Result<Self> {
        // It may be renamed while we look.
        let inode = newest.0.metadata()?.ino();
        let mut next = Some((Piece::Plain(newest.0, newest.1), path.to_owned()));
        let mut pieces: VecDeque<Box<dyn BufRead>> = VecDeque::new();
        let mut left = lines;
        for number in 1.. {
            let Some((mut piece, name)) = next else { break };
            if since.is_some_and(|since| changed(&name).is_some_and(|at| at < since)) || left == 0 {
                break;
            }
            left -= piece.keep_last_lines(left)?;
            pieces.push_front(match piece {
                Piece::Plain(file, end) => {
                    let from = { &file }.stream_position()?;
                    Box::new(BufReader::new(file.take(end - from)))
                }
                Piece::Unpacked(text) => Box::new(text),
            });
            next = older(path, number, inode)?;
        }
        Ok(Self {
            pieces,
            since,
            time: None,
        })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        while let Some(piece) = self.pieces.front_mut() {
            let Some(text) = read_line(piece)? else {
                self.pieces.pop_front();
                continue;
            };
            self.time = time::of(&text).or(self.time);
            let is_old = |since| self.time.is_some_and(|time| time < since);
            if !self.since.is_some_and(is_old) {
                return Ok(Some(Line {
                    time: self.time,
                    text,
                }));
            }
        }
        Ok(None)
    }
}

enum Piece {
    /// Up to this place.
    Plain(File, u64),
    Unpacked(Cursor<Vec<u8>>),
}

/// The file that was rotated away so many times ago. `newest`: the inode of one that counts already.
fn older(path: &Path, number: u32, newest: u64) -> io::Result<Option<(Piece, PathBuf)>> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    let plain = PathBuf::from(&name);
    name.push(".gz");
    let packed = PathBuf::from(&name);
    let there = |opened: io::Result<File>| match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    };
    if let Some(file) = there(File::open(&plain))? {
        let about = file.metadata()?;
        let end = if about.ino() == newest {
            0
        } else {
            about.len()
        };
        return Ok(Some((Piece::Plain(file, end), plain)));
    }
    let Some(file) = there(File::open(&packed))? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    MultiGzDecoder::new(BufReader::new(file)).read_to_end(&mut text)?;
    Ok(Some((Piece::Unpacked(Cursor::new(text)), packed)))
}

fn changed(path: &Path) -> Option<Timestamp> {
    let at = path.metadata().ok()?.modified().ok()?;
    Timestamp::try_from(at).ok()
}

impl Piece {
    /// Goes to where the last `count` lines begin; says how many there are, up to that.
    fn keep_last_lines(&mut self, count: usize) -> io::Result<usize> {
        match self {
            Self::Plain(file, end) => {
                let (start, found) = last_lines(file, *end, count)?;
                file.seek(SeekFrom::Start(start))?;
                Ok(found)
            }
            Self::Unpacked(text) => {
                let end = text.get_ref().len() as u64;
                let (start, found) = last_lines(text, end, count)?;
                text.set_position(start);
                Ok(found)
            }
        }
    }
}

/// The offset where the last `count` lines before `end` begin, and how many there are; reads blocks from the end only as
/// far as needed.
fn last_lines(
    file: &mut (impl io::Read + io::Seek),
    end: u64,
    count: usize,
) -> io::Result<(u64, usize)> {
    if count == usize::MAX || end == 0 {
        return Ok((0, 0)); // all that there are
    }
    let (length, mut end, mut found) = (end, end, 0);
    let mut block = vec![0; BLOCK_BYTES];
    while end > 0 && count > 0 {
        let size = usize::try_from(end).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let start = end - size as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        for at in (0..size).rev().filter(|at| block[*at] == b'\n') {
            let offset = start + at as u64 + 1;
            // The newline at the very end closes the last line, it does not begin another.
            if offset < length {
                found += 1;
            }
            if found == count {
                return Ok((offset, found));
            }
        }
        end = start;
    }
    Ok(if count == 0 {
        (length, 0)
    } else {
        (0, found + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[track_caller]
    fn check(text: &str, count: usize, want: &str) {
        let (start, found) = last_lines(&mut Cursor::new(text), text.len() as u64, count).unwrap();
        let rest = &text[usize::try_from(start).unwrap()..];
        assert_eq!(rest, want, "last {count} of {} bytes", text.len());
        assert_eq!(found, rest.lines().count());
    }

    #[test]
    fn the_last_lines() {
        check("", 5, "");
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc", 2, "b\nc");
        check("a\nb\n", 5, "a\nb\n");
        check("a\nb\n", 0, "");
        check("a\n\n\n", 2, "\n\n");
        let long = "0123456789\n".repeat(20_000);
        check(&long, 10_000, &"0123456789\n".repeat(10_000));
    }

    fn all(mut history: History) -> String {
        let mut text = Vec::new();
        while let Some(line) = history.next().unwrap() {
            text.extend_from_slice(&line.text);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn files_that_were_rotated_away_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        std::fs::write(&path, "five\nsix\nlater\n").unwrap();
        std::fs::write(folder.path().join("web.log.1"), "three\nfour\n").unwrap();
        let packed = File::create(folder.path().join("web.log.2.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(b"one\ntwo\n").unwrap();
        packed.finish().unwrap();
        let newest = || (File::open(&path).unwrap(), 9);
        let last = |lines| all(History::open(&path, newest(), lines, None).unwrap());
        assert_eq!(last(1), "six\n");
        assert_eq!(last(2), "five\nsix\n");
        assert_eq!(last(3), "four\nfive\nsix\n");
        assert_eq!(last(5), "two\nthree\nfour\nfive\nsix\n");
        assert_eq!(last(usize::MAX), "one\ntwo\nthree\nfour\nfive\nsix\n");
        assert_eq!(last(0), "");
    }
}
