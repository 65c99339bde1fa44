use trine_gateway::fastcgi::{
    self, ProtocolStatus, write_end_request, write_end_stream, write_stream,
};

use super::*;

fn records() -> Codec {
    Codec::FastCgi(Box::new(Records::new(true)))
}

fn script() -> Codec {
    Codec::Script(Box::new(ScriptHead::new(Style::HttpOrCgi, true)))
}

#[test]
fn pieces_of_a_body() {
    let check = |codec: &Codec, length, last, want: (&[u8], &[u8])| {
        let mut out = Vec::new();
        let tail = codec.surround(&mut out, length, last);
        assert_eq!((&out[..], tail), want, "{codec:?} {length} {last}");
    };
    let plain = Codec::Http1 { chunked: false };
    let chunked = Codec::Http1 { chunked: true };
    check(&plain, 20, true, (b"", b""));
    check(&chunked, 20, false, (b"14\r\n", b"\r\n"));
    check(&chunked, 0, true, (b"", b"0\r\n\r\n"));
    check(&plain, 0, true, (b"", b""));
    check(&script(), 20, true, (b"", b""));
    let end = STDIN_END;
    check(&records(), 258, false, (b"\x01\x05\0\x01\x01\x02\0\0", b""));
    check(&records(), 2, true, (b"\x01\x05\0\x01\0\x02\0\0", end));
    check(&records(), 0, true, (b"", end));
}

/// Gives a codec these bytes in pieces of `size`, as a connection would, and tells what became of them.
fn read(codec: &mut Codec, bytes: &[u8], size: usize) -> String {
    let (mut answer, mut head) = (Input::new(64), ResponseHead::default());
    let mut at = None;
    let mut body = Vec::new();
    for piece in bytes.chunks(size) {
        let room = answer.unread().len() + piece.len();
        assert!(answer.make_room(1 << 20) && room < 1 << 20);
        while answer.space().len() < piece.len() {
            answer.append(&vec![0; piece.len()]);
            answer.drop_last(piece.len());
        }
        answer.space()[..piece.len()].copy_from_slice(piece);
        answer.filled(piece.len());
        if let Err(fault) = codec.received(&mut answer, piece.len()) {
            return format!("{}: {fault}", body.escape_ascii());
        }
        if at.is_none() {
            match codec.head(&mut answer, &mut head) {
                Ok(None) => continue,
                Ok(Some(start)) => at = Some(start),
                Err(fault) => return fault.to_string(),
            }
            let shown = head.on(&answer.all()[at.unwrap_or(0)..]);
            body.extend_from_slice(
                format!("{} {}", shown.status(), shown.reason().escape_ascii()).as_bytes(),
            );
            for (name, value) in shown.headers() {
                body.extend_from_slice(b"|");
                body.extend_from_slice(name);
                body.extend_from_slice(b"=");
                body.extend_from_slice(value);
            }
            body.extend_from_slice(b"|");
        }
        body.extend_from_slice(answer.unread());
        answer.clear();
    }
    let end = match (at, codec.is_over()) {
        (None, _) => "no head",
        (_, None) => "",
        (_, Some(true)) => " (over)",
        (_, Some(false)) => " (goes on)",
    };
    format!("{}{end}", String::from_utf8_lossy(&body))
}

/// However the bytes come, they come to the same.
#[track_caller]
fn check(make: fn() -> Codec, bytes: &[u8], want: &str) {
    for size in (1..40).chain([bytes.len().max(1)]) {
        let mut codec = make();
        let got = read(&mut codec, bytes, size);
        assert_eq!(got, want, "in pieces of {size}");
    }
}

fn stdout(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        write_stream(&mut out, Kind::STDOUT, REQUEST_ID, part);
    }
    out
}

fn ended(mut out: Vec<u8>, status: ProtocolStatus) -> Vec<u8> {
    write_end_request(&mut out, REQUEST_ID, 0, status);
    out
}

#[test]
fn answers_in_records() {
    let plain = stdout(&[b"Content-Type: text/plain\r\n\r\nhello ", b"world"]);
    check(
        records,
        &plain,
        "200 OK|Content-Type=text/plain|hello world (goes on)",
    );
    let mut whole = plain.clone();
    write_end_stream(&mut whole, Kind::STDOUT, REQUEST_ID);
    let whole = ended(whole, ProtocolStatus::Complete);
    check(
        records,
        &whole,
        "200 OK|Content-Type=text/plain|hello world (over)",
    );
    // The head over several records, and a padded one.
    let mut cut = stdout(&[b"Status: 404 Not", b" Here\nX-A:", b" 1\n\n"]);
    cut.extend_from_slice(b"\x01\x06\0\x01\0\x03\x05\0abc.....");
    let cut = ended(cut, ProtocolStatus::Complete);
    check(records, &cut, "404 Not Here|X-A=1|abc (over)");
    let moved = ended(
        stdout(&[b"Location: /there\r\n\r\n"]),
        ProtocolStatus::Complete,
    );
    check(records, &moved, "302 Found|Location=/there| (over)");
    let framed = stdout(&[
        b"Transfer-Encoding: chunked\r\nConnection: close\r\nKeep-Alive: 5\r\nUpgrade: x\r\nX: y\r\n\r\n",
    ]);
    check(records, &framed, "200 OK|X=y| (goes on)");
}

#[test]
fn answers_that_are_none() {
    let busy = ended(Vec::new(), ProtocolStatus::Overloaded);
    check(records, &busy, "it said that it has too much to do");
    let nothing = ended(stdout(&[b"Content-"]), ProtocolStatus::Complete);
    check(
        records,
        &nothing,
        "it closed the connection within the head of its answer",
    );
    let wrong = "its answer is not one of its protocol";
    check(records, &stdout(&[b"no colon\r\n\r\n"]), wrong);
    check(records, &stdout(&[b"\r\n\r\n"]), wrong);
    check(records, &stdout(&[b"Status: 100 Continue\r\n\r\n"]), wrong);
    check(
        records,
        b"HTTP/1.1 200 OK\r\n\r\n",
        ": its answer is not one of its protocol",
    );
}

#[test]
fn standard_error_is_set_aside() {
    let mut bytes = Vec::new();
    write_stream(&mut bytes, Kind::STDERR, REQUEST_ID, b"a warning\n");
    bytes.extend(stdout(&[b"X: y\r\n\r\nbo"]));
    write_stream(&mut bytes, Kind::STDERR, REQUEST_ID, b"and another");
    bytes.extend(stdout(&[b"dy"]));
    let bytes = ended(bytes, ProtocolStatus::Complete);
    for size in [1, 3, 1000] {
        let mut codec = records();
        assert_eq!(read(&mut codec, &bytes, size), "200 OK|X=y|body (over)");
        assert!(codec.has_said(&[b"warning\nand".to_vec()]));
        assert!(!codec.has_said(&[b"error".to_vec()]));
        let said = codec.stderr().unwrap();
        assert_eq!(
            (&said.text[..], said.more),
            (&b"a warning\nand another"[..], 0)
        );
        assert_eq!(codec.stderr(), None);
    }
    let mut much = Vec::new();
    write_stream(&mut much, Kind::STDERR, REQUEST_ID, &[b'e'; 20_000]);
    let mut codec = records();
    read(&mut codec, &much, 4096);
    let said = codec.stderr().unwrap();
    assert_eq!(
        (said.text.len(), said.more),
        (16 * 1024, 20_000 - 16 * 1024)
    );
}

#[test]
fn what_comes_behind_the_end_spoils_the_connection() {
    let mut bytes = ended(stdout(&[b"X: y\r\n\r\n"]), ProtocolStatus::Complete);
    let mut codec = records();
    read(&mut codec, &bytes, 1000);
    assert!(codec.is_settled());
    fastcgi::write_abort(&mut bytes, REQUEST_ID);
    let mut codec = records();
    read(&mut codec, &bytes, 1000);
    assert!(!codec.is_settled());
}

#[test]
fn answers_of_scripts() {
    check(
        script,
        b"Status: 201 Made\r\nX: y\r\n\r\nbody",
        "201 Made|X=y|body",
    );
    check(
        script,
        b"HTTP/1.1 500 Oh\r\nConnection: close\r\nX: y\r\n\r\nb",
        "500 Oh|X=y|b",
    );
    check(
        script,
        b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "101 Go|Upgrade=websocket|Connection=Upgrade|",
    );
    check(script, b"HTTP/1.1 200 OK\r\n", "no head");
}

/// Damaged answers by seed: nothing panics, and what they come to does not depend on how they were cut.
#[test]
fn damaged_answers_come_to_the_same_however_they_are_cut() {
    let mut good = stdout(&[
        b"Content-Type: text/plain\r\nContent-",
        b"Length: 5\r\n\r\nhel",
        b"lo",
    ]);
    write_stream(&mut good, Kind::STDERR, REQUEST_ID, b"words");
    let good = ended(good, ProtocolStatus::Complete);
    for seed in 1..4000u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut roll = |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % sides
        };
        let mut bytes = good.clone();
        for _ in 0..=roll(3) {
            let at = roll(bytes.len());
            match roll(3) {
                0 => bytes[at] = roll(256) as u8,
                1 => bytes[at] ^= 1 << roll(8),
                _ => bytes.truncate(at + 1),
            }
        }
        // A fault may come after more or less of a body has been told.
        let told = |size: usize| {
            let text = read(&mut records(), &bytes, size);
            let failed = text.contains("its answer is") || text.contains("it closed");
            if failed { "a fault".to_owned() } else { text }
        };
        let whole = told(bytes.len());
        for size in [1, 3, 8, 11] {
            assert_eq!(told(size), whole, "seed {seed}, in pieces of {size}");
        }
    }
}

/// What a reader of heads makes of them, once directly and once by way of a translation.
fn both_ways(style: Style, bytes: &[u8]) -> (Option<String>, Option<String>) {
    let shown = |head: &ResponseHead, answer: &Input, at: usize| {
        let view = head.on(&answer.all()[at..]);
        let mut text = format!("{} {}", view.status(), view.reason().escape_ascii());
        for (name, value) in view.headers() {
            text += &format!("|{}={}", name.escape_ascii(), value.escape_ascii());
        }
        text += &format!("|{:?}", view.body("GET"));
        text + &format!("|{}", answer.unread().escape_ascii())
    };
    let input = || {
        let mut input = Input::new(0);
        input.append(bytes);
        input
    };
    let (mut answer, mut head) = (input(), ResponseHead::default());
    let mut script = ScriptHead::new(style, true);
    let direct = script
        .read(&mut answer, &mut head)
        .then(|| shown(&head, &answer, 0));
    let (mut answer, mut head) = (input(), ResponseHead::default());
    let mut script = ScriptHead::new(style, true);
    let translated = match script.translate(&mut answer) {
        Ok(true) => {
            let at = answer.start();
            match head.parse(answer.unread(), &ANSWER_LIMITS) {
                Ok(Some(length)) => {
                    answer.consume(length);
                    Some(shown(&head, &answer, at))
                }
                _ => None,
            }
        }
        _ => None,
    };
    (direct, translated)
}

#[test]
fn plain_heads_are_read_as_they_are() {
    for (style, head) in [
        (Style::Cgi, &b"Content-Type: text/html\r\n\r\nbody"[..]),
        (Style::Cgi, b"Status: 404 Not Here\r\nX: y\r\n\r\n"),
        (
            Style::Cgi,
            b"X: y\r\nstatus:  201\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            Style::HttpOrCgi,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        ),
        (Style::HttpOrCgi, b"HTTP/1.0 404\r\nA: b\r\n\r\n"),
        (Style::HttpOrCgi, b"Status: 500\r\nA: b\r\n\r\n"),
    ] {
        let (direct, translated) = both_ways(style, head);
        assert!(direct.is_some(), "{}", head.escape_ascii());
        assert_eq!(direct, translated, "{}", head.escape_ascii());
    }
}

/// Whatever is read directly comes out as the translation has it, and nothing that the translation refuses is read.
#[test]
fn reading_directly_changes_nothing() {
    const PIECES: [&[u8]; 28] = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404\r\n",
        b"HTTP/1.1 099 Low\r\n",
        b"HTTP/1.1 101 Up\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"Status: 200 OK\r\n",
        b"Status: 404\r\n",
        b"status:500 \r\n",
        b"Status: 99 X\r\n",
        b"Status: 100 Go on\r\n",
        b"Status: 2000\r\n",
        b"Location: /there\r\n",
        b"Location: http://there/\r\n",
        b"Location:\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 03x\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Trailer: X\r\n",
        b"Content-Type: text/plain\r\n",
        b"X: y\n",
        b" folded\r\n",
        b"X: a\x01b\r\n",
        b"X y: z\r\n",
        b"Te: x\r\n",
        b"Empty:\t \r\n",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |most: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % most
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let mut head = Vec::new();
        for _ in 0..next(4) {
            head.extend_from_slice(PIECES[next(PIECES.len())]);
        }
        head.extend_from_slice([&b"\r\n"[..], b"\n", b"", b"\r\n\r\n"][next(4)]);
        head.extend_from_slice(b"body");
        let style = [Style::Cgi, Style::HttpOrCgi][next(2)];
        let (direct, translated) = both_ways(style, &head);
        if direct.is_some() {
            read += 1;
            assert_eq!(direct, translated, "{style:?} {}", head.escape_ascii());
        }
    }
    assert!(read > 300, "{read}");
}
