//! Heads of answers in CGI's form: every prefix, and a head that grows.

use trine_gateway::cgi::{Head, Kind, Limits, Style};

use crate::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "a document",
        b"Content-Type: text/html\n\nhi",
        "200 Document Content-Type=text/html, 25 used",
    ),
    (
        "CRLF",
        b"Content-Type: text/html \r\nX:\r\n\r\nhi",
        "200 Document Content-Type=text/html X=, 32 used",
    ),
    (
        "a status",
        b"Status: 404 Not Found\r\nA: b\r\n\r\n",
        "404 'Not Found' Document A=b, 31 used",
    ),
    (
        "a status alone",
        b"Status: 204\n\n",
        "204 Document, 13 used",
    ),
    (
        "a local redirect",
        b"Location: /a?b\n\n",
        "200 LocalRedirect(/a?b) Location=/a?b, 16 used",
    ),
    (
        "a redirect of the client",
        b"Location: http://h/\n\n",
        "302 ClientRedirect(http://h/) Location=http://h/, 21 used",
    ),
    (
        "a redirect with a document",
        b"Status: 301 Moved\nlocation: /a\n\n",
        "301 'Moved' ClientRedirect(/a) location=/a, 32 used",
    ),
    (
        "a length",
        b"Content-Length: 12\n\n",
        "200 Document 12 long Content-Length=12, 20 used",
    ),
    (
        "several of a name",
        b"Set-Cookie: a\nSet-Cookie: b\n\n",
        "200 Document Set-Cookie=a Set-Cookie=b, 29 used",
    ),
    ("nothing", b"\nbody", "error NoField"),
    (
        "two states",
        b"Status: 200 OK\nStatus: 500 No\n\n",
        "error Status",
    ),
    ("a status that is none", b"Status: OK\n\n", "error Status"),
    (
        "a status with more digits",
        b"Status: 2000\n\n",
        "error Status",
    ),
    (
        "two locations",
        b"Location: /a\nLocation: /b\n\n",
        "error Location",
    ),
    ("no location", b"Location:\n\n", "error Location"),
    (
        "two lengths",
        b"Content-Length: 1\nContent-Length: 1\n\n",
        "error ContentLength",
    ),
    (
        "a length with a sign",
        b"Content-Length: +1\n\n",
        "error ContentLength",
    ),
    ("no colon", b"hello\n\n", "error HeaderName"),
    ("a folded line", b"A: b\n c\n\n", "error HeaderName"),
    ("a space before the colon", b"A : b\n\n", "error HeaderName"),
    ("a NUL", b"A: b\0c\n\n", "error HeaderValue"),
    ("a bare CR", b"A: b\rB: c\n\n", "error HeaderValue"),
    (
        "too many fields",
        b"a:\nb:\nc:\nd:\ne:\n\n",
        "error TooManyFields { max: 4 }",
    ),
    (
        "too large",
        b"A: 0123456789012345678901234567890123456789012345678901234567890123456789\n\n",
        "error HeadTooLarge { max: 64 }",
    ),
    (
        "HTTP where it is not said",
        b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
        "error HeaderName",
    ),
];

const HTTP: &[Row] = &[
    (
        "a status line",
        b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nx",
        "404 'Not Found' Document A=b, 32 used",
    ),
    (
        "a status line alone",
        b"HTTP/1.0 200\r\n\r\n",
        "200 Document, 16 used",
    ),
    (
        "fields",
        b"Status: 201 Made\r\n\r\n",
        "201 'Made' Document, 20 used",
    ),
    (
        "both",
        b"HTTP/1.1 200 OK\r\nStatus: 201 Made\r\n\r\n",
        "error Status",
    ),
    (
        "a version that is none",
        b"HTTP/x 200 OK\r\n\r\n",
        "error Status",
    ),
];

const LIMITS: Limits = Limits {
    bytes: 64,
    fields: 4,
};

fn parse(head: &mut Head, input: &[u8], style: Style) -> String {
    let used = match head.parse(input, style, &LIMITS) {
        Ok(None) => return "need more".to_owned(),
        Ok(Some(used)) => used,
        Err(error) => return format!("error {error:?}"),
    };
    let response = head.on(input);
    let mut out = response.status().to_string();
    if !response.reason().is_empty() {
        out += &format!(" '{}'", response.reason().escape_ascii());
    }
    out += &match response.kind() {
        Kind::Document => " Document".to_owned(),
        Kind::LocalRedirect(to) => format!(" LocalRedirect({})", to.escape_ascii()),
        Kind::ClientRedirect(to) => format!(" ClientRedirect({})", to.escape_ascii()),
    };
    if let Some(length) = response.content_length() {
        out += &format!(" {length} long");
    }
    for (name, value) in response.fields() {
        out += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
    }
    out + &format!(", {used} used")
}

#[test]
fn heads() {
    let styles = [(ROWS, Style::Cgi), (HTTP, Style::HttpOrCgi)];
    for (rows, style) in styles {
        for (rule, input, want) in rows {
            let mut used_before = Head::default();
            parse(
                &mut used_before,
                b"Status: 500 Before\nLocation: /x\n\n",
                style,
            );
            for cut in 0..input.len() {
                let early = parse(&mut used_before, &input[..cut], style);
                if early != "need more" {
                    assert_eq!(early, *want, "{rule}: {cut} bytes");
                    break;
                }
                let mut split = used_before.clone();
                assert_eq!(
                    parse(&mut split, input, style),
                    *want,
                    "{rule}: split at {cut}"
                );
            }
            assert_eq!(parse(&mut Head::default(), input, style), *want, "{rule}");
        }
    }
}
