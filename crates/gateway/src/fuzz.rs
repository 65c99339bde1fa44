//! What must hold for any bytes: the entries of the fuzzers in `tests/fuzz`, which `cargo test` runs on the corpus.
//! Each panics where an invariant is broken.
//! Not here: what particular bytes mean; the tables of `tests/it` tell that.

use crate::cgi::{Head, Limits, Style};
use crate::fastcgi::{self, Answer, Client, Event, Kind, Params, Server};
use crate::{Error, scgi, uwsgi};

/// Small, so that a fuzzer reaches it.
const MOST: usize = 2000;

/// Everything that a connection gave, with an error at its end.
type Told = (Vec<String>, Option<Error>);

fn server_told(input: &[u8], size: usize) -> (Told, Vec<u8>) {
    let mut server = Server::new(MOST, 7);
    let (mut told, mut replies, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let mut pending = Vec::new();
    for part in input.chunks(size) {
        pending.extend_from_slice(part);
        loop {
            let (event, used) = match server.advance(&pending, &mut replies) {
                Ok(result) => result,
                Err(error) => return ((told, Some(error)), replies),
            };
            assert!(used <= pending.len());
            let more = event != Event::More;
            match event {
                Event::More => {}
                Event::Request => {
                    let params: Vec<_> = server.params().collect();
                    told.push(format!("{} {:?} {params:?}", server.id(), server.role()));
                }
                Event::Body(data) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(data);
                }
                Event::BodyEnd | Event::Abort => {
                    told.push(format!("{event:?} {body:?}"));
                    body.clear();
                    server.finish();
                }
                Event::Refused { .. } => told.push(format!("{event:?}")),
            }
            pending.drain(..used);
            if !more {
                break;
            }
        }
        assert!(pending.len() < 8 + 4096, "bytes pile up");
    }
    ((told, None), replies)
}

/// An application reads the same however the bytes arrive, and its replies are records.
pub fn fastcgi_server(input: &[u8]) {
    let (whole, replies) = server_told(input, input.len().max(1));
    for size in [1, 3, 16] {
        assert_eq!(server_told(input, size), (whole.clone(), replies.clone()));
    }
    let mut reader = fastcgi::Reader::default();
    let mut at = 0;
    while let (Some(piece), used) = reader.next(&replies[at..]).expect("our own records") {
        assert!(matches!(piece, fastcgi::Piece::Whole { .. }));
        at += used;
    }
    assert_eq!(at, replies.len());
}

fn client_told(input: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Vec<String>, Option<Error>) {
    let mut client = Client::new(1);
    let (mut stdout, mut stderr, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let mut pending = Vec::new();
    for part in input.chunks(size) {
        pending.extend_from_slice(part);
        loop {
            let (answer, used) = match client.advance(&pending) {
                Ok(result) => result,
                Err(error) => return (stdout, stderr, told, Some(error)),
            };
            let more = answer != Answer::More;
            match answer {
                Answer::More => {}
                Answer::Stdout(data) => stdout.extend_from_slice(data),
                Answer::Stderr(data) => stderr.extend_from_slice(data),
                Answer::Values(_) | Answer::End { .. } => told.push(format!("{answer:?}")),
            }
            pending.drain(..used);
            if !more {
                break;
            }
        }
    }
    (stdout, stderr, told, None)
}

/// A web server reads the same however the bytes arrive.
pub fn fastcgi_client(input: &[u8]) {
    let whole = client_told(input, input.len().max(1));
    for size in [1, 3, 16] {
        assert_eq!(client_told(input, size), whole);
    }
}

/// Variables read the same after they were written again.
pub fn fastcgi_params(input: &[u8]) {
    let Ok(pairs) = Params::new(input).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let mut written = Vec::new();
    fastcgi::write_params(&mut written, 1, pairs.iter().copied());
    let mut server = Server::new(usize::MAX, 1);
    let mut begin = Vec::new();
    fastcgi::write_begin(&mut begin, 1, fastcgi::Role::Responder, false);
    begin.append(&mut written);
    fastcgi::write_end_stream(&mut begin, Kind::STDIN, 1);
    let (event, _) = server
        .advance(&begin, &mut Vec::new())
        .expect("our own records");
    assert_eq!(event, Event::Request);
    let again: Result<Vec<_>, _> = server.params().collect();
    assert_eq!(again.as_deref(), Ok(&pairs[..]));
}

/// A packet of uwsgi comes to the same result however it arrives, and reads the same after it was written again.
pub fn uwsgi(input: &[u8]) {
    let whole = uwsgi::decode(input, MOST);
    let used_of = |bytes: &[u8]| Ok(uwsgi::decode(bytes, MOST)?.map(|(_, used)| used));
    assert_eq!(grow(input, used_of), used_of(input));
    let Ok(Some((packet, used))) = whole else {
        return;
    };
    assert!(used <= input.len() && used <= MOST + 4);
    let pairs = packet.vars().map(|pair| pair.expect("checked by decode"));
    let mut written = Vec::new();
    uwsgi::write(&mut written, packet.modifier1, packet.modifier2, pairs).expect("it came so");
    assert_eq!(written, input[..used]);
}

/// The same for SCGI.
pub fn scgi(input: &[u8]) {
    let whole = scgi::decode(input, MOST);
    let used_of = |bytes: &[u8]| Ok(scgi::decode(bytes, MOST)?.map(|(_, used)| used));
    assert_eq!(grow(input, used_of), used_of(input));
    let Ok(Some((vars, used))) = whole else {
        return;
    };
    assert!(used <= input.len());
    let pairs: Vec<_> = vars.map(|pair| pair.expect("checked by decode")).collect();
    let mut written = Vec::new();
    scgi::write(&mut written, 5, pairs.iter().copied());
    let (again, _) = scgi::decode(&written, usize::MAX)
        .expect("our own netstring")
        .expect("whole");
    let ours = |pair: &(&[u8], &[u8])| pair.0 == b"CONTENT_LENGTH" || pair.0 == b"SCGI";
    let again: Vec<_> = again.flatten().filter(|pair| !ours(pair)).collect();
    let before: Vec<_> = pairs.into_iter().filter(|pair| !ours(pair)).collect();
    assert_eq!(again, before);
}

/// The head of an answer comes to the same result however it arrives.
pub fn cgi(input: &[u8]) {
    let limits = Limits {
        bytes: 1000,
        fields: 16,
    };
    for style in [Style::Cgi, Style::HttpOrCgi] {
        let mut head = Head::default();
        let whole = head.parse(input, style, &limits);
        let mut grown = Head::default();
        let arrived = grow(input, |bytes| grown.parse(bytes, style, &limits));
        assert_eq!(whole.ok(), arrived.ok());
        let Ok(Some(used)) = whole else { continue };
        assert!(used <= input.len() && used <= limits.bytes);
        let response = head.on(input);
        assert!((100..1000).contains(&response.status()));
        for (name, value) in response.fields() {
            assert!(!name.is_empty() && name.is_ascii());
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
        assert!(response.fields().eq(grown.on(input).fields()));
    }
}

/// Gives ever longer prefixes until there is a result.
fn grow(
    input: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<Option<usize>, Error>,
) -> Result<Option<usize>, Error> {
    let mut end = 0;
    while end < input.len() {
        match parse(&input[..end]) {
            Ok(None) => end += 1 + end / 64,
            result => return result,
        }
    }
    parse(input)
}
