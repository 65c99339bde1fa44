use super::*;
use trine_http1::{Limits, Policy, RequestHead};

/// An environ as a list in the order of setting.
#[derive(Default)]
struct List(Vec<(String, String)>);

impl Environ for List {
    fn set(&mut self, key: Key, value: &[u8]) {
        self.0.retain(|(known, _)| known != key.name());
        self.0
            .push((key.name().to_owned(), value.escape_ascii().to_string()));
    }

    fn variable(&mut self, name: &[u8], value: &[u8]) {
        let name = String::from_utf8(name.to_vec()).unwrap();
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.escape_ascii().to_string()));
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let name = String::from_utf8(name.to_ascii_uppercase()).unwrap();
        let key = format!("HTTP_{}", name.replace('-', "_"));
        assert!(self.0.iter().all(|(known, _)| *known != key), "{key} twice");
        self.0.push((key, value.escape_ascii().to_string()));
    }
}

/// Plays a request; `how` may hold `trusted`, `unix`, `secure`, `script=/prefix`, `chunked=N`, `map=refuse` or
/// `map=dangerous`, `forwarder=NAME`.
#[track_caller]
fn check(how: &str, request: &str, want: &[(&str, &str)]) {
    let raw = request.replace('\n', "\r\n") + "\r\n\r\n";
    let mut head = RequestHead::default();
    let (limits, policy) = (Limits::default(), Policy::default());
    head.parse(raw.as_bytes(), &limits, &policy)
        .unwrap()
        .unwrap();
    let value = |name: &str| how.split(' ').find_map(|word| word.strip_prefix(name));
    let forwarder = match value("forwarder=") {
        Some(name) => vec![name.to_owned()],
        None => ["SCRIPT_NAME", "PATH_INFO"].map(str::to_owned).into(),
    };
    let around = Around {
        script_name: value("script=").unwrap_or_default().as_bytes(),
        trusted: how.contains("trusted"),
        scheme_headers: &SchemeHeaders::default(),
        header_map: match value("map=") {
            Some("refuse") => HeaderMap::Refuse,
            Some("dangerous") => HeaderMap::Dangerous,
            _ => HeaderMap::Drop,
        },
        forwarder_headers: &forwarder,
        secure: how.contains("secure"),
        name_from_host: how.contains("unix"),
        chunked_length: value("chunked=").map(|length| length.parse().unwrap()),
        given: None,
    };
    let mut list = List::default();
    let result = fill(
        &head.on(raw.as_bytes()),
        &around,
        &mut Vec::new(),
        &mut list,
    );
    if let Err(error) = result {
        list.0
            .push(("ERROR".to_owned(), error.status().to_string()));
    }
    for (key, value) in want {
        let found = list.0.iter().find(|(known, _)| known == key);
        let found = found.map_or("<absent>", |(_, value)| value);
        assert_eq!(found, *value, "{key} of {request:?}: {:?}", list.0);
    }
}

#[test]
fn targets() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\nHost: h");
    check(
        "",
        &get("/a%20b//c%2Fd?x=%20"),
        &[
            ("PATH_INFO", "/a b//c/d"),
            ("QUERY_STRING", "x=%20"),
            ("RAW_URI", "/a%20b//c%2Fd?x=%20"),
        ],
    );
    check(
        "",
        &get("/%C3%A9%e9%zz%4"),
        &[("PATH_INFO", r"/\xc3\xa9\xe9%zz%4")],
    );
    check(
        "",
        &get("http://other/p?q"),
        &[
            ("PATH_INFO", "/p"),
            ("QUERY_STRING", "q"),
            ("HTTP_HOST", "h"),
        ],
    );
    check("", &get("/"), &[("QUERY_STRING", "<absent>")]);
    check(
        "",
        "GET / HTTP/1.0",
        &[
            ("SERVER_PROTOCOL", "HTTP/1.0"),
            ("REQUEST_METHOD", "GET"),
            ("HTTP_HOST", "<absent>"),
        ],
    );
    check(
        "",
        "PROPFIND /dav HTTP/1.1\nHost: h",
        &[("REQUEST_METHOD", "PROPFIND")],
    );
}

#[test]
fn fields() {
    check(
        "",
        "GET / HTTP/1.1\nHost: h\nX-A: 1\nx-a: 2\nCookie: a=1\nCookie: b=2\nX-B: \x7e",
        &[
            ("HTTP_X_A", "1,2"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_X_B", "~"),
        ],
    );
    check(
        "",
        "POST / HTTP/1.1\nHost: h\nContent-Type: text/x\nContent-Length: 3",
        &[
            ("CONTENT_TYPE", "text/x"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_CONTENT_TYPE", "<absent>"),
            ("HTTP_CONTENT_LENGTH", "<absent>"),
        ],
    );
    check(
        "chunked=7",
        "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked",
        &[
            ("CONTENT_LENGTH", "7"),
            ("HTTP_TRANSFER_ENCODING", "chunked"),
        ],
    );
    check(
        "",
        "GET / HTTP/1.1\nHost: h\nX_User: evil\nX-User: good\nScript_Name: /x",
        &[("HTTP_X_USER", "good"), ("SCRIPT_NAME", "<absent>")],
    );
}

#[test]
fn trust() {
    let https = "GET /p/q HTTP/1.1\nHost: h\nX-Forwarded-Proto: https";
    check("trusted", https, &[("wsgi.url_scheme", "https")]);
    check("", https, &[("wsgi.url_scheme", "<absent>")]);
    let http = "GET / HTTP/1.1\nHost: h\nX-Forwarded-Proto: http";
    check("secure", http, &[("wsgi.url_scheme", "https")]);
    check("secure trusted", http, &[("wsgi.url_scheme", "https")]);
    check(
        "trusted",
        &format!("{https}\nX-Forwarded-SSL: off"),
        &[("ERROR", "400")],
    );
    check(
        "",
        &format!("{https}\nX-Forwarded-SSL: off"),
        &[("ERROR", "<absent>")],
    );
    check(
        "trusted",
        &format!("{https}\nSCRIPT_NAME: /p"),
        &[("SCRIPT_NAME", "/p"), ("PATH_INFO", "/q")],
    );
}

#[test]
fn underscores() {
    let both = "GET / HTTP/1.1\nHost: h\nX-User: good\nX_User: evil";
    check("", both, &[("HTTP_X_USER", "good")]);
    check("map=refuse", both, &[("ERROR", "400")]);
    check("map=dangerous", both, &[("HTTP_X_USER", "good,evil")]);
    check("forwarder=X_USER", both, &[("HTTP_X_USER", "good")]);
    check(
        "trusted forwarder=X_USER",
        both,
        &[("HTTP_X_USER", "good,evil")],
    );
    check("trusted forwarder=*", both, &[("HTTP_X_USER", "good,evil")]);
    check(
        "trusted map=refuse",
        "GET /a HTTP/1.1\nHost: h\nSCRIPT_NAME: /a",
        &[("SCRIPT_NAME", "/a"), ("HTTP_SCRIPT_NAME", "/a")],
    );
    check(
        "trusted forwarder=X_USER",
        "GET /a HTTP/1.1\nHost: h\nSCRIPT_NAME: /a",
        &[("SCRIPT_NAME", "<absent>")],
    );
    check(
        "map=dangerous",
        "GET / HTTP/1.1\nHost: h\nA_B: 1\nC: 2\nA-B: 3\na_b: 4",
        &[("HTTP_A_B", "1,3,4"), ("HTTP_C", "2")],
    );
    check(
        "map=dangerous",
        "GET /a HTTP/1.1\nHost: h\nSCRIPT_NAME: /a",
        &[("SCRIPT_NAME", "<absent>"), ("HTTP_SCRIPT_NAME", "/a")],
    );
}

#[test]
fn prefixes() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\nHost: h");
    check(
        "script=/app",
        &get("/app/x"),
        &[("SCRIPT_NAME", "/app"), ("PATH_INFO", "/x")],
    );
    check("script=/app", &get("/app"), &[("PATH_INFO", "")]);
    check("script=/app", &get("/apple"), &[("ERROR", "500")]);
    check("script=/app", &get("/"), &[("ERROR", "500")]);
}

#[test]
fn names_of_unix_sockets() {
    let named = |host: &str| format!("GET / HTTP/1.1\nHost: {host}");
    check(
        "unix",
        &named("a.example:81"),
        &[("SERVER_NAME", "a.example"), ("SERVER_PORT", "81")],
    );
    check(
        "unix",
        &named("[::1]"),
        &[("SERVER_NAME", "[::1]"), ("SERVER_PORT", "80")],
    );
    check(
        "unix trusted",
        &format!("{}\nX-Forwarded-Proto: https", named("a")),
        &[("SERVER_NAME", "a"), ("SERVER_PORT", "443")],
    );
    check(
        "unix",
        "GET / HTTP/1.0",
        &[("SERVER_NAME", "localhost"), ("SERVER_PORT", "80")],
    );
    check("", &named("a"), &[("SERVER_NAME", "<absent>")]);
}
