//! What must hold for any bytes: the entries of the fuzzers in `tests/fuzz`, which `cargo test`
//! runs on the corpus. Each panics where an invariant is broken.
//! Not here: what particular bytes mean; the tables of `tests/it` tell that.

use crate::body::{BodyDecoder, BodyLength};
use crate::{
    Limits, Policy, Preamble, PreambleVersions, RequestHead, ResponseHead, is_token, read_preamble,
    trim_ows, write_header, write_request_line, write_status_line,
};

/// Small, so that a fuzzer reaches them.
const LIMITS: Limits = Limits {
    request_line: 200,
    header_line: 200,
    header_count: 16,
    head: 1000,
};

const LENIENT: Policy = Policy {
    permit_obsolete_folding: true,
    strip_header_spaces: true,
    permit_unconventional_http_method: true,
    permit_unconventional_http_version: true,
    casefold_http_method: false,
    drop_odd_header_names: true,
};

/// A preamble of the PROXY protocol is found as soon as it is complete, and not before, and where it ends does not
/// depend on what follows.
pub fn preamble(input: &[u8]) {
    for (v1, v2) in [(true, true), (true, false), (false, true)] {
        let versions = PreambleVersions { v1, v2 };
        let whole = read_preamble(input, versions);
        if let Ok(Preamble::Present { len, .. }) = whole {
            assert!(len <= input.len());
            assert_eq!(read_preamble(&input[..len], versions), whole);
            for cut in 0..len {
                assert_eq!(
                    read_preamble(&input[..cut], versions),
                    Ok(Preamble::Partial)
                );
            }
        }
        if whole == Ok(Preamble::Absent) {
            let longer = [input, b"more"].concat();
            assert_eq!(read_preamble(&longer, versions), Ok(Preamble::Absent));
        }
    }
}

/// A request head comes to the same result however it arrives, and reads the same after it was
/// written again.
pub fn request(input: &[u8]) {
    for policy in [Policy::default(), LENIENT] {
        let mut head = RequestHead::default();
        let whole = head.parse(input, &LIMITS, &policy);
        let mut grown = RequestHead::default();
        let arrived = grow(input, |bytes| grown.parse(bytes, &LIMITS, &policy));
        assert_eq!(
            whole.ok(),
            arrived.ok(),
            "the parts give another result than the whole"
        );
        let Ok(Some(used)) = whole else { continue };

        let request = head.on(input);
        assert!(used <= input.len() && used <= LIMITS.head);
        assert!(is_token(request.method().as_bytes()));
        assert!(request.target().iter().all(u8::is_ascii_graphic));
        assert!(request.body() != BodyLength::UntilClose);
        check_fields(request.headers());
        assert!(request.headers().eq(grown.on(input).headers()));

        let mut written = Vec::new();
        write_request_line(
            &mut written,
            request.method(),
            request.target(),
            request.version(),
        );
        request
            .headers()
            .for_each(|(name, value)| write_header(&mut written, name, value));
        written.extend_from_slice(b"\r\n");
        let conventional = Policy {
            permit_unconventional_http_method: true,
            ..Policy::default()
        };
        let mut again = RequestHead::default();
        assert_eq!(
            again.parse(&written, &Limits::default(), &conventional),
            Ok(Some(written.len()))
        );
        let again = again.on(&written);
        assert!(again.headers().eq(request.headers()));
        assert_eq!(
            (again.body(), again.keep_alive()),
            (request.body(), request.keep_alive())
        );
        assert_eq!(
            (again.path(), again.authority()),
            (request.path(), request.authority())
        );
    }
}

/// The same for a response head.
pub fn response(input: &[u8]) {
    let mut head = ResponseHead::default();
    let whole = head.parse(input, &LIMITS);
    let mut grown = ResponseHead::default();
    let arrived = grow(input, |bytes| grown.parse(bytes, &LIMITS));
    assert_eq!(
        whole.ok(),
        arrived.ok(),
        "the parts give another result than the whole"
    );
    let Ok(Some(used)) = whole else { return };

    let response = head.on(input);
    assert!(used <= input.len() && used <= LIMITS.head);
    assert!((100..1000).contains(&response.status()));
    check_fields(response.headers());

    let mut written = Vec::new();
    write_status_line(
        &mut written,
        response.version(),
        response.status(),
        response.reason(),
    );
    response
        .headers()
        .for_each(|(name, value)| write_header(&mut written, name, value));
    written.extend_from_slice(b"\r\n");
    let mut again = ResponseHead::default();
    assert_eq!(
        again.parse(&written, &Limits::default()),
        Ok(Some(written.len()))
    );
    let again = again.on(&written);
    assert!(again.headers().eq(response.headers()));
    assert_eq!(
        (again.reason(), again.body("GET")),
        (response.reason(), response.body("GET"))
    );
    assert_eq!(
        (again.keep_alive(), again.upgrade()),
        (response.keep_alive(), response.upgrade())
    );
}

/// A chunked body gives the same content, end, trailers and error however it arrives.
pub fn chunked(input: &[u8]) {
    let (whole, decoder) = drain(input, input.len().max(1));
    for size in [1, 3, 16] {
        let (parts, other) = drain(input, size);
        assert_eq!(whole, parts, "parts of {size} bytes give another result");
        assert!(decoder.trailers().eq(other.trailers()));
    }
    check_fields(decoder.trailers());
}

/// Gives ever longer prefixes, in steps that grow so that long inputs stay cheap, until there is a
/// result.
fn grow<E>(
    input: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<Option<usize>, E>,
) -> Result<Option<usize>, E> {
    let mut end = 0;
    while end < input.len() {
        match parse(&input[..end]) {
            Ok(None) => end += 1 + end / 64,
            result => return result,
        }
    }
    parse(input)
}

/// Content, bytes used, and the error at the end, after which there is no telling how many were
/// used.
type Drained = (Vec<u8>, usize, Option<crate::BodyError>);

fn drain(input: &[u8], size: usize) -> (Drained, BodyDecoder) {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let (mut content, mut used) = (Vec::new(), 0);
    for piece in input.chunks(size) {
        let mut rest = piece;
        loop {
            match decoder.decode(rest) {
                Ok(decoded) => {
                    assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= rest.len());
                    content.extend_from_slice(&rest[decoded.data]);
                    used += decoded.consumed;
                    rest = &rest[decoded.consumed..];
                    if decoded.done {
                        return ((content, used, None), decoder);
                    }
                    if decoded.consumed == 0 {
                        break;
                    }
                }
                Err(error) => return ((content, 0, Some(error)), decoder),
            }
        }
        assert!(rest.is_empty(), "bytes are left although more are needed");
    }
    ((content, used, None), decoder)
}

fn check_fields(headers: crate::Headers<'_>) {
    for (name, value) in headers {
        assert!(is_token(name));
        assert_eq!(trim_ows(value), value);
        assert_eq!(crate::check_header_value(value), Ok(()));
    }
}
