//! Preambles of the PROXY protocol, good and bad, whole and on every prefix.

use trine_http1::{Preamble, PreambleVersions, read_preamble};

const BOTH: PreambleVersions = PreambleVersions { v1: true, v2: true };

fn told(buf: &[u8], versions: PreambleVersions) -> String {
    match read_preamble(buf, versions) {
        Ok(Preamble::Partial) => "more".to_owned(),
        Ok(Preamble::Absent) => "absent".to_owned(),
        Ok(Preamble::Present { len, addresses }) => match addresses {
            Some((from, to)) => format!("{len}: {from} to {to}"),
            None => format!("{len}"),
        },
        Err(error) => format!("error: {error}"),
    }
}

/// A good preamble needs more on every prefix, and what follows it changes nothing.
#[track_caller]
fn check(buf: &[u8], want: &str) {
    assert_eq!(told(buf, BOTH), want, "{}", buf.escape_ascii());
    if want.starts_with(|first: char| first.is_ascii_digit()) {
        for cut in 0..buf.len() {
            assert_eq!(told(&buf[..cut], BOTH), "more", "the first {cut} bytes");
        }
        assert_eq!(told(&[buf, b"GET / HTTP/1.1\r\n"].concat(), BOTH), want);
    }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut buf = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    buf.extend([command, family]);
    buf.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    buf.extend(body);
    buf
}

#[test]
fn lines() {
    check(
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 443\r\n",
        "37: 1.2.3.4:1111 to 5.6.7.8:443",
    );
    check(
        b"PROXY TCP6 ::1 2001:db8::2 1 2\r\n",
        "32: [::1]:1 to [2001:db8::2]:2",
    );
    check(b"PROXY UNKNOWN\r\n", "15");
    check(b"PROXY UNKNOWN ff ff 1 2\r\n", "25");
    for bad in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1111 443 9\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1111 443\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY \r\n",
    ] {
        check(bad.as_bytes(), "error: the PROXY line is not valid");
    }
    let long = [b"PROXY TCP4 ", &[b'1'; 100][..]].concat();
    check(&long, "error: the PROXY line is not valid");
}

#[test]
fn headers() {
    let four = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187];
    check(&v2(0x21, 0x11, &four), "28: 1.2.3.4:80 to 5.6.7.8:443");
    let mut six = [0; 36];
    (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
    check(&v2(0x21, 0x21, &six), "52: [::1]:3 to [::2]:4");
    // With extensions behind the addresses.
    let more = [&four[..], &[4, 0, 2, 9, 9]].concat();
    check(&v2(0x21, 0x11, &more), "33: 1.2.3.4:80 to 5.6.7.8:443");
    check(&v2(0x20, 0x00, b""), "16");
    check(&v2(0x20, 0x11, &four), "28");
    check(&v2(0x21, 0x00, b"xx"), "18");
    check(&v2(0x21, 0x31, &[0; 216]), "232");
    let length = "error: the PROXY header's length does not fit";
    check(&v2(0x21, 0x11, &four[..11]), length);
    check(&v2(0x21, 0x21, &four), length);
    check(&v2(0x20, 0x00, &[0; 5000]), length);
    let command = "error: the PROXY header has an unknown version or command";
    check(&v2(0x11, 0x11, &four), command);
    check(&v2(0x22, 0x11, &four), command);
    let transport = "error: the PROXY header names a transport that is not a stream";
    check(&v2(0x21, 0x12, &four), transport);
}

#[test]
fn what_is_no_preamble_is_left_alone() {
    check(b"GET / HTTP/1.1\r\n", "absent");
    check(b"PROPFIND / HTTP/1.1\r\n", "absent");
    check(b"\r\nGET / HTTP/1.1\r\n", "absent");
    check(b"PRO", "more");
    check(b"\r\n", "more");
    let only = |v1, v2| PreambleVersions { v1, v2 };
    let line = b"PROXY UNKNOWN\r\n";
    assert_eq!(told(line, only(false, true)), "absent");
    assert_eq!(told(&v2(0x20, 0, b""), only(true, false)), "absent");
    assert_eq!(told(line, only(false, false)), "absent");
}
