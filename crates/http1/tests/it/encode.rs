//! What is written is read back as the same.

use trine_http1::{
    BodyDecoder, BodyLength, CHUNK_END, EncodeError, LAST_CHUNK, Limits, Policy, RequestError,
    RequestHead, ResponseHead, Version, check_header_name, check_header_value, connection_options,
    default_reason, is_hop_by_hop, is_token, trim_ows, write_chunk_head, write_header,
    write_request_line, write_status_line,
};

const FIELDS: [(&[u8], &[u8]); 4] = [
    (b"Host", b"example.org:80"),
    (b"X-Empty", b""),
    (b"x_y", b"a \t b, c"),
    (b"Latin", b"caf\xe9"),
];

fn fields_of(out: &mut Vec<u8>) {
    for (name, value) in FIELDS {
        assert_eq!(
            (check_header_name(name), check_header_value(value)),
            (Ok(()), Ok(()))
        );
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

#[test]
fn request_heads_are_read_back() {
    for (method, target, version) in [
        ("GET", &b"/a?b=c"[..], Version::Http11),
        ("OPTIONS", b"*", Version::Http10),
        ("PROPFIND", b"http://h/", Version::Http11),
    ] {
        let mut out = Vec::new();
        write_request_line(&mut out, method, target, version);
        fields_of(&mut out);
        let mut head = RequestHead::default();
        assert_eq!(
            head.parse(&out, &Limits::default(), &Policy::default()),
            Ok(Some(out.len()))
        );
        let request = head.on(&out);
        assert_eq!(
            (request.method(), request.target(), request.version()),
            (method, target, version)
        );
        assert!(request.headers().eq(FIELDS));
    }
}

#[test]
fn response_heads_are_read_back() {
    for (status, reason) in [
        (200, &b"OK"[..]),
        (100, b""),
        (999, b"Any thing"),
        (302, b"caf\xe9"),
    ] {
        for version in [Version::Http10, Version::Http11] {
            let mut out = Vec::new();
            write_status_line(&mut out, version, status, reason);
            fields_of(&mut out);
            let mut head = ResponseHead::default();
            assert_eq!(head.parse(&out, &Limits::default()), Ok(Some(out.len())));
            let response = head.on(&out);
            assert_eq!(
                (response.status(), response.reason(), response.version()),
                (status, reason, version)
            );
            assert!(response.headers().eq(FIELDS));
        }
    }
}

#[test]
fn chunks_are_read_back() {
    for len in [1, 9, 10, 15, 16, 255, 256, 4096, 65_535, 70_000] {
        let content = vec![b'x'; len];
        let mut out = Vec::new();
        write_chunk_head(&mut out, len);
        assert_eq!(out, format!("{len:x}\r\n").into_bytes());
        out.extend_from_slice(&content);
        out.extend_from_slice(CHUNK_END);
        out.extend_from_slice(LAST_CHUNK);
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let decoded = decoder.decode(&out).unwrap();
        assert_eq!((decoded.consumed, decoded.done), (out.len(), true));
        assert_eq!(out[decoded.data], content);
    }
    let mut out = Vec::new();
    write_chunk_head(&mut out, usize::MAX);
    assert_eq!(out, format!("{:x}\r\n", usize::MAX).into_bytes());
}

#[test]
fn names_and_values_that_must_not_be_written() {
    for name in [&b""[..], b"a b", b"a:", b"a\r\n", b"\xe9", b"a\0"] {
        assert_eq!(
            check_header_name(name),
            Err(EncodeError::HeaderName),
            "{}",
            name.escape_ascii()
        );
    }
    for value in [
        &b"a\r\nb: c"[..],
        b"a\n",
        b"\r",
        b"\0",
        b"\x7f",
        b" a",
        b"a\t",
        b" ",
    ] {
        assert_eq!(
            check_header_value(value),
            Err(EncodeError::HeaderValue),
            "{}",
            value.escape_ascii()
        );
    }
}

#[test]
fn names_that_belong_to_one_hop() {
    let hop = [
        "Connection",
        "KEEP-ALIVE",
        "te",
        "Upgrade",
        "Transfer-Encoding",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "proxy-authorization",
        "HTTP2-Settings",
    ];
    assert!(hop.iter().all(|name| is_hop_by_hop(name.as_bytes())));
    let end_to_end = [
        "Host",
        "Trailer",
        "Content-Length",
        "Cookie",
        "",
        "tf",
        "connectiom",
    ];
    assert!(!end_to_end.iter().any(|name| is_hop_by_hop(name.as_bytes())));
}

#[test]
fn lists_tokens_and_white_space() {
    let options: Vec<_> = connection_options(b" close,,\tX-A , keep-alive,").collect();
    assert_eq!(options, [&b"close"[..], b"X-A", b"keep-alive"]);
    assert_eq!(connection_options(b"").count(), 0);
    assert!(is_token(b"a-Z9!") && !is_token(b"") && !is_token(b"a,b"));
    assert_eq!(
        (trim_ows(b" \ta b\t "), trim_ows(b" \t"), trim_ows(b"\r\n")),
        (&b"a b"[..], &b""[..], &b"\r\n"[..])
    );
    assert_eq!(
        (
            Version::Http10.as_str(),
            Version::Http11.to_string().as_str()
        ),
        ("HTTP/1.0", "HTTP/1.1")
    );
    assert!(Version::Http10 < Version::Http11);
}

/// 1.11 no. 7: gunicorn answers 501 with the phrase of 400.
#[test]
fn a_status_has_its_own_reason() {
    assert_eq!(
        (
            default_reason(200),
            default_reason(501),
            default_reason(299)
        ),
        ("OK", "Not Implemented", "Unknown")
    );
    let error = RequestError::from(trine_http1::FramingError::UnsupportedCoding);
    assert_eq!((error.status(), error.reason()), (501, "Not Implemented"));
    assert_eq!(
        (
            RequestError::Expectation.status(),
            RequestError::Expectation.reason()
        ),
        (417, "Expectation Failed")
    );
}
