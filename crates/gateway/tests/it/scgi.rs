//! SCGI heads: what they come to, every prefix, and the round.

use trine_gateway::scgi;

use crate::Row;

const MOST: usize = 2000;

pub(crate) const ROWS: &[Row] = &[
    (
        "a request and its body",
        b"28:CONTENT_LENGTH\x004\x00SCGI\x001\x00A\x00b\x00,body",
        "CONTENT_LENGTH=4 SCGI=1 A=b, 32 used",
    ),
    (
        "a length with a sign",
        b"+5:CONTE,",
        "error NetstringLength",
    ),
    (
        "a length that begins with 0",
        b"024:CONTENT_LENGTH\x000\x00SCGI\x001\x00,",
        "error NetstringLength",
    ),
    (
        "a length of ten digits",
        b"1000000000:",
        "error NetstringLength",
    ),
    ("no length", b":,", "error NetstringLength"),
    ("too large", b"2001:", "error TooLarge { max: 2000 }"),
    (
        "no comma",
        b"24:CONTENT_LENGTH\x000\x00SCGI\x001\x00;",
        "error NetstringEnd",
    ),
    (
        "the length is not first",
        b"24:SCGI\x001\x00CONTENT_LENGTH\x000\x00,",
        "error ScgiHead",
    ),
    (
        "another version",
        b"24:CONTENT_LENGTH\x000\x00SCGI\x002\x00,",
        "error ScgiHead",
    ),
    (
        "no version",
        b"17:CONTENT_LENGTH\x000\x00,",
        "error ScgiHead",
    ),
    (
        "a length that is no number",
        b"24:CONTENT_LENGTH\x00x\x00SCGI\x001\x00,",
        "error ContentLength",
    ),
    (
        "the length twice",
        b"41:CONTENT_LENGTH\x000\x00SCGI\x001\x00CONTENT_LENGTH\x000\x00,",
        "error ScgiHead",
    ),
    (
        "a value without an end",
        b"25:CONTENT_LENGTH\x000\x00SCGI\x001\x00A,",
        "error VariableLength",
    ),
    (
        "a name of 0 bytes",
        b"27:CONTENT_LENGTH\x000\x00SCGI\x001\x00\x00b\x00,",
        "error VariableName",
    ),
    (
        "HTTP on this port",
        b"GET / HTTP/1.1\r\n",
        "error NetstringLength",
    ),
];

fn render(input: &[u8]) -> String {
    match scgi::decode(input, MOST) {
        Ok(None) => "need more".to_owned(),
        Ok(Some((vars, used))) => {
            let pairs: Vec<String> = vars
                .map(|pair| {
                    let (name, value) = pair.unwrap();
                    format!("{}={}", name.escape_ascii(), value.escape_ascii())
                })
                .collect();
            format!("{}, {used} used", pairs.join(" "))
        }
        Err(error) => format!("error {error:?}"),
    }
}

#[test]
fn heads() {
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
fn what_is_written_can_be_read_and_nothing_is_smuggled_in() {
    let vars = [
        (&b"REQUEST_METHOD"[..], &b"POST"[..]),
        (b"CONTENT_LENGTH", b"9"),
        (b"X", b"a\0SCGI\x002"),
    ];
    let mut out = vec![];
    scgi::write(&mut out, 12, vars);
    assert_eq!(
        render(&out),
        format!(
            "CONTENT_LENGTH=12 SCGI=1 REQUEST_METHOD=POST, {} used",
            out.len()
        )
    );
}
