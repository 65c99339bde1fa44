//! Limits of heads: reached is fine, one more is not, however the bytes arrive.

use trine_http1::{Limits, Policy, RequestHead, ResponseHead};

const LIMITS: Limits = Limits {
    request_line: 20,
    header_line: 10,
    header_count: 3,
    head: 60,
};

/// Parses `input` at once and with one byte more at a time.
#[track_caller]
fn check(input: &[u8], want: &str) {
    let policy = Policy {
        permit_obsolete_folding: true,
        ..Policy::default()
    };
    let render = |result: Result<Option<usize>, trine_http1::RequestError>| match result {
        Ok(Some(used)) => format!("{used} used"),
        Ok(None) => "need more".to_owned(),
        Err(error) => format!("{} {error}", error.status()),
    };
    let whole = render(RequestHead::default().parse(input, &LIMITS, &policy));
    assert_eq!(whole, want, "input: {}", input.escape_ascii());
    let mut head = RequestHead::default();
    let grown = (0..=input.len()).map(|end| render(head.parse(&input[..end], &LIMITS, &policy)));
    let first = grown.into_iter().find(|result| result != "need more");
    assert_eq!(
        first.as_deref().unwrap_or("need more"),
        want,
        "grown: {}",
        input.escape_ascii()
    );
}

#[test]
fn request_line_over_limit_is_414() {
    check(b"GET /345678 HTTP/1.0\r\n\r\n", "24 used");
    check(b"GET /345678 HTTP/1.0\r", "need more");
    check(
        b"GET /3456789 HTTP/1.0\r\n\r\n",
        "414 the first line is longer than 20 bytes",
    );
    check(
        b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "414 the first line is longer than 20 bytes",
    );
}

#[test]
fn header_size_and_count_over_limit_are_431() {
    check(b"GET / HTTP/1.0\r\na: 4567890\r\n\r\n", "30 used");
    check(b"GET / HTTP/1.0\r\na: 4567890\r", "need more");
    check(
        b"GET / HTTP/1.0\r\na: 45678901\r\n\r\n",
        "431 a header line is longer than 10 bytes",
    );
    check(
        b"GET / HTTP/1.0\r\na: 456789012345678",
        "431 a header line is longer than 10 bytes",
    );
    check(b"GET / HTTP/1.0\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n", "36 used");
    check(
        b"GET / HTTP/1.0\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n",
        "431 there are more than 3 headers",
    );
}

#[test]
fn folded_lines_count_for_their_field() {
    check(
        b"GET / HTTP/1.0\r\na: 4\r\n 789\r\nb: 4567890\r\n\r\n",
        "42 used",
    );
    check(
        b"GET / HTTP/1.0\r\na: 4\r\n 7890\r\n\r\n",
        "431 a header line is longer than 10 bytes",
    );
    check(
        b"GET / HTTP/1.0\r\na: 4\r\n 7\r\n 012",
        "431 a header line is longer than 10 bytes",
    );
}

#[test]
fn head_over_limit_is_431() {
    let full = b"\r\nGET /345678 HTTP/1.0\r\na: 4567890\r\nb: 4567890\r\nc: 45678\r\n\r\n";
    assert_eq!(full.len(), LIMITS.head);
    check(full, "60 used");
    check(
        &[&full[..], b"a body is not part of it"].concat(),
        "60 used",
    );
    check(
        b"\r\nGET /345678 HTTP/1.0\r\na: 4567890\r\nb: 4567890\r\nc: 456789\r\n\r\n",
        "431 the head is larger than 60 bytes",
    );
    check(
        b"\r\n\r\nGET /345678 HTTP/1.0\r\na: 4567890\r\nb: 4567890\r\nc: 456789\r\nd",
        "431 the head is larger than 60 bytes",
    );
}

#[test]
fn the_defaults_hold_what_the_manual_says() {
    let line = format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(8190 - 14));
    let fields = format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(100));
    let parse = |text: &str| {
        RequestHead::default().parse(text.as_bytes(), &Limits::default(), &Policy::default())
    };
    assert_eq!(parse(&line), Ok(Some(8194)));
    assert_eq!(
        parse(&line.replace(" H", "a H")).map_err(|error| error.status()),
        Err(414)
    );
    assert_eq!(parse(&fields), Ok(Some(618)));
    assert_eq!(
        parse(&format!("GET / HTTP/1.0\r\na: b\r\n{}", &fields[16..]))
            .map_err(|error| error.status()),
        Err(431)
    );
}

#[test]
fn responses_keep_the_same_limits() {
    let parse = |text: &[u8]| {
        let result = ResponseHead::default().parse(text, &LIMITS);
        result.map_err(|error| error.to_string())
    };
    assert_eq!(
        parse(b"HTTP/1.1 200 4567890\r\na: 4567890\r\n\r\n"),
        Ok(Some(36))
    );
    assert_eq!(
        parse(b"HTTP/1.1 200 45678901\r\n"),
        Err("the first line is longer than 20 bytes".to_owned())
    );
    assert_eq!(
        parse(b"HTTP/1.1 200 OK\r\na: 45678901"),
        Err("a header line is longer than 10 bytes".to_owned())
    );
}

/// A head that arrives in small pieces must not cost the square of its size: this would take
/// minutes.
#[test]
fn repeated_calls_search_each_byte_once() {
    let limits = Limits {
        request_line: usize::MAX,
        head: usize::MAX,
        ..Limits::default()
    };
    let input = [b"GET /".to_vec(), vec![b'a'; 4 << 20]].concat();
    let mut head = RequestHead::default();
    for end in (0..input.len()).step_by(16) {
        assert_eq!(
            head.parse(&input[..end], &limits, &Policy::default()),
            Ok(None)
        );
    }
}
