//! Unpacking gzip, a step at a time, with an eye on how much comes of how little.
//!
//! What is unpacked is made as it is wanted: neither a piece that unpacks to a thousand times its length (as much as
//! deflate can) takes memory, nor a body that goes on like this the time of a core. Not here: on which thread (`filter`).

use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;

use super::Then;

/// About so many bytes come of one step, in most cases less.
pub(crate) const STEP: usize = 64 * 1024;

/// So much may come of anything, in bytes: what is this short does no harm, however well it was packed.
const HARMLESS: u64 = 8 * 1024 * 1024;

/// Out of so few bytes a step may come, as deflate packs no better.
pub(crate) const MOST_TIMES: usize = 1032;

/// A gzip body that is being unpacked; it may have several members (RFC 1952 section 2.2).
pub(crate) struct Inflater {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// How many times as long as the packed body the unpacked one may be; 0: any.
    most_times: u32,
    taken: u64,
    made: u64,
}

/// Why a body is not unpacked to its end.
#[derive(Debug, thiserror::Error)]
#[error(
    "it unpacks to more than {most_times} times its length, which `gunzip_max_ratio` forbids: {made} bytes came of {taken}"
)]
struct Bomb {
    most_times: u32,
    made: u64,
    taken: u64,
}

impl Inflater {
    pub(crate) fn new(most_times: u32) -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            most_times,
            taken: 0,
            made: 0,
        }
    }

    /// Unpacks the beginning of a piece, and appends what comes of it. Returns how much of the piece is done: if that is
    /// all of it, so is what was to follow by `then`.
    ///
    /// # Errors
    /// It is no gzip, ends too early, or unpacks to much more than it may.
    pub(crate) fn step(
        &mut self,
        bytes: &[u8],
        then: Then,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let start = out.len();
        let mut taken = 0;
        while taken < bytes.len() {
            // One such call fills the decoder's own buffer once, at most.
            match self.decoder.write(&bytes[taken..])? {
                0 => return Err(io::ErrorKind::InvalidData.into()),
                count => taken += count,
            }
            self.collect(out);
            if out.len() - start >= STEP {
                break;
            }
        }
        if taken == bytes.len() {
            match then {
                Then::More => {}
                Then::Flush => self.decoder.flush()?,
                Then::End => self.decoder.try_finish()?,
            }
            self.collect(out);
        }
        self.taken += taken as u64;
        self.made += (out.len() - start) as u64;
        let most = self.taken.saturating_mul(u64::from(self.most_times));
        if self.most_times > 0 && self.made > most.max(HARMLESS) {
            return Err(io::Error::other(Bomb {
                most_times: self.most_times,
                made: self.made,
                taken: self.taken,
            }));
        }
        Ok(taken)
    }

    fn collect(&mut self, out: &mut Vec<u8>) {
        out.append(self.decoder.get_mut());
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    /// All of a piece, in as many steps as it takes, none of them large.
    fn put(inflater: &mut Inflater, piece: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        let mut taken = 0;
        loop {
            let before = out.len();
            taken += inflater.step(&piece[taken..], then, out)?;
            assert!(out.len() - before < 3 * STEP, "{}", out.len() - before);
            if taken == piece.len() {
                return Ok(());
            }
        }
    }

    #[test]
    fn pieces_make_one_body() {
        let body: Vec<u8> = (0..300_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let packed: Vec<u8> = body.chunks(400_000).flat_map(packed).collect();
        for size in [1, 7, 10_000, packed.len()] {
            let mut inflater = Inflater::new(200);
            let mut out = Vec::new();
            for piece in packed.chunks(size) {
                put(&mut inflater, piece, Then::More, &mut out).unwrap();
            }
            put(&mut inflater, b"", Then::End, &mut out).unwrap();
            assert!(out == body, "in pieces of {size}");
        }
        let cut = |bytes: &[u8]| {
            let mut out = Vec::new();
            put(&mut Inflater::new(200), bytes, Then::End, &mut out)
        };
        assert!(cut(b"not really gzip at all").is_err());
        assert!(cut(&packed[..100]).is_err());
        assert!(cut(b"").is_err());
    }

    #[test]
    fn much_out_of_little() {
        const MEMBER: usize = 1024 * 1024;
        let member = packed(&vec![0; MEMBER]);
        assert!(member.len() < MEMBER / 900);
        let unpack = |members: usize, most_times| {
            let mut out = Vec::new();
            let bomb = member.repeat(members);
            let done = put(&mut Inflater::new(most_times), &bomb, Then::End, &mut out);
            (done.map_err(|error| error.to_string()), out.len())
        };
        // Short ones are harmless.
        assert_eq!(unpack(7, 200), (Ok(()), 7 * MEMBER));
        assert_eq!(unpack(9, 0), (Ok(()), 9 * MEMBER));
        assert_eq!(unpack(9, 1100), (Ok(()), 9 * MEMBER));
        let (done, made) = unpack(12, 200);
        let told = done.unwrap_err();
        assert!(
            told.starts_with("it unpacks to more than 200 times its length"),
            "{told}"
        );
        assert!(made < 9 * MEMBER, "{made}");
    }
}
