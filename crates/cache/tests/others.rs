//! Validation, invalidation, and the Cache-Status field: tables of what comes in and what comes out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use trine_cache::Fields;
use trine_cache::invalidate::invalidated;
use trine_cache::reuse::Why;
use trine_cache::status::{Forwarded, Status};
use trine_cache::validate::{Conditions, Outcome, head_contradicts, outcome, updated};

type Field<'a> = (&'a [u8], &'a [u8]);

fn fields(text: &str) -> Vec<Field<'_>> {
    text.split(" // ")
        .filter_map(|field| field.split_once(':'))
        .map(|(name, value)| (name.trim().as_bytes(), value.trim().as_bytes()))
        .collect()
}

#[test]
fn what_a_validation_means() {
    use Outcome::{AboutAnother, Failed, Good, Replaced};
    let cases = [
        (304, "ETag: \"a\"", "ETag: \"a\"", Good),
        (304, "", "ETag: \"a\"", Good),
        (304, "", "", Good),
        (304, "ETag: \"b\"", "ETag: \"a\"", AboutAnother),
        (304, "ETag: W/\"a\"", "ETag: \"a\"", Good),
        (304, "ETag: \"a\"", "ETag: W/\"a\"", Good),
        (304, "ETag: \"a\"", "Last-Modified: x", AboutAnother),
        (304, "ETag: W/\"a\"", "Last-Modified: x", Good),
        (304, "Last-Modified: x", "Last-Modified: x", Good),
        (304, "Last-Modified: y", "Last-Modified: x", AboutAnother),
        (304, "Last-Modified: y", "ETag: \"a\"", AboutAnother),
        (200, "ETag: \"a\"", "ETag: \"a\"", Replaced),
        (404, "", "ETag: \"a\"", Replaced),
        (500, "", "ETag: \"a\"", Failed),
        (501, "", "ETag: \"a\"", Replaced),
        (502, "", "ETag: \"a\"", Failed),
        (503, "", "ETag: \"a\"", Failed),
        (504, "", "ETag: \"a\"", Failed),
    ];
    for (status, came, stored, want) in cases {
        let (came, stored) = (fields(came), fields(stored));
        assert_eq!(
            outcome(status, Fields(&came), Fields(&stored)),
            want,
            "{status} {came:?} {stored:?}"
        );
    }
}

#[test]
fn conditions_come_from_the_stored_answer() {
    let stored = fields("ETag: W/\"a\" // Last-Modified: x // ETag: \"b\"");
    let conditions = Conditions::of(Fields(&stored));
    assert_eq!(conditions.if_none_match, Some(&b"W/\"a\""[..]));
    assert_eq!(conditions.if_modified_since, Some(&b"x"[..]));
    assert!(Conditions::of(Fields(&[])).is_empty());
}

#[test]
fn what_a_304_changes() {
    let cases = [
        ("A: 1 // B: 2", "A: 3", "B: 2 // A: 3"),
        (
            "A: 1 // a: 2 // B: 3",
            "A: 4 // A: 5",
            "B: 3 // A: 4 // A: 5",
        ),
        (
            "Content-Length: 5",
            "Content-Length: 0",
            "Content-Length: 5",
        ),
        (
            "Content-Encoding: gzip",
            "Content-Encoding: br",
            "Content-Encoding: gzip",
        ),
        (
            "A: 1",
            "Transfer-Encoding: chunked // Keep-Alive: 5",
            "A: 1",
        ),
        ("A: 1", "Connection: A, X // A: 2 // X: 3", "A: 1"),
        ("Age: 50 // A: 1", "", "A: 1"),
        ("Age: 50 // A: 1", "Age: 3", "A: 1 // Age: 3"),
        (
            "Cache-Control: max-age=1 // Expires: x",
            "Cache-Control: max-age=2",
            "Expires: x // Cache-Control: max-age=2",
        ),
    ];
    for (stored, came, want) in cases {
        let (stored, came) = (fields(stored), fields(came));
        assert_eq!(
            updated(Fields(&stored), Fields(&came)),
            fields(want),
            "{stored:?} {came:?}"
        );
    }
}

#[test]
fn what_head_tells() {
    let cases = [
        (200, "ETag: \"a\"", "ETag: \"a\"", false),
        (200, "ETag: \"b\"", "ETag: \"a\"", true),
        (200, "Last-Modified: y", "Last-Modified: x", true),
        (200, "Content-Length: 6", "Content-Length: 5", true),
        (200, "", "Content-Length: 5", false),
        (200, "ETag: \"b\"", "", false),
        (404, "ETag: \"b\"", "ETag: \"a\"", false),
    ];
    for (status, head, stored, want) in cases {
        let (head, stored) = (fields(head), fields(stored));
        assert_eq!(
            head_contradicts(status, Fields(&head), Fields(&stored)),
            want,
            "{head:?}"
        );
    }
}

#[test]
fn what_unsafe_requests_make_worthless() {
    let cases: &[(&str, &str, u16, &str, &[&str])] = &[
        ("GET", "/a", 200, "Location: /b", &[]),
        ("HEAD", "/a", 200, "", &[]),
        ("OPTIONS", "/a", 200, "", &[]),
        ("TRACE", "/a", 200, "", &[]),
        ("POST", "/a", 200, "", &["/a"]),
        ("PUT", "/a", 201, "", &["/a"]),
        ("DELETE", "/a", 204, "", &["/a"]),
        ("PATCH", "/a", 303, "", &["/a"]),
        ("BREW", "/a", 200, "", &["/a"]),
        ("POST", "/a", 400, "", &[]),
        ("POST", "/a", 500, "Location: /b", &[]),
        ("POST", "/a?q", 200, "", &["/a?q"]),
        ("POST", "/a", 201, "Location: /b", &["/a", "/b"]),
        ("POST", "/a", 201, "Location: /a", &["/a"]),
        ("POST", "/a/b", 201, "Location: c", &["/a/b", "/a/c"]),
        ("POST", "/a/b", 201, "Location: ../c?x#y", &["/a/b", "/c?x"]),
        ("POST", "/a/b", 201, "Location: .", &["/a/b", "/a/"]),
        ("POST", "/a/b", 201, "Location: ?x", &["/a/b", "/a/b?x"]),
        (
            "POST",
            "/a",
            201,
            "Location: https://e.org/b",
            &["/a", "/b"],
        ),
        (
            "POST",
            "/a",
            201,
            "Location: HTTPS://E.org:443/b",
            &["/a", "/b"],
        ),
        ("POST", "/a", 201, "Location: //e.org/b", &["/a", "/b"]),
        ("POST", "/a", 201, "Location: https://e.org", &["/a", "/"]),
        (
            "POST",
            "/a",
            201,
            "Location: https://e.org?x",
            &["/a", "/?x"],
        ),
        ("POST", "/a", 201, "Location: http://e.org/b", &["/a"]),
        ("POST", "/a", 201, "Location: https://f.org/b", &["/a"]),
        ("POST", "/a", 201, "Location: https://e.org:8443/b", &["/a"]),
        ("POST", "/a", 201, "Location: //f.org/b", &["/a"]),
        ("POST", "/a", 201, "Location: mailto:x", &["/a"]),
        (
            "POST",
            "/a",
            201,
            "Location: /b // Content-Location: /c",
            &["/a", "/b", "/c"],
        ),
        (
            "POST",
            "/a",
            200,
            "Content-Location: https://f.org/c",
            &["/a"],
        ),
    ];
    for (method, target, status, answer, want) in cases {
        let answer = fields(answer);
        let got = invalidated(method, "https://e.org", target, *status, Fields(&answer));
        assert_eq!(got, *want, "{method} {target} {status} {answer:?}");
    }
}

#[test]
fn cache_status() {
    assert_eq!(Status::hit(60, 20).to_string(), "Trine; hit; ttl=40");
    assert_eq!(Status::hit(60, 100).to_string(), "Trine; hit; ttl=-40");
    let forwarded = |why: Forwarded, status, stored, collapsed| {
        Status::Forwarded {
            why,
            status,
            stored,
            collapsed,
        }
        .to_string()
    };
    assert_eq!(
        forwarded(Why::Miss.into(), None, true, false),
        "Trine; fwd=uri-miss; stored"
    );
    assert_eq!(
        forwarded(Why::Stale.into(), Some(304), false, true),
        "Trine; fwd=stale; fwd-status=304; collapsed"
    );
    assert_eq!(
        forwarded(Forwarded::Bypass, None, false, false),
        "Trine; fwd=bypass"
    );
}
