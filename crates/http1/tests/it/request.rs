//! Request heads: the one `check` and what does not fit a table of (rule, bytes, result).

use trine_http1::{Limits, Policy, Request, RequestError, RequestHead, TargetForm};

use crate::request_accepted::ACCEPTED;
use crate::request_refused::REFUSED;

/// What the tests want to see of a result.
fn render(result: Result<Option<(usize, Request<'_>)>, RequestError>) -> String {
    let (used, request) = match result {
        Ok(None) => return "need more".to_owned(),
        Ok(Some(found)) => found,
        Err(RequestError::Head(error)) => return format!("400 {error:?}"),
        Err(RequestError::Framing(error)) => {
            return format!("{} {error:?}", RequestError::Framing(error).status());
        }
        Err(error) => return format!("{} {error:?}", error.status()),
    };
    let mut out = format!("{} {}", request.method(), request.path().escape_ascii());
    if let Some(query) = request.query() {
        out += &format!(" ?{}", query.escape_ascii());
    }
    out += &format!(" {}", String::from_utf8_lossy(request.version_text()));
    if request.target_form() != TargetForm::Origin {
        out += &format!(" {:?}", request.target_form());
    }
    if let Some(authority) = request.authority() {
        out += &format!(" for {}", authority.escape_ascii());
    }
    out += &format!(" {:?}", request.body());
    out += if request.keep_alive() {
        " keep"
    } else {
        " close"
    };
    if request.expects_continue() {
        out += " continue";
    }
    if let Some(protocol) = request.upgrade() {
        out += &format!(" upgrade {}", protocol.escape_ascii());
    }
    for (name, value) in request
        .headers()
        .filter(|(name, _)| name.len() == 1 || name.contains(&b'_'))
    {
        out += &format!(
            " {}={:?}",
            name.escape_ascii(),
            String::from_utf8_lossy(value)
        );
    }
    out + &format!(", {used} used")
}

fn parse(head: &mut RequestHead, input: &[u8], policy: &Policy) -> String {
    let result = head.parse(input, &Limits::default(), policy);
    render(result.map(|used| used.map(|used| (used, head.on(input)))))
}

/// Parses `input` at once, then in every way it can arrive in two parts, then byte by byte on one
/// head that has been used before; all have to come to the same result, and nothing may be found
/// complete too early.
#[track_caller]
fn check_with(policy: &Policy, input: &[u8], want: &str) {
    let shown = input.escape_ascii();
    assert_eq!(
        parse(&mut RequestHead::default(), input, policy),
        want,
        "input: {shown}"
    );

    let refused = want.starts_with(['4', '5']);
    let used = if refused {
        input.len()
    } else {
        used_bytes(want)
    };
    let mut grown = RequestHead::default();
    parse(
        &mut grown,
        b"OPTIONS * HTTP/1.1\r\nHost: before\r\nUpgrade: x\r\n\r\n",
        policy,
    );
    for cut in 0..used {
        let mut head = RequestHead::default();
        let early = parse(&mut head, &input[..cut], policy);
        assert!(
            early == "need more" || (refused && early == want),
            "{cut} bytes of {shown}: {early}"
        );
        if early == "need more" {
            assert_eq!(
                parse(&mut head, input, policy),
                want,
                "split at {cut}: {shown}"
            );
            assert_eq!(
                parse(&mut grown, &input[..cut], policy),
                early,
                "grown to {cut}: {shown}"
            );
        }
    }
    assert_eq!(parse(&mut grown, input, policy), want, "grown: {shown}");
    if !refused {
        let pipelined = [input, b"GET /next HTTP/1.1\r\n\r\n\0\xff"].concat();
        assert_eq!(
            parse(&mut RequestHead::default(), &pipelined, policy),
            want,
            "pipelined: {shown}"
        );
    }
}

fn used_bytes(want: &str) -> usize {
    let number = want
        .strip_suffix(" used")
        .and_then(|want| want.rsplit(", ").next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a result that ends in \", N used\"")
}

#[track_caller]
fn check(input: &[u8], want: &str) {
    check_with(&Policy::default(), input, want);
}

#[test]
fn good_requests_are_read() {
    for (rule, input, want) in ACCEPTED {
        println!("{rule}");
        check(input, want);
    }
}

#[test]
fn bad_requests_are_refused() {
    for (rule, input, want) in REFUSED {
        println!("{rule}");
        check(input, want);
    }
}

#[test]
fn permissions_accept_what_they_name_and_no_more() {
    let folding = Policy {
        permit_obsolete_folding: true,
        ..Policy::default()
    };
    let folded = b"GET / HTTP/1.1\r\nHost: h\r\na: x \t\r\n\t y\r\n \r\n  z \r\nb:\r\n w\r\n\r\n";
    check(folded, "400 Folded");
    check_with(
        &folding,
        folded,
        "GET / HTTP/1.1 for h Empty keep a=\"x y z\" b=\"w\", 57 used",
    );
    check_with(
        &folding,
        b"GET / HTTP/1.1\r\n a: x\r\nHost: h\r\n\r\n",
        "400 HeaderName",
    );
    check_with(
        &folding,
        b"GET / HTTP/1.1\r\nHost: h\r\na: x\r\n y\x0c\r\n\r\n",
        "400 HeaderValue",
    );
    check_with(
        &folding,
        b"GET / HTTP/1.1\r\nHost: h\r\na: x\r\n y\n\r\n",
        "400 BareLineFeed",
    );
    check_with(
        &folding,
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 1\r\n\r\n",
        "400 BothLengths",
    );

    let odd = Policy {
        drop_odd_header_names: true,
        ..Policy::default()
    };
    let names =
        b"GET / HTTP/1.1\r\na@b: 1\r\nHost: h\r\n\"c\": x:y\r\nd\xe4: z\r\ne: f\r\nh[i]:\r\n\r\n";
    check(names, "400 HeaderName");
    check_with(
        &odd,
        names,
        "GET / HTTP/1.1 for h Empty keep e=\"f\", 65 used",
    );
    for refused in [
        &b"GET / HTTP/1.1\r\nHost: h\r\na b: x\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: h\r\na : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\na@\t: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\na@\x01b: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno@colon\r\n\r\n",
    ] {
        check_with(&odd, refused, "400 HeaderName");
    }
    // What is left out takes nothing with it, and hides nothing.
    check_with(
        &odd,
        b"GET / HTTP/1.1\r\nHost: h\r\na@b: x\0y\r\n\r\n",
        "400 HeaderName",
    );
    check_with(
        &odd,
        b"GET / HTTP/1.1\r\nHost: h\r\na@b: x\r\nHost: h\r\n\r\n",
        "400 HostTwice",
    );

    let spaces = Policy {
        strip_header_spaces: true,
        ..Policy::default()
    };
    let spaced = b"GET / HTTP/1.1\r\nHost : h\r\na \t: x : y\r\n\r\n";
    check(spaced, "400 HeaderName");
    check_with(
        &spaces,
        spaced,
        "GET / HTTP/1.1 for h Empty keep a=\"x : y\", 40 used",
    );
    check_with(
        &spaces,
        b"GET / HTTP/1.1\r\nHost: h\r\n : x\r\n\r\n",
        "400 Folded",
    );
    check_with(
        &spaces,
        b"GET / HTTP/1.1\r\nHost: h\r\na b : x\r\n\r\n",
        "400 HeaderName",
    );
    check_with(
        &spaces,
        b"GET / HTTP/1.1\r\nHost: h\r\nhost : x\r\n\r\n",
        "400 HostTwice",
    );
    check_with(
        &Policy {
            permit_obsolete_folding: true,
            ..spaces
        },
        b"GET / HTTP/1.1\r\nHost : h\r\na : x\r\n y: z\r\n\r\n",
        "GET / HTTP/1.1 for h Empty keep a=\"x y: z\", 42 used",
    );

    let methods = Policy {
        permit_unconventional_http_method: true,
        ..Policy::default()
    };
    check_with(
        &methods,
        b"g# / HTTP/1.0\r\n\r\n",
        "g# / HTTP/1.0 Empty close, 17 used",
    );
    check_with(
        &methods,
        b"abcdefghijklmnopqrstuvwxyz / HTTP/1.0\r\n\r\n",
        "abcdefghijklmnopqrstuvwxyz / HTTP/1.0 Empty close, 41 used",
    );
    check_with(&methods, b"G(T / HTTP/1.0\r\n\r\n", "400 Method");

    let casefold = Policy {
        casefold_http_method: true,
        ..Policy::default()
    };
    check_with(
        &casefold,
        b"get / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0 Empty close, 18 used",
    );
    check_with(
        &casefold,
        b"oPTIONS * HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.0 Asterisk Empty close, 22 used",
    );
    check_with(&casefold, b"ge / HTTP/1.0\r\n\r\n", "400 Method");

    let versions = Policy {
        permit_unconventional_http_version: true,
        ..Policy::default()
    };
    check_with(
        &versions,
        b"GET / HTTP/0.9\r\n\r\n",
        "GET / HTTP/0.9 Empty close, 18 used",
    );
    check_with(
        &versions,
        b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.2 for h Empty keep, 27 used",
    );
    check_with(&versions, b"GET / HTTP/3.0\r\n\r\n", "400 HostMissing");
    check_with(
        &versions,
        b"GET / HTTP/10.0\r\n\r\n",
        "400 MalformedVersion",
    );
}

#[test]
fn pipelined_requests_are_taken_one_by_one() {
    let input = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\nPUT /b HTTP/1.0\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\nGE";
    let mut head = RequestHead::default();
    let (mut rest, mut paths) = (&input[..], Vec::<Vec<u8>>::new());
    while let Some(used) = head
        .parse(rest, &Limits::default(), &Policy::default())
        .unwrap()
    {
        paths.push(head.on(rest).path().to_vec());
        rest = &rest[used..];
    }
    assert_eq!(
        (paths, rest),
        (
            vec![b"/a".to_vec(), b"/b".to_vec(), b"/c".to_vec()],
            &b"GE"[..]
        )
    );
}

#[test]
fn fields_are_found_by_name_in_any_case() {
    let input = b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nX-Empty:\r\ncookie: b=2\r\nLatin: \xe9\r\n\r\n";
    let mut head = RequestHead::default();
    head.parse(input, &Limits::default(), &Policy::default())
        .unwrap()
        .unwrap();
    let request = head.on(input);
    assert_eq!(request.get("COOKIE"), Some(&b"a=1"[..]));
    assert_eq!(
        request.get_all("cookie").collect::<Vec<_>>(),
        [b"a=1", b"b=2"]
    );
    assert_eq!(request.get("x-empty"), Some(&b""[..]));
    assert_eq!(request.get("latin"), Some(&b"\xe9"[..]));
    assert_eq!(request.get("absent"), None);
    assert_eq!(request.headers().len(), 5);
    assert_eq!(request.headers().next(), Some((&b"Host"[..], &b"h"[..])));
    assert_eq!(request.target(), b"/");
}

#[test]
fn an_abandoned_head_is_forgotten() {
    let mut head = RequestHead::default();
    let policy = Policy::default();
    assert_eq!(
        parse(
            &mut head,
            b"GET /long HTTP/1.1\r\nHost: example.org\r\n",
            &policy
        ),
        "need more"
    );
    head.clear();
    let other = b"PUT /other/and/longer/than/before HTTP/1.1\r\nHost: other.example.org\r\n\r\n";
    assert!(parse(&mut head, other, &policy).starts_with("PUT /other"));
    // A shorter buffer than before is a new head, too.
    assert_eq!(
        parse(
            &mut head,
            b"GET /long HTTP/1.1\r\nHost: example.org\r\n",
            &policy
        ),
        "need more"
    );
    assert_eq!(
        parse(&mut head, b"GET / HTTP/1.0\r\n\r\n", &policy),
        "GET / HTTP/1.0 Empty close, 18 used"
    );
}

#[test]
fn a_wrong_buffer_does_not_panic() {
    let input = b"GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut head = RequestHead::default();
    head.parse(input, &Limits::default(), &Policy::default())
        .unwrap()
        .unwrap();
    let request = head.on(b"\xff\xff\xff\xff");
    assert_eq!(
        (request.method(), request.path(), request.host()),
        ("", &b""[..], Some(&b""[..]))
    );
    assert_eq!(request.headers().count(), 3);
}
