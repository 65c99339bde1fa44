//! Response heads: one `check`, every prefix, every split.

use trine_http1::{Limits, ResponseError, ResponseHead};

use crate::Row;

fn parse(head: &mut ResponseHead, input: &[u8], method: &str) -> String {
    let used = match head.parse(input, &Limits::default()) {
        Ok(None) => return "need more".to_owned(),
        Ok(Some(used)) => used,
        Err(ResponseError::Head(error)) => return format!("error {error:?}"),
        Err(ResponseError::Framing(error)) => return format!("error {error:?}"),
        Err(error) => return format!("error {error:?}"),
    };
    let response = head.on(input);
    let mut out = format!("{} {}", response.version(), response.status());
    if !response.reason().is_empty() {
        out += &format!(" {}", response.reason().escape_ascii());
    }
    out += &format!(" {:?}", response.body(method));
    out += if response.keep_alive() {
        " keep"
    } else {
        " close"
    };
    if response.is_interim() {
        out += " interim";
    }
    if let Some(protocol) = response.upgrade() {
        out += &format!(" upgrade {}", protocol.escape_ascii());
    }
    for (name, value) in response.headers().filter(|(name, _)| name.len() == 1) {
        out += &format!(
            " {}={:?}",
            name.escape_ascii(),
            String::from_utf8_lossy(value)
        );
    }
    out + &format!(", {used} used")
}

/// As the `check` of requests: at once, in two parts, byte by byte on a head that was used before.
#[track_caller]
fn check_for(method: &str, input: &[u8], want: &str) {
    let shown = input.escape_ascii();
    assert_eq!(
        parse(&mut ResponseHead::default(), input, method),
        want,
        "input: {shown}"
    );

    let refused = want.starts_with("error");
    let mut grown = ResponseHead::default();
    parse(
        &mut grown,
        b"HTTP/1.1 101 Before\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        method,
    );
    for cut in 0..input.len() {
        let mut head = ResponseHead::default();
        let early = parse(&mut head, &input[..cut], method);
        assert!(
            early == "need more" || (refused && early == want),
            "{cut} bytes of {shown}: {early}"
        );
        if early == "need more" {
            assert_eq!(
                parse(&mut head, input, method),
                want,
                "split at {cut}: {shown}"
            );
            assert_eq!(
                parse(&mut grown, &input[..cut], method),
                early,
                "grown to {cut}: {shown}"
            );
        }
    }
    assert_eq!(parse(&mut grown, input, method), want, "grown: {shown}");
    if !refused {
        let pipelined = [input, b"HTTP/1.1 200 OK\r\n\r\n\0\xff"].concat();
        assert_eq!(
            parse(&mut ResponseHead::default(), &pipelined, method),
            want,
            "pipelined: {shown}"
        );
    }
}

#[rustfmt::skip] // A table is read by rows.
pub(crate) const ROWS: &[Row] = &[
    ("plain", b"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK UntilClose keep, 19 used"),
    ("1.0", b"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK UntilClose close, 19 used"),
    ("1.0 that stays",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.0 200 OK Known(2) keep, 62 used"),
    ("1.1 that goes",
        b"HTTP/1.1 200 OK\r\nconnection: CLOSE\r\n\r\n",
        "HTTP/1.1 200 OK UntilClose close, 38 used"),
    ("an empty reason", b"HTTP/1.1 404 \r\n\r\n", "HTTP/1.1 404 UntilClose keep, 17 used"),
    ("no reason", b"HTTP/1.1 404\r\n\r\n", "HTTP/1.1 404 UntilClose keep, 16 used"),
    ("3.3b a reason is passed through",
        b"HTTP/1.1 200 Ok  caf\xe9\t\r\n\r\n",
        "HTTP/1.1 200 Ok  caf\\xe9\\t UntilClose keep, 26 used"),
    ("an unusual status", b"HTTP/1.1 999 X\r\n\r\n", "HTTP/1.1 999 X UntilClose keep, 18 used"),
    ("chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK Chunked keep, 47 used"),
    ("5a obs-fold is replaced by SP",
        b"HTTP/1.1 200 OK\r\na: x \r\n\t y\r\nb: z\r\nc:\r\n \r\n\r\n",
        "HTTP/1.1 200 OK UntilClose keep a=\"x y\" b=\"z\" c=\"\", 44 used"),
    ("5a folded Transfer-Encoding",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        "HTTP/1.1 200 OK Chunked keep, 49 used"),
    ("5a 204 has no body", b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content Empty keep, 27 used"),
    ("5a 204 with a length is not used again",
        b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 X Empty close, 37 used"),
    ("5a 204 with a coding is not used again",
        b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 X Empty close, 46 used"),
    ("5a 204 with length 0",
        b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 X Empty keep, 37 used"),
    ("5a 304 with a length",
        b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 X Empty keep, 37 used"),
    ("5a 100 is interim",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 100 Continue Empty keep interim, 25 used"),
    ("5a 103 with fields",
        b"HTTP/1.1 103 X\r\nl: </a>\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 103 X Empty keep interim l=\"</a>\", 46 used"),
    ("5a 101 switches",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 X Empty close upgrade websocket, 59 used"),
    ("5a 101 without Upgrade",
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 X Empty close, 39 used"),
    ("5a Upgrade before 101",
        b"HTTP/1.1 200 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 200 X UntilClose keep, 53 used"),
    ("5a TE+CL",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "error BothLengths"),
    ("5a several CL",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "error ContentLengthTwice"),
    ("5a CL list", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "error ContentLength"),
    ("5a CL with a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "error ContentLength"),
    ("5a TE on 1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "error TransferEncodingOnHttp10"),
    ("5a gzip, chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "error UnsupportedCoding"),
    ("5a TE without chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "error TransferEncoding"),
    ("5a bytes before the response", b"\r\nHTTP/1.1 200 OK\r\n\r\n", "error StatusLine"),
    ("5a garbage before the response", b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "error StatusLine"),
    ("garbage without a line end", b"\x16\x03", "error StatusLine"),
    ("5a bare LF", b"HTTP/1.1 200 OK\nContent-Length: 1\n\n", "error BareLineFeed"),
    ("5a bare LF as the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\n", "error BareLineFeed"),
    ("5a bare CR in a value", b"HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", "error HeaderValue"),
    ("5a NUL in a value", b"HTTP/1.1 200 OK\r\na: b\0\r\n\r\n", "error HeaderValue"),
    ("5a control character in a folded line",
        b"HTTP/1.1 200 OK\r\na: b\r\n c\x0b\r\n\r\n",
        "error HeaderValue"),
    ("5a bare CR in a folded line", b"HTTP/1.1 200 OK\r\na: b\r\n c\r\r\n\r\n", "error HeaderValue"),
    ("5a space before the colon", b"HTTP/1.1 200 OK\r\na : b\r\n\r\n", "error HeaderName"),
    ("5a empty name", b"HTTP/1.1 200 OK\r\n: b\r\n\r\n", "error HeaderName"),
    ("white space before the first field", b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n", "error HeaderName"),
    ("2.0", b"HTTP/2.0 200 OK\r\n\r\n", "error UnsupportedVersion"),
    ("1.2", b"HTTP/1.2 200 OK\r\n\r\n", "error UnsupportedVersion"),
    ("ICY", b"ICY 200 OK\r\n\r\n", "error StatusLine"),
    ("3.1 no status", b"HTTP/1.1 None\r\n\r\n", "error StatusLine"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", "error StatusLine"),
    ("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n", "error StatusLine"),
    ("a status below 100", b"HTTP/1.1 099 OK\r\n\r\n", "error StatusLine"),
    ("two spaces", b"HTTP/1.1  200 OK\r\n\r\n", "error StatusLine"),
    ("a version only", b"HTTP/1.1\r\n\r\n", "error StatusLine"),
    ("control character in the reason", b"HTTP/1.1 200 O\x0bK\r\n\r\n", "error StatusLine"),
    ("bare CR in the reason", b"HTTP/1.1 200 O\rK\r\n\r\n", "error StatusLine"),
];

#[test]
fn responses() {
    for (rule, input, want) in ROWS {
        println!("{rule}");
        check_for("GET", input, want);
    }
}

#[test]
fn the_request_method_decides_about_the_body() {
    let known = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    check_for("HEAD", known, "HTTP/1.1 200 OK Empty keep, 38 used");
    check_for("CONNECT", known, "HTTP/1.1 200 OK Empty keep, 38 used");
    check_for("POST", known, "HTTP/1.1 200 OK Known(5) keep, 38 used");
    let refused = b"HTTP/1.1 405 X\r\nContent-Length: 5\r\n\r\n";
    check_for("CONNECT", refused, "HTTP/1.1 405 X Known(5) keep, 37 used");
    check_for(
        "HEAD",
        b"HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK Empty keep, 19 used",
    );
}

#[test]
fn the_length_of_a_body_that_does_not_come_can_be_read() {
    let input = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n";
    let mut head = ResponseHead::default();
    head.parse(input, &Limits::default()).unwrap().unwrap();
    let response = head.on(input);
    assert_eq!(response.content_length(), Some(5));
    assert_eq!(response.get("etag"), Some(&b"x"[..]));
    assert_eq!(response.get_all("content-length").count(), 1);
}
