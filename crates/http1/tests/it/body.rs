//! Bodies: one `check` that decodes at once, in two parts and byte by byte.

use trine_http1::body::{MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES, MAX_TRAILER_COUNT};
use trine_http1::{BodyDecoder, BodyError, BodyLength, Decoded};

use crate::Row;

/// What came out of a body, however it was cut.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    content: Vec<u8>,
    used: usize,
    error: Option<BodyError>,
}

impl Outcome {
    /// Gives `input` to the decoder as the connection would: what it did not consume is given again
    /// with more.
    fn of(decoder: &mut BodyDecoder, pieces: &[&[u8]]) -> Self {
        let mut outcome = Self::default();
        let mut waiting = Vec::new();
        for piece in pieces {
            waiting.extend_from_slice(piece);
            loop {
                let Decoded {
                    consumed,
                    data,
                    done,
                } = match decoder.decode(&waiting) {
                    Ok(decoded) => decoded,
                    Err(error) => {
                        assert_eq!(decoder.decode(&waiting), Err(error), "an error stays");
                        return Self {
                            error: Some(error),
                            ..outcome
                        };
                    }
                };
                assert_eq!(done, decoder.is_done());
                outcome
                    .content
                    .extend_from_slice(&waiting[..consumed][data]);
                outcome.used += consumed;
                waiting.drain(..consumed);
                if consumed == 0 {
                    assert!(
                        done || waiting.is_empty(),
                        "bytes are left although more are needed"
                    );
                    break;
                }
            }
        }
        outcome
    }

    fn render(&self, decoder: &mut BodyDecoder) -> String {
        let mut out = format!("{:?}", String::from_utf8_lossy(&self.content));
        for (name, value) in decoder.trailers() {
            out += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
        }
        match self.error {
            Some(error) => out + &format!(" {error:?}"),
            None if decoder.is_done() => out + &format!(", {} used", self.used),
            None => match decoder.eof() {
                Ok(()) => out + " until close",
                Err(error) => out + &format!(" {error:?}"),
            },
        }
    }
}

#[track_caller]
fn check_for(length: BodyLength, input: &[u8], want: &str) {
    let run = |pieces: &[&[u8]]| {
        let mut decoder = BodyDecoder::new(length);
        Outcome::of(&mut decoder, pieces).render(&mut decoder)
    };
    let shown = input.escape_ascii();
    assert_eq!(run(&[input]), want, "input: {shown}");
    for cut in 0..input.len() {
        assert_eq!(
            run(&[&input[..cut], &input[cut..]]),
            want,
            "split at {cut}: {shown}"
        );
    }
    assert_eq!(
        run(&input.chunks(1).collect::<Vec<_>>()),
        want,
        "byte by byte: {shown}"
    );
}

#[track_caller]
fn check(input: &[u8], want: &str) {
    check_for(BodyLength::Chunked, input, want);
    // Every prefix of a good body is a body cut short.
    if let Some(used) = want
        .strip_suffix(" used")
        .and_then(|want| want.rsplit(", ").next())
    {
        let used: usize = used.parse().expect("a number of bytes");
        for cut in 0..used {
            let mut decoder = BodyDecoder::new(BodyLength::Chunked);
            let outcome = Outcome::of(&mut decoder, &[&input[..cut]]);
            assert_eq!(
                (outcome.error, outcome.used),
                (None, cut),
                "{cut} bytes of {}",
                input.escape_ascii()
            );
            assert_eq!(
                decoder.eof(),
                Err(BodyError::Truncated),
                "{cut} bytes of {}",
                input.escape_ascii()
            );
        }
    }
}

#[rustfmt::skip] // A table is read by rows.
pub(crate) const CHUNKED: &[Row] = &[
    ("no content", b"0\r\n\r\n", "\"\", 5 used"),
    ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", "\"hello\", 15 used"),
    ("two chunks", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "\"abcde\", 20 used"),
    ("what follows is left", b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "\"a\", 11 used"),
    ("content that looks like framing",
        b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "\"\\r\\n0\\r\\n\\r\\n\", 17 used"),
    ("hex digits of both cases",
        b"0A\r\n0123456789\r\n00b\r\n0123456789a\r\n000\r\n\r\n",
        "\"01234567890123456789a\", 41 used"),
    ("an extension", b"1;a=b\r\nx\r\n0;c=\"d;\xe9\"\r\n\r\n", "\"x\", 23 used"),
    ("white space around an extension", b"1 \t; a = b ;c\r\nx\r\n0\r\n\r\n", "\"x\", 23 used"),
    ("an empty extension", b"1;\r\nx\r\n0\r\n\r\n", "\"x\", 12 used"),
    ("trailers", b"1\r\nx\r\n0\r\nChecksum: abc \r\nb:\r\n\r\n", "\"x\" Checksum=abc b=, 31 used"),
    ("trailers without content", b"0\r\na: b\r\n\r\nGET", "\"\" a=b, 11 used"),
    // 1.8 and 5a chunk sizes
    ("5a chunk size with 0x", b"0x3\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("5a chunk size with plus", b"+3\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("5a chunk size with minus", b"-3\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("5a chunk size with underscore", b"1_0\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("1.8 chunk size not hex", b"g\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("1.8 empty chunk size", b"\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("1.8 extension without a chunk size", b";a\r\n\r\n", "\"\" ChunkSize"),
    ("space before the chunk size", b" 3\r\nabc\r\n0\r\n\r\n", "\"\" ChunkSize"),
    ("NUL in the chunk size", b"3\0\r\nabc\r\n", "\"\" ChunkSize"),
    ("5a the largest chunk size", b"ffffffffffffffff\r\nabc", "\"abc\" Truncated"),
    ("5a chunk size overflow", b"10000000000000000\r\nabc", "\"\" ChunkSize"),
    ("5a chunk size of 17 digits", b"00000000000000003\r\nabc", "\"\" ChunkSize"),
    ("5a space behind the chunk size", b"3 \r\nabc\r\n0\r\n\r\n", "\"\" ChunkExtension"),
    // 1.8 and 5a line ends and extensions
    ("5a bare LF behind the chunk size", b"3\nabc\r\n0\r\n\r\n", "\"\" LineEnd"),
    ("5a bare CR behind the chunk size", b"3\rabc\r\n0\r\n\r\n", "\"\" LineEnd"),
    ("5a LF in an extension", b"3;a\nabc\r\n0\r\n\r\n", "\"\" LineEnd"),
    ("5a bare CR in an extension", b"3;a\rb\r\nabc\r\n", "\"\" LineEnd"),
    ("1.8 NUL in an extension", b"3;a\0\r\nabc\r\n", "\"\" ChunkExtension"),
    ("1.8 DEL in an extension", b"3;a\x7f\r\nabc\r\n", "\"\" ChunkExtension"),
    ("1.8 missing CRLF", b"3\r\nabc0\r\n\r\n", "\"abc\" LineEnd"),
    ("1.8 over-long", b"3\r\nabcd\r\n0\r\n\r\n", "\"abc\" LineEnd"),
    ("5a bare LF behind a chunk", b"3\r\nabc\n0\r\n\r\n", "\"abc\" LineEnd"),
    ("5a bare CR behind a chunk", b"3\r\nabc\r0\r\n\r\n", "\"abc\" LineEnd"),
    ("5a bare LF behind the last chunk", b"0\n\r\n", "\"\" LineEnd"),
    ("5a bare LF as the last line", b"0\r\n\n", "\"\" LineEnd"),
    ("5a bare CR as the last line", b"0\r\n\rX", "\"\" LineEnd"),
    ("content in front of a fault is handed out", b"1\r\na\r\n1\r\nb\r\nz", "\"ab\" ChunkSize"),
    // 1.8 trailers
    ("1.8 trailer Host", b"0\r\nHost: a\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("1.8 trailer Content-Length", b"0\r\ncontent-length: 5\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("1.8 trailer Transfer-Encoding", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("1.8 trailer Trailer", b"0\r\na: b\r\nTrailer: a\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("1.8 trailer Authorization", b"0\r\nAuthorization: Basic eDp5\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("trailer Connection", b"0\r\nConnection: close\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("trailer Set-Cookie", b"0\r\nSet-Cookie: a=b\r\n\r\n", "\"\" ForbiddenTrailer"),
    ("5a bare LF behind a trailer", b"0\r\na: b\n\r\n", "\"\" LineEnd"),
    ("5a bare CR in a trailer", b"0\r\na: b\rc\r\n\r\n", "\"\" LineEnd"),
    ("5a NUL in a trailer", b"0\r\na: b\0\r\n\r\n", "\"\" Trailer"),
    ("5a obs-fold in the trailers", b"0\r\na: b\r\n c\r\n\r\n", "\"\" Trailer"),
    ("5a space before a trailer's colon", b"0\r\na : b\r\n\r\n", "\"\" Trailer"),
    ("a trailer without a colon", b"0\r\nGET / HTTP/1.1\r\n\r\n", "\"\" Trailer"),
    // 1.8 "Body shorter", 5a "closes early"
    ("5a closed within a chunk", b"5\r\nhel", "\"hel\" Truncated"),
    ("5a closed before the last chunk", b"5\r\nhello\r\n", "\"hello\" Truncated"),
    ("5a closed before the last line", b"5\r\nhello\r\n0\r\n", "\"hello\" Truncated"),
];

#[test]
fn chunked_bodies() {
    for (rule, input, want) in CHUNKED {
        println!("{rule}");
        check(input, want);
    }
}

#[test]
fn bodies_of_known_length() {
    check_for(BodyLength::Empty, b"GET", "\"\", 0 used");
    check_for(BodyLength::Known(0), b"GET", "\"\", 0 used");
    check_for(BodyLength::Known(5), b"helloGET", "\"hello\", 5 used");
    // 1.8 "Body shorter than Content-Length then EOF", 5a "upstream closes early on CL body"
    check_for(BodyLength::Known(5), b"hell", "\"hell\" Truncated");
    check_for(BodyLength::Known(u64::MAX), b"hell", "\"hell\" Truncated");
    check_for(
        BodyLength::UntilClose,
        b"0\r\n\r\n",
        "\"0\\r\\n\\r\\n\" until close",
    );
    check_for(BodyLength::UntilClose, b"", "\"\" until close");
}

#[test]
fn one_call_takes_one_piece_with_the_framing_around_it() {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let input = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET";
    assert_eq!(
        decoder.decode(input),
        Ok(Decoded {
            consumed: 11,
            data: 3..6,
            done: false
        })
    );
    assert_eq!(decoder.remaining(), 2);
    assert_eq!(
        decoder.decode(&input[11..]),
        Ok(Decoded {
            consumed: 9,
            data: 0..2,
            done: true
        })
    );
    assert_eq!(
        decoder.decode(b"GET"),
        Ok(Decoded {
            consumed: 0,
            data: 0..0,
            done: true
        })
    );
    assert_eq!((decoder.remaining(), decoder.eof()), (0, Ok(())));
}

fn chunked_error(input: &[u8]) -> Option<BodyError> {
    Outcome::of(&mut BodyDecoder::new(BodyLength::Chunked), &[input]).error
}

#[test]
fn extensions_are_limited_over_the_whole_body() {
    let chunk = [b"1;".to_vec(), vec![b'x'; 1024], b"\r\na\r\n".to_vec()].concat();
    let full = chunk.repeat(MAX_EXTENSION_BYTES / 1024);
    assert_eq!(chunked_error(&[&full[..], b"0;\r\n\r\n"].concat()), None);
    assert_eq!(
        chunked_error(&[&full[..], b"0;x\r\n\r\n"].concat()),
        Some(BodyError::ChunkExtensionsTooLarge)
    );
    let spaces = [b"1".to_vec(), vec![b' '; MAX_EXTENSION_BYTES + 2]].concat();
    assert_eq!(
        chunked_error(&spaces),
        Some(BodyError::ChunkExtensionsTooLarge)
    );
}

#[test]
fn trailers_are_limited_in_size_and_number() {
    let sized = |len: usize| {
        [
            b"0\r\na:".to_vec(),
            vec![b'x'; len - 4],
            b"\r\n\r\n".to_vec(),
        ]
        .concat()
    };
    assert_eq!(chunked_error(&sized(MAX_TRAILER_BYTES)), None);
    assert_eq!(
        chunked_error(&sized(MAX_TRAILER_BYTES + 1)),
        Some(BodyError::TrailersTooLarge)
    );
    let counted = |count: usize| format!("0\r\n{}\r\n", "a:b\r\n".repeat(count)).into_bytes();
    assert_eq!(chunked_error(&counted(MAX_TRAILER_COUNT)), None);
    assert_eq!(
        chunked_error(&counted(MAX_TRAILER_COUNT + 1)),
        Some(BodyError::TrailersTooLarge)
    );
    assert_eq!(BodyError::TrailersTooLarge.status(), 431);
    assert_eq!(BodyError::ChunkSize.status(), 400);
}
