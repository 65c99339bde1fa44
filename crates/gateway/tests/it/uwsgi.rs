//! uwsgi packets: what they come to, every prefix, and what does not fit.

use trine_gateway::{Error, Form, Pairs, uwsgi};

use crate::Row;

const MOST: usize = 2000;

pub(crate) const ROWS: &[Row] = &[
    (
        "a request and its body",
        b"\0\x0c\0\0\x01\0A\x02\0bc\x01\0D\0\0body",
        "0/0 A=bc D=, 16 used",
    ),
    ("no variables", b"\0\0\0\0", "0/0, 4 used"),
    ("another modifier", b"\x1e\0\0\x01", "30/1, 4 used"),
    (
        "a value beyond the end",
        b"\0\x06\0\0\x01\0A\x02\0b",
        "error VariableLength",
    ),
    (
        "a name without a value",
        b"\0\x03\0\0\x01\0A",
        "error VariableLength",
    ),
    (
        "half a length",
        b"\0\x04\0\0\x01\0A\x02",
        "error VariableLength",
    ),
    (
        "a name of 0 bytes",
        b"\0\x05\0\0\0\0\x01\0b",
        "error VariableName",
    ),
    (
        "a name with a NUL",
        b"\0\x06\0\0\x02\0A\0\0\0",
        "error VariableName",
    ),
    ("too large", b"\0\xff\xff\0", "error TooLarge { max: 2000 }"),
    (
        "HTTP on this port",
        b"GET / HTTP/1.1\r\n\r\n",
        "error TooLarge { max: 2000 }",
    ),
];

fn render(input: &[u8]) -> String {
    match uwsgi::decode(input, MOST) {
        Ok(None) => "need more".to_owned(),
        Ok(Some((packet, used))) => {
            let mut text = format!("{}/{}", packet.modifier1, packet.modifier2);
            for pair in packet.vars() {
                let (name, value) = pair.unwrap();
                text += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
            }
            text + &format!(", {used} used")
        }
        Err(error) => format!("error {error:?}"),
    }
}

#[test]
fn packets() {
    for (rule, input, want) in ROWS {
        assert_eq!(render(input), *want, "{rule}");
        for cut in 0..input.len() {
            let early = render(&input[..cut]);
            assert!(
                early == "need more" || early == *want,
                "{rule}: {cut} bytes: {early}"
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    for len in [65_530, 65_531, 70_000, 200_000] {
        let value = vec![b'x'; len];
        let mut out = b"before".to_vec();
        let written = uwsgi::write(&mut out, 0, 0, [(&b"A"[..], &value[..])]);
        if len == 65_530 {
            assert_eq!((written, out.len()), (Ok(()), 6 + 4 + 65_535));
        } else {
            assert_eq!(
                written,
                Err(Error::TooLarge {
                    max: uwsgi::MOST_VARS
                })
            );
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn what_is_behind_the_variables_counts_as_some() {
    let form = Form::Uwsgi {
        modifier1: 22,
        modifier2: 1,
    };
    let write = |out: &mut Vec<u8>, behind: &[u8]| {
        let mut pairs = Pairs::new(out, form);
        pairs.pair(b"A", b"b");
        pairs.behind(behind);
        pairs.end()
    };
    let mut out = Vec::new();
    write(&mut out, b"print(1)").unwrap();
    assert_eq!(out, b"\x16\x0e\x00\x01\x01\x00A\x01\x00bprint(1)");
    assert!(write(&mut out, &vec![b'x'; uwsgi::MOST_VARS]).is_err());
    assert_eq!(out.len(), 18);
}
