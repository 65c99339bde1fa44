//! FastCGI, both sides: what records come to, however they are cut; what is written; round trips.

use trine_gateway::Error;
use trine_gateway::fastcgi::{
    Answer, Client, Event, Kind, Params, ProtocolStatus, Role, Server, write_abort, write_begin,
    write_end_request, write_end_stream, write_params, write_stream,
};

use crate::Row;

/// `\x01 kind, id, length, padding` of the records below, written out.
pub(crate) const SERVER: &[Row] = &[
    (
        "a request with a body in two records, padded",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\
          \x01\x04\0\x01\0\x05\x03\0\x01\x02Abc\0\0\0\x01\x04\0\x01\0\0\0\0\
          \x01\x05\0\x01\0\x02\x06\0hi\0\0\0\0\0\0\x01\x05\0\x01\0\x01\0\0!\x01\x05\0\x01\0\0\0\0",
        "request 1 Responder A=bc, body hi!, end",
    ),
    (
        "variables over two records, kept connection",
        b"\x01\x01\0\x02\0\x08\0\0\0\x01\x01\0\0\0\0\0\
          \x01\x04\0\x02\0\x02\0\0\x01\x02\x01\x04\0\x02\0\x03\0\0Abc\x01\x04\0\x02\0\0\0\0\x01\x05\0\x02\0\0\0\0",
        "request 2 Responder keep A=bc, body , end",
    ),
    (
        "an authorizer has no body",
        b"\x01\x01\0\x01\0\x08\0\0\0\x02\0\0\0\0\0\0\x01\x04\0\x01\0\0\0\0",
        "request 1 Authorizer, body , end",
    ),
    (
        "a filter is refused",
        b"\x01\x01\0\x01\0\x08\0\0\0\x03\0\0\0\0\0\0",
        "refused close true <end 1 UnknownRole>",
    ),
    (
        "a second request at the same time is refused, the first goes on",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0\x01\x01\0\x02\0\x08\0\0\0\x01\x01\0\0\0\0\0\
          \x01\x04\0\x02\0\x05\0\0\x01\x02Xyz\x01\x04\0\x01\0\0\0\0\x01\x05\0\x02\0\x02\0\0no\x01\x05\0\x01\0\0\0\0",
        "refused close false, request 1 Responder keep, body , end <end 2 CannotMultiplex>",
    ),
    (
        "abort while the body comes",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\x01\x04\0\x01\0\0\0\0\x01\x05\0\x01\0\x02\0\0hi\x01\x02\0\x01\0\0\0\0",
        "request 1 Responder, body hi, abort",
    ),
    (
        "abort of nothing is nothing",
        b"\x01\x02\0\x09\0\0\0\0",
        "",
    ),
    (
        "what the application can do",
        b"\x01\x09\0\0\0\x25\0\0\x0e\0FCGI_MAX_CONNS\x0f\0FCGI_MPXS_CONNS\x02\0XY",
        " <values FCGI_MAX_CONNS=7 FCGI_MPXS_CONNS=0>",
    ),
    (
        "a management record that nobody knows",
        b"\x01\x63\0\0\0\x02\0\0xx",
        " <unknown 99>",
    ),
    (
        "records of an ended request",
        b"\x01\x05\0\x05\0\x02\0\0hi\x01\x05\0\x05\0\0\0\0",
        "",
    ),
    ("another version", b"\x02\x01\0\x01\0\x08\0\0", "error Version(2)"),
    ("not FastCGI at all", b"GET / HTTP/1.1\r\n", "error Version(71)"),
    (
        "a begin that is too short",
        b"\x01\x01\0\x01\0\x02\0\0\0\x01",
        "error RecordLength { kind: 1, len: 2 }",
    ),
    (
        "a begin for request 0",
        b"\x01\x01\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0",
        "error RecordOrder { kind: 1 }",
    ),
    (
        "begun twice",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0",
        "error RecordOrder { kind: 1 }",
    ),
    (
        "a body before the variables end",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\x01\x05\0\x01\0\x02\0\0hi",
        "error RecordOrder { kind: 5 }",
    ),
    (
        "variables after their end",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\x01\x04\0\x01\0\0\0\0\x01\x04\0\x01\0\x02\0\0hi",
        "request 1 Responder, error RecordOrder { kind: 4 }",
    ),
    (
        "a control record of 60 KiB",
        b"\x01\x09\0\0\xf0\0\0\0",
        "error RecordLength { kind: 9, len: 61440 }",
    ),
    (
        "an answer where a request belongs",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\x01\x06\0\x01\0\x02\0\0hi",
        "error RecordOrder { kind: 6 }",
    ),
];

pub(crate) const CLIENT: &[Row] = &[
    (
        "an answer with something for the log in between",
        b"\x01\x06\0\x01\0\x02\x01\0ab\0\x01\x07\0\x01\0\x03\0\0log\x01\x06\0\x01\0\x01\0\0c\x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\x05\0\0\0\0",
        "out abc, log log, ended 5 Complete",
    ),
    (
        "overloaded",
        b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\x02\0\0\0",
        "out , log , ended 0 Overloaded",
    ),
    (
        "what it can do",
        b"\x01\x0a\0\0\0\x12\0\0\x0f\x01FCGI_MPXS_CONNS0",
        "out , log , values FCGI_MPXS_CONNS=0",
    ),
    (
        "another request's answer",
        b"\x01\x06\0\x02\0\x02\0\0ab",
        "out , log , error RequestId { found: 2, expected: 1 }",
    ),
    (
        "more after the end",
        b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0\x01\x06\0\x01\0\x02\0\0ab",
        "out , log , ended 0 Complete, error RecordOrder { kind: 6 }",
    ),
    (
        "an ending that does not exist",
        b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\x07\0\0\0",
        "out , log , error ProtocolStatus(7)",
    ),
    (
        "a request where an answer belongs",
        b"\x01\x04\0\x01\0\x02\0\0ab",
        "out , log , error RecordOrder { kind: 4 }",
    ),
    ("an end that is too short", b"\x01\x03\0\x01\0\x02\0\0ab", "out , log , error RecordLength { kind: 3, len: 2 }"),
];

pub(crate) const PARAMS: &[Row] = &[
    ("short lengths", b"\x01\x02Abc\x03\0XYZ", "A=bc XYZ="),
    (
        "a long length where a short one would do",
        b"\x80\0\0\x01\x02Abc",
        "A=bc",
    ),
    ("a name of 0 bytes", b"\0\x01b", "error VariableName"),
    ("a name with a NUL", b"\x02\x01A\0b", "error VariableName"),
    (
        "a value beyond the end",
        b"\x01\x05Abc",
        "error VariableLength",
    ),
    ("half a length", b"\x01\x80\0", "error VariableLength"),
];

fn pairs(params: Params<'_>) -> Result<String, Error> {
    let pairs: Result<Vec<_>, _> = params
        .map(|pair| {
            pair.map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        })
        .collect();
    Ok(pairs?.join(" "))
}

/// Feeds `input` cut at `cut`, and tells what came.
fn serve(input: &[u8], cut: usize) -> String {
    let mut server = Server::new(10_000, 7);
    let (mut told, mut replies, mut body) = (vec![], vec![], vec![]);
    let mut pending = vec![];
    'parts: for part in [&input[..cut], &input[cut..]] {
        pending.extend_from_slice(part);
        loop {
            let (event, used) = match server.advance(&pending, &mut replies) {
                Ok(result) => result,
                Err(error) => {
                    told.push(format!("error {error:?}"));
                    break 'parts;
                }
            };
            let more = event != Event::More;
            match event {
                Event::More => {}
                Event::Request => {
                    let keep = if server.keep() { " keep" } else { "" };
                    let pairs = pairs(server.params()).unwrap();
                    let line = format!("request {} {:?}{keep} {pairs}", server.id(), server.role());
                    told.push(line.trim_end().to_owned());
                }
                Event::Body(data) => body.extend_from_slice(data),
                Event::BodyEnd | Event::Abort => {
                    let word = if event == Event::Abort {
                        "abort"
                    } else {
                        "end"
                    };
                    told.push(format!("body {}, {word}", body.escape_ascii()));
                }
                Event::Refused { close } => told.push(format!("refused close {close}")),
            }
            pending.drain(..used);
            if !more {
                break;
            }
        }
    }
    told.join(", ") + &render_replies(&replies)
}

/// Our own side's records, read by the client's codec where it can.
fn render_replies(replies: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = replies;
    while let [1, kind, _, id, _, len, 0, 0, after @ ..] = rest {
        let (content, after) = after.split_at(usize::from(*len));
        text += &match kind {
            3 => {
                let mut client = Client::new(u16::from(*id));
                match client.advance(rest).unwrap().0 {
                    Answer::End { status, .. } => format!(" <end {id} {status:?}>"),
                    other => format!(" <{other:?}>"),
                }
            }
            10 => format!(" <values {}>", pairs(Params::new(content)).unwrap()),
            11 => format!(" <unknown {}>", content[0]),
            other => format!(" <{other}>"),
        };
        rest = after;
    }
    assert!(rest.is_empty());
    text
}

#[test]
fn requests() {
    for (rule, input, want) in SERVER {
        for cut in 0..=input.len() {
            assert_eq!(serve(input, cut), *want, "{rule}, cut at {cut}");
        }
    }
}

fn ask(input: &[u8], cut: usize) -> String {
    let mut client = Client::new(1);
    let (mut out, mut log, mut told) = (vec![], vec![], String::new());
    let mut pending = vec![];
    'parts: for part in [&input[..cut], &input[cut..]] {
        pending.extend_from_slice(part);
        loop {
            let (answer, used) = match client.advance(&pending) {
                Ok(result) => result,
                Err(error) => {
                    told += &format!(", error {error:?}");
                    break 'parts;
                }
            };
            let more = answer != Answer::More;
            match answer {
                Answer::More => {}
                Answer::Stdout(data) => out.extend_from_slice(data),
                Answer::Stderr(data) => log.extend_from_slice(data),
                Answer::Values(values) => {
                    told += &format!(", values {}", pairs(Params::new(values)).unwrap());
                }
                Answer::End { app_status, status } => {
                    told += &format!(", ended {app_status} {status:?}");
                }
            }
            pending.drain(..used);
            if !more {
                break;
            }
        }
    }
    format!(
        "out {}, log {}{told}",
        out.escape_ascii(),
        log.escape_ascii()
    )
}

#[test]
fn answers() {
    for (rule, input, want) in CLIENT {
        for cut in 0..=input.len() {
            assert_eq!(ask(input, cut), *want, "{rule}, cut at {cut}");
        }
    }
}

#[test]
fn variables() {
    for (rule, input, want) in PARAMS {
        let got = pairs(Params::new(input)).unwrap_or_else(|error| format!("error {error:?}"));
        assert_eq!(got, *want, "{rule}");
    }
}

#[test]
fn too_many_variables_are_refused() {
    let mut wire = vec![];
    write_begin(&mut wire, 1, Role::Responder, false);
    write_params(&mut wire, 1, [(&b"A"[..], &[b'x'; 10_000][..])]);
    let mut server = Server::new(10_000, 1);
    let refused = server.advance(&wire, &mut vec![]);
    assert_eq!(refused, Err(Error::TooLarge { max: 10_000 }));
}

#[test]
fn a_large_request_survives_the_round() {
    let long = vec![b'v'; 200_000];
    let body: Vec<u8> = (0..150_000_u32).map(|n| (n % 251) as u8).collect();
    let mut wire = vec![];
    write_begin(&mut wire, 1, Role::Responder, true);
    write_params(&mut wire, 1, [(&b"LONG"[..], &long[..]), (b"B", b"2")]);
    write_stream(&mut wire, Kind::STDIN, 1, &body);
    write_end_stream(&mut wire, Kind::STDIN, 1);
    let mut server = Server::new(1 << 20, 1);
    for size in [997, wire.len()] {
        let (mut got, mut ended, mut pending) = (vec![], false, vec![]);
        for part in wire.chunks(size) {
            pending.extend_from_slice(part);
            loop {
                let (event, used) = server.advance(&pending, &mut vec![]).unwrap();
                let more = event != Event::More;
                match event {
                    Event::Body(data) => got.extend_from_slice(data),
                    Event::BodyEnd => ended = true,
                    _ => {}
                }
                pending.drain(..used);
                if !more {
                    break;
                }
            }
        }
        assert!(ended && got == body && server.keep());
        let params: Vec<_> = server.params().map(Result::unwrap).collect();
        assert!(params == [(&b"LONG"[..], &long[..]), (b"B", b"2")]);
        server.finish();
    }
}

#[test]
fn what_is_written() {
    let mut out = vec![];
    write_abort(&mut out, 3);
    write_end_request(&mut out, 3, 1, ProtocolStatus::Overloaded);
    write_stream(&mut out, Kind::STDOUT, 3, b"");
    write_end_stream(&mut out, Kind::STDOUT, 3);
    assert_eq!(
        out,
        b"\x01\x02\0\x03\0\0\0\0\x01\x03\0\x03\0\x08\0\0\0\0\0\x01\x02\0\0\0\x01\x06\0\x03\0\0\0\0"
    );
}
