//! Compressing a body piece by piece.
//!
//! gzip comes from two libraries: libdeflate packs what is there as a whole, in a third of zlib's time, and zlib-rs what
//! comes in pieces. Writing goes to memory, so errors mean a library at its limits.
//! Not here: unpacking (`unpack`), whether to (`choose`), and on which thread (`filter`).

use std::cell::RefCell;
use std::io::{self, Write as _};

use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::Coding;
use crate::config::CodingRules;

/// Free space that output is given at once.
const ROOM: usize = 16 * 1024;

/// States of deflate that one core keeps; each is about a quarter of a megabyte.
const MOST_KEPT: usize = 8;

/// A longer body goes through in pieces, even if all of it is there: packed, it has to fit into memory at once.
const LONGEST_WHOLE: usize = 1024 * 1024;

/// RFC 1952: deflate, no flags, no time, no word on effort, Unix.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// RFC 9659: the most that a client has to have room for.
const ZSTD_WINDOW: u32 = 23;

/// What follows a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// More, soon.
    More,
    /// Nothing for a while: the client has to be able to read all that has come.
    Flush,
    /// Nothing.
    End,
}

/// A body that is being compressed.
pub(crate) enum Encoder {
    Gzip(Box<Gzip>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// Gone at the end of the body.
    Zstd(Option<Box<zstd::stream::write::Encoder<'static, Vec<u8>>>>),
}

/// gzip is ours around deflate, so that its large state can be used again.
pub(crate) struct Gzip {
    /// Taken when there is something to do, so that few are in use at once and stay in the processor's caches.
    state: Option<State>,
    level: u32,
    check: crc32fast::Hasher,
    length: u32,
    begun: bool,
}

/// What deflate remembers, by the library.
enum State {
    /// For a body in pieces.
    Pieces(Compress),
    /// For one that is there as a whole.
    Whole(Compressor),
}

impl State {
    /// For nginx's `level`.
    fn new(level: u32, whole: bool) -> io::Result<Self> {
        if !whole {
            return Ok(Self::Pieces(Compress::new(
                Compression::new(level_in_pieces(level)),
                false,
            )));
        }
        let level = CompressionLvl::new(level_as_whole(level));
        let level = level.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self::Whole(Compressor::new(level)))
    }

    fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

/// States of deflate for the next answers of one core.
#[derive(Default)]
pub(crate) struct Shelf(RefCell<Vec<(u32, State)>>);

impl Shelf {
    fn take(&self, level: u32, whole: bool) -> io::Result<State> {
        let mut kept = self.0.borrow_mut();
        let fits = |(known, state): &(u32, State)| *known == level && state.is_whole() == whole;
        match kept.iter().rposition(fits) {
            Some(at) => Ok(kept.swap_remove(at).1),
            None => State::new(level, whole),
        }
    }

    /// Keeps what a finished encoder has no use for any more.
    pub(crate) fn give_back(&self, encoder: Encoder) {
        if let Encoder::Gzip(gzip) = encoder {
            let Gzip { state, level, .. } = *gzip;
            let mut kept = self.0.borrow_mut();
            if let Some(mut state) = state.filter(|_| kept.len() < MOST_KEPT) {
                if let State::Pieces(deflate) = &mut state {
                    deflate.reset();
                }
                kept.push((level, state));
            }
        }
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shelf")
            .field(&self.0.borrow().len())
            .finish()
    }
}

impl Encoder {
    /// For a body of `length` bytes, if that is known.
    ///
    /// # Errors
    /// The library has no memory.
    pub(crate) fn new(rules: &CodingRules, length: Option<u64>) -> io::Result<Self> {
        Ok(match rules.coding {
            Coding::Gzip => Self::Gzip(Box::new(Gzip {
                state: None,
                level: rules.level,
                check: crc32fast::Hasher::new(),
                length: 0,
                begun: false,
            })),
            Coding::Br => {
                let mut window = rules.window;
                // A short body needs no long memory.
                while window > 10 && length.is_some_and(|length| length < 1 << (window - 1)) {
                    window -= 1;
                }
                let params = brotli::enc::BrotliEncoderParams {
                    quality: i32::try_from(rules.level).unwrap_or(6),
                    lgwin: i32::try_from(window).unwrap_or(19),
                    size_hint: length
                        .and_then(|length| usize::try_from(length).ok())
                        .unwrap_or(0),
                    ..brotli::enc::BrotliEncoderParams::default()
                };
                Self::Br(Box::new(brotli::CompressorWriter::with_params(
                    Vec::new(),
                    4096,
                    &params,
                )))
            }
            Coding::Zstd => {
                let level = i32::try_from(rules.level).unwrap_or(1);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.set_pledged_src_size(length)?;
                encoder.include_contentsize(false)?;
                if level > 19 {
                    encoder.window_log(ZSTD_WINDOW)?;
                }
                Self::Zstd(Some(Box::new(encoder)))
            }
        })
    }

    pub(crate) fn coding(&self) -> Coding {
        match self {
            Self::Gzip(_) => Coding::Gzip,
            Self::Br(_) => Coding::Br,
            Self::Zstd(_) => Coding::Zstd,
        }
    }

    /// Gets what an earlier answer has left, for the first piece.
    ///
    /// # Errors
    /// The library has no memory.
    pub(crate) fn prepare(&mut self, shelf: &Shelf, bytes: &[u8], then: Then) -> io::Result<()> {
        if let Self::Gzip(gzip) = self
            && gzip.state.is_none()
        {
            gzip.state = Some(shelf.take(gzip.level, is_whole(bytes, then))?);
        }
        Ok(())
    }

    /// Compresses a piece and appends what comes of it.
    ///
    /// # Errors
    /// The library has no memory.
    pub(crate) fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => return gzip.put(bytes, then, out),
            Self::Br(writer) => {
                writer.write_all(bytes)?;
                match then {
                    Then::More => {}
                    Then::Flush => writer.flush()?,
                    Then::End => {
                        let empty = brotli::CompressorWriter::new(Vec::new(), 1, 0, 10);
                        out.append(&mut std::mem::replace(&mut **writer, empty).into_inner());
                        return Ok(());
                    }
                }
                out.append(writer.get_mut());
            }
            Self::Zstd(slot) => {
                let Some(encoder) = slot else {
                    return Ok(());
                };
                encoder.write_all(bytes)?;
                match then {
                    Then::More => {}
                    Then::Flush => encoder.flush()?,
                    Then::End => encoder.do_finish()?,
                }
                out.append(encoder.get_mut());
                if then == Then::End {
                    // Giving its memory back may take long: it is done where the work was.
                    *slot = None;
                }
            }
        }
        Ok(())
    }
}

/// Whether the first piece of a body is all of it, and not too long.
fn is_whole(bytes: &[u8], then: Then) -> bool {
    then == Then::End && bytes.len() <= LONGEST_WHOLE
}

/// zlib-rs packs at its level 2 what zlib does at 1, in a third of the time, and at 1 a quarter worse; its 9 is worse
/// than its 8. What comes out is never more than 1 % larger than nginx's at the same level.
fn level_in_pieces(level: u32) -> u32 {
    level.clamp(2, 8)
}

/// libdeflate packs better than zlib at the level before, and at 1 and 5 at the same.
fn level_as_whole(level: u32) -> i32 {
    match level {
        0 | 1 => 1,
        5 => 5,
        _ => i32::try_from(level).map_or(8, |level| level.min(9) - 1),
    }
}

/// What a byte costs, by measurement of JSON on the development machine; it decides what is done on a thread.
pub(crate) fn nanos_per_byte(coding: Coding, level: u32) -> u64 {
    match (coding, level) {
        (Coding::Gzip, ..=3) | (Coding::Zstd, ..=3) => 3,
        (Coding::Gzip, ..=6) => 5,
        (Coding::Gzip, _) => 13,
        (Coding::Br, ..=1) => 4,
        (Coding::Br, ..=4) => 10,
        (Coding::Br, ..=6) => 15,
        (Coding::Br, ..=9) => 50,
        (Coding::Zstd, ..=6) => 7,
        (Coding::Zstd, ..=12) => 16,
        (Coding::Br | Coding::Zstd, _) => 1300,
    }
}

/// What the first byte costs beside that, in nanoseconds, of a body whose length is `length` if that is known: the higher
/// levels of Zstandard clear tables of many megabytes first, unless the body is short.
pub(crate) fn nanos_to_begin(coding: Coding, level: u32, length: Option<u64>) -> u64 {
    let is_short = length.is_some_and(|length| length <= 64 * 1024);
    match (coding, level) {
        (Coding::Zstd, 7..) if !is_short => 20_000_000,
        (Coding::Zstd, 4..) | (Coding::Br, 10..) => 600_000,
        _ => 50_000,
    }
}

impl Gzip {
    fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        let deflate = match &mut self.state {
            Some(State::Whole(deflate)) => return whole(deflate, bytes, out),
            Some(State::Pieces(deflate)) => deflate,
            none => match none.insert(State::new(self.level, is_whole(bytes, then))?) {
                State::Whole(deflate) => return whole(deflate, bytes, out),
                State::Pieces(deflate) => deflate,
            },
        };
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&GZIP_HEAD);
        }
        self.check.update(bytes);
        // The length is told modulo 2^32.
        #[expect(clippy::cast_possible_truncation, reason = "RFC 1952 section 2.3.1")]
        let length = bytes.len() as u32;
        self.length = self.length.wrapping_add(length);
        let flush = match then {
            Then::More => FlushCompress::None,
            Then::Flush => FlushCompress::Sync,
            Then::End => FlushCompress::Finish,
        };
        let mut rest = bytes;
        loop {
            out.reserve(ROOM);
            let before = deflate.total_in();
            let status = deflate.compress_vec(rest, out, flush)?;
            let taken = usize::try_from(deflate.total_in() - before).unwrap_or(0);
            rest = rest.get(taken..).unwrap_or_default();
            let has_room = out.len() < out.capacity();
            match status {
                Status::StreamEnd => break,
                _ if rest.is_empty() && has_room && then != Then::End => break,
                Status::BufError if has_room && then != Then::End => break,
                _ => {}
            }
        }
        if then == Then::End {
            out.extend_from_slice(&self.check.clone().finalize().to_le_bytes());
            out.extend_from_slice(&self.length.to_le_bytes());
        }
        Ok(())
    }
}

/// All of a body, behind what is in `out`.
fn whole(deflate: &mut Compressor, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.resize(start + deflate.gzip_compress_bound(bytes.len()), 0);
    let made = deflate.gzip_compress(bytes, &mut out[start..]);
    let made = made.map_err(|_| io::Error::from(io::ErrorKind::WriteZero))?;
    out.truncate(start + made);
    Ok(())
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.coding().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn rules(coding: Coding, level: u32) -> CodingRules {
        CodingRules {
            coding,
            types: Vec::new(),
            level,
            min_length: 20,
            window: if coding == Coding::Br { 19 } else { 0 },
        }
    }

    /// What can be read of it, even if its end is not there.
    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Coding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)
                .unwrap()
                .read_to_end(&mut out),
        };
        out
    }

    /// Compressible and not, longer than any buffer on the way.
    fn content(length: usize) -> Vec<u8> {
        let mut seed = 1_u32;
        (0..length)
            .map(|at| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if at / 4096 % 2 == 0 {
                    b'a'
                } else {
                    seed.to_le_bytes()[3]
                }
            })
            .collect()
    }

    #[test]
    fn pieces_make_one_body() {
        let shelf = Shelf::default();
        for (coding, levels) in [
            (Coding::Gzip, &[1, 6, 9][..]),
            (Coding::Br, &[0, 4, 11]),
            (Coding::Zstd, &[1, 3, 22]),
        ] {
            for &level in levels {
                let rules = rules(coding, level);
                let mut encoder = Encoder::new(&rules, None).unwrap();
                let mut all = Vec::new();
                encoder.put(b"hello ", Then::Flush, &mut all).unwrap();
                // What has come can be read already.
                assert_eq!(decoded(coding, &all), b"hello ", "{coding:?} {level}");
                let length = all.len();
                encoder.put(b"", Then::More, &mut all).unwrap();
                encoder.put(b"wor", Then::More, &mut all).unwrap();
                assert!(all.len() <= length + 8, "{coding:?} {level}");
                encoder.put(b"ld", Then::End, &mut all).unwrap();
                assert_eq!(decoded(coding, &all), b"hello world", "{coding:?} {level}");
                shelf.give_back(encoder);

                let body = content(if level > 9 { 100_000 } else { 1_000_000 });
                for length in [None, Some(body.len() as u64)] {
                    let mut encoder = Encoder::new(&rules, length).unwrap();
                    let mut all = Vec::new();
                    for piece in body.chunks(33_000) {
                        encoder.put(piece, Then::More, &mut all).unwrap();
                    }
                    encoder.put(b"", Then::End, &mut all).unwrap();
                    assert!(all.len() < body.len() * 3 / 4);
                    assert_eq!(decoded(coding, &all), body, "{coding:?} {level}");
                    shelf.give_back(encoder);
                }
                let mut empty = Vec::new();
                let mut encoder = Encoder::new(&rules, Some(0)).unwrap();
                encoder.put(b"", Then::End, &mut empty).unwrap();
                assert!(decoded(coding, &empty).is_empty() && !empty.is_empty());
            }
        }
    }

    #[test]
    fn whole_bodies() {
        let shelf = Shelf::default();
        for level in 1..=9 {
            // What is long takes a while, and the levels between the ends do the same.
            let lengths = [0, 1, 20_000, LONGEST_WHOLE, LONGEST_WHOLE + 1];
            let few = if matches!(level, 1 | 9) { 5 } else { 3 };
            for length in lengths.into_iter().take(few) {
                let body = content(length);
                let mut encoder = Encoder::new(&rules(Coding::Gzip, level), None).unwrap();
                encoder.prepare(&shelf, &body, Then::End).unwrap();
                let mut all = b"in front".to_vec();
                encoder.put(&body, Then::End, &mut all).unwrap();
                assert_eq!(decoded(Coding::Gzip, &all[8..]), body, "{level} {length}");
                let Encoder::Gzip(gzip) = &encoder else {
                    panic!("{encoder:?}");
                };
                let state = gzip.state.as_ref().map(State::is_whole);
                assert_eq!(state, Some(length <= LONGEST_WHOLE));
                shelf.give_back(encoder);
            }
        }
    }

    #[test]
    fn the_shelf_keeps_few() {
        let shelf = Shelf::default();
        let rules = rules(Coding::Gzip, 1);
        let all: Vec<_> = (0..MOST_KEPT + 3)
            .map(|_| {
                let mut encoder = Encoder::new(&rules, None).unwrap();
                encoder.prepare(&shelf, b"x", Then::More).unwrap();
                encoder
            })
            .collect();
        all.into_iter().for_each(|encoder| shelf.give_back(encoder));
        assert_eq!(shelf.0.borrow().len(), MOST_KEPT);
    }
}
