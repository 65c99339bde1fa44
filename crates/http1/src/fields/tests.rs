//! Field lines against a second opinion, and the ways to read them against each other.

use super::*;

/// What `httparse` makes of the same lines.
fn peer(lines: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(lines, &mut found) {
        Ok(httparse::Status::Complete((_, found))) => Some(
            found
                .iter()
                .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()))
                .collect(),
        ),
        _ => None,
    }
}

fn ours(lines: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields = Fields::default();
    fields.parse_lines(lines, lines, 999, 99).ok()?;
    let all = fields.iter(lines);
    Some(
        all.map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    )
}

#[test]
fn every_byte_everywhere_is_read_as_httparse_reads_it() {
    let heads: [&[u8]; 4] = [
        b"Host: a\r\n\r\n",
        b"A:\r\nLonger-Name_1: \t two words and a tab\tin between \t\r\nB:x\r\n\r\n",
        b"X: \xe4\xff 0123456789012345678901234567890123456789\r\n\r\n",
        b"a: \r\nbb:  \t \r\nccc:1\r\ndddd: 12345678\r\n\r\n",
    ];
    for head in heads {
        assert!(ours(head).is_some());
        for at in 0..head.len() - 2 {
            for byte in 0..=255 {
                let mut changed = head.to_vec();
                changed[at] = byte;
                let lines = changed.windows(2).filter(|two| two == b"\r\n").count();
                let bare = changed.iter().filter(|byte| **byte == b'\n').count() != lines;
                let early = changed.windows(4).position(|four| four == b"\r\n\r\n");
                // What `Scan` never lets through.
                if bare || changed.starts_with(b"\r\n") || early != Some(changed.len() - 4) {
                    continue;
                }
                let shown = changed.escape_ascii().to_string();
                assert_eq!(ours(&changed), peer(&changed), "{shown}");
            }
        }
    }
}

#[test]
fn a_name_is_found_in_any_case_and_only_if_it_is_there() {
    let lines = b"Content-Type: a\r\nX-ACCEL-Buffering: no\r\ncontent-type: b\r\n\r\n";
    let mut fields = Fields::default();
    fields.parse_lines(lines, lines, 999, 99).unwrap();
    let all = |name: &str| -> Vec<&[u8]> { fields.likely(lines, name).named(name).collect() };
    assert_eq!(all("CONTENT-TYPE"), [b"a", b"b"]);
    assert_eq!(all("x-accel-buffering"), [b"no"]);
    assert!(all("x-accel-redirect").is_empty() && all("").is_empty());
}

/// What is made of a head that comes whole, and of one that comes in two parts and so goes through `Scan`.
#[test]
fn one_pass_and_two_come_to_the_same() {
    use crate::{Policy, RequestHead};
    let head = b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y:  1 2\t\r\nAccept:\r\n\r\n";
    let limits = Limits {
        request_line: 17,
        header_line: 11,
        header_count: 3,
        head: head.len(),
    };
    let read = |head: &[u8], limits: &Limits, split: bool| {
        let mut parsed = RequestHead::default();
        let policy = Policy::default();
        if split && head.len() > 1 {
            // What is wrong with the first byte may be told at once.
            if parsed.parse(&head[..1], limits, &policy).is_err() {
                return "Err(early)".to_owned();
            }
        }
        let done = parsed.parse(head, limits, &policy);
        let request = parsed.on(head);
        match done {
            Ok(Some(_)) => format!(
                "{done:?} {:?} {:?}",
                request.target(),
                request.headers().collect::<Vec<_>>()
            ),
            done => format!("{done:?}"),
        }
    };
    assert!(read(head, &limits, false).starts_with("Ok(Some("));
    let small = |change: fn(&mut Limits)| {
        let mut limits = limits;
        change(&mut limits);
        limits
    };
    let all = [
        limits,
        small(|limits| limits.request_line -= 1),
        small(|limits| limits.header_line -= 1),
        small(|limits| limits.header_count -= 1),
        small(|limits| limits.head -= 1),
    ];
    for limits in all {
        for at in 0..head.len() {
            for byte in 0..=255 {
                let mut changed = head.to_vec();
                changed[at] = byte;
                let (one, two) = (
                    read(&changed, &limits, false),
                    read(&changed, &limits, true),
                );
                let early = one.starts_with("Err(") && two == "Err(early)";
                assert!(
                    one == two || early,
                    "{one} {two} {}",
                    changed.escape_ascii()
                );
            }
            assert_eq!(
                read(&head[..at], &limits, false),
                read(&head[..at], &limits, true)
            );
        }
    }
}
