//! How long the codecs take on the hot path, in nanoseconds: the best of several rounds, since
//! noise only adds. `cargo bench -p trine-http1`. Not here: comparisons with other servers; `cargo
//! xtask bench` makes those.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark needs a clock, the crate does not"
)]

use std::hint::black_box;
use std::time::Instant;

use trine_http1::{
    BodyDecoder, BodyLength, Limits, Policy, RequestHead, ResponseHead, Version, write_chunk_head,
    write_header, write_status_line,
};

const REQUEST: &[u8] = b"GET /static/images/photo.jpg?size=large&v=3 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Referer: https://www.example.org/gallery/2026/11/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Cache-Control: max-age=0\r\n\
    X-Request-Id: 6ba7b810-9dad-11d1-80b4-00c04fd430c8\r\n\r\n";
const SMALL_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: trine\r\n\
    Date: Mon, 23 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Vary: Cookie\r\n\r\n";
const ROUNDS: usize = 15;

fn measure(name: &str, mut work: impl FnMut()) {
    // `cargo test --all-targets` starts it without this argument: see that it runs, and no more.
    let calls = if std::env::args().any(|argument| argument == "--bench") {
        20_000
    } else {
        1
    };
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<44} {best:>8.1} ns");
}

fn main() {
    let (limits, policy) = (Limits::default(), Policy::default());
    let mut head = RequestHead::default();
    measure("request head, 10 fields, 600 bytes", || {
        let used = head.parse(black_box(REQUEST), &limits, &policy);
        assert_eq!(black_box(used), Ok(Some(REQUEST.len())));
    });
    measure("request head, Host only", || {
        let used = head.parse(black_box(SMALL_REQUEST), &limits, &policy);
        assert_eq!(black_box(used), Ok(Some(SMALL_REQUEST.len())));
    });
    measure("request head, 10 fields, in 64-byte pieces", || {
        for end in (64..REQUEST.len()).step_by(64) {
            assert_eq!(
                black_box(head.parse(black_box(&REQUEST[..end]), &limits, &policy)),
                Ok(None)
            );
        }
        assert!(head.parse(black_box(REQUEST), &limits, &policy).is_ok());
    });
    head.parse(REQUEST, &limits, &policy)
        .expect("the request is valid");
    measure("look up a field that is not there", || {
        black_box(
            head.on(black_box(REQUEST))
                .get(black_box("x-forwarded-for")),
        );
    });
    let mut head = ResponseHead::default();
    measure("response head, 5 fields", || {
        let used = head.parse(black_box(RESPONSE), &limits);
        assert_eq!(black_box(used), Ok(Some(RESPONSE.len())));
    });
    let chunked = b"400\r\n"
        .iter()
        .chain(&[b'x'; 1024])
        .chain(b"\r\n0\r\n\r\n")
        .copied()
        .collect::<Vec<u8>>();
    measure("chunked body of one chunk", || {
        let decoded = BodyDecoder::new(BodyLength::Chunked).decode(black_box(&chunked));
        assert!(black_box(decoded).is_ok_and(|decoded| decoded.done));
    });
    let mut out = Vec::new();
    measure("write a head of 5 fields and a chunk head", || {
        out.clear();
        write_status_line(&mut out, Version::Http11, black_box(200), b"OK");
        for (name, value) in [
            (&b"Server"[..], &b"trine"[..]),
            (b"Date", b"Mon, 23 Nov 2026 10:00:00 GMT"),
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Vary", b"Cookie"),
        ] {
            write_header(&mut out, black_box(name), black_box(value));
        }
        out.extend_from_slice(b"\r\n");
        write_chunk_head(&mut out, black_box(1024));
        black_box(&out);
    });
}
