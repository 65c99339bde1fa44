//! gunicorn's access log format: `%(h)s`-like atoms, compiled to pieces, written without Python.
//!
//! Not here: files. `%({NAME}e)s` is always `-`: the environ is gone when the line is written.

use std::io::Write as _;
use std::time::{Duration, Instant};

use trine_http1::Request;

/// What one line is made from.
#[derive(Debug)]
pub struct Record<'a> {
    pub request: Request<'a>,
    /// Empty for a Unix socket.
    pub remote_addr: &'a str,
    pub status: u16,
    pub body_bytes: u64,
    /// Status line and fields of the answer.
    pub answer: &'a [u8],
    pub took: Duration,
}

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Atom(Atom),
    RequestField(String),
    AnswerField(String),
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atom {
    RemoteAddr,
    User,
    Time,
    RequestLine,
    Method,
    Path,
    Query,
    Protocol,
    Status,
    Bytes,
    BytesOrDash,
    Referer,
    UserAgent,
    Seconds,
    Millis,
    Micros,
    DecimalSeconds,
    Pid,
}

/// The time of now as the log writes it, made once a second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    text: String,
    until: Option<Instant>,
}

impl Clock {
    fn now(&mut self) -> &str {
        let now = Instant::now();
        if self.until.is_none_or(|until| now >= until) {
            let wall = jiff::Zoned::now();
            self.text = wall.strftime("[%d/%b/%Y:%H:%M:%S %z]").to_string();
            let left = 1_000_000_000 - wall.subsec_nanosecond().unsigned_abs();
            self.until = Some(now + Duration::from_nanos(u64::from(left)));
        }
        &self.text
    }
}

impl Format {
    /// gunicorn's default: the combined format.
    pub const DEFAULT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// Compiles a format; `Err` is a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            let unknown =
                || format!("the access log format has %{rest:.12?}; an atom looks like %(h)s");
            let (name, after) = rest
                .strip_prefix('(')
                .and_then(|rest| rest.split_once(')'))
                .ok_or_else(unknown)?;
            rest = after.strip_prefix(['s', 'd']).ok_or_else(unknown)?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece(name));
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    pub(super) fn write(&self, record: &Record<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Atom(atom) => write_atom(*atom, record, clock, out),
                Piece::RequestField(name) => write_value(record.request.get(name), out),
                Piece::AnswerField(name) => write_value(answer_field(record.answer, name), out),
                Piece::Nothing => out.push(b'-'),
            }
        }
    }
}

fn piece(name: &str) -> Piece {
    if let Some((field, kind)) = name.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return match kind {
            "i" => Piece::RequestField(field.to_owned()),
            "o" => Piece::AnswerField(field.to_owned()),
            _ => Piece::Nothing,
        };
    }
    Piece::Atom(match name {
        "h" => Atom::RemoteAddr,
        "u" => Atom::User,
        "t" => Atom::Time,
        "r" => Atom::RequestLine,
        "m" => Atom::Method,
        "U" => Atom::Path,
        "q" => Atom::Query,
        "H" => Atom::Protocol,
        "s" => Atom::Status,
        "B" => Atom::Bytes,
        "b" => Atom::BytesOrDash,
        "f" => Atom::Referer,
        "a" => Atom::UserAgent,
        "T" => Atom::Seconds,
        "M" => Atom::Millis,
        "D" => Atom::Micros,
        "L" => Atom::DecimalSeconds,
        "p" => Atom::Pid,
        _ => return Piece::Nothing,
    })
}

fn write_atom(atom: Atom, record: &Record<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    let request = &record.request;
    // Writing into memory does not fail.
    let _ = match atom {
        Atom::RemoteAddr => {
            write_value(
                Some(record.remote_addr.as_bytes()).filter(|addr| !addr.is_empty()),
                out,
            );
            Ok(())
        }
        Atom::User => {
            let user = request.get("authorization").and_then(basic_user);
            write_value(user.as_deref(), out);
            Ok(())
        }
        Atom::Time => write!(out, "{}", clock.now()),
        Atom::RequestLine => {
            out.extend_from_slice(request.method().as_bytes());
            out.push(b' ');
            write_escaped(request.target(), out);
            out.push(b' ');
            out.extend_from_slice(request.version().as_str().as_bytes());
            Ok(())
        }
        Atom::Method => write!(out, "{}", request.method()),
        Atom::Path => {
            write_value(Some(request.path()), out);
            Ok(())
        }
        Atom::Query => {
            write_escaped(request.query().unwrap_or_default(), out);
            Ok(())
        }
        Atom::Protocol => write!(out, "{}", request.version()),
        Atom::Status => write!(out, "{}", record.status),
        Atom::BytesOrDash if record.body_bytes == 0 => {
            out.push(b'-');
            Ok(())
        }
        Atom::Bytes | Atom::BytesOrDash => write!(out, "{}", record.body_bytes),
        Atom::Referer => {
            write_value(request.get("referer"), out);
            Ok(())
        }
        Atom::UserAgent => {
            write_value(request.get("user-agent"), out);
            Ok(())
        }
        Atom::Seconds => write!(out, "{}", record.took.as_secs()),
        Atom::Millis => write!(out, "{}", record.took.as_millis()),
        Atom::Micros => write!(out, "{}", record.took.as_micros()),
        Atom::DecimalSeconds => write!(
            out,
            "{}.{:06}",
            record.took.as_secs(),
            record.took.subsec_micros()
        ),
        Atom::Pid => write!(out, "<{}>", std::process::id()),
    };
}

fn write_value(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => write_escaped(value, out),
        None => out.push(b'-'),
    }
}

/// As gunicorn: quotes get a backslash. Bytes beyond ASCII are latin-1 and become UTF-8.
fn write_escaped(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            0x80.. => out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes()),
            byte => out.push(byte),
        }
    }
}

/// The first field of this name in an answer's head.
fn answer_field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (found, value) = line.split_at(colon);
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| trine_http1::trim_ows(value[1..].trim_ascii_end()))
    })
}

/// The user of `Basic dXNlcjpwdw==`.
fn basic_user(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = decode_base64(rest.trim_ascii())?;
    let end = memchr::memchr(b':', &decoded)?;
    Some(decoded[..end].to_vec())
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in text.iter().take_while(|&&byte| byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_http1::{Limits, Policy, RequestHead};

    #[track_caller]
    fn check(format: &str, want: &str) {
        let raw = b"GET /a%20b?x=\"1\" HTTP/1.1\r\nHost: h\r\nReferer: r\xe9\r\nAuthorization: Basic dXNlcjpwdw==\r\n\r\n";
        let mut head = RequestHead::default();
        head.parse(raw, &Limits::default(), &Policy::default())
            .unwrap()
            .unwrap();
        let record = Record {
            request: head.on(raw),
            remote_addr: "127.0.0.1",
            status: 200,
            body_bytes: 5,
            answer: b"HTTP/1.1 200 OK\r\nContent-Type: text/x \r\n",
            took: Duration::from_micros(1_234_567),
        };
        let mut out = Vec::new();
        Format::parse(format)
            .unwrap()
            .write(&record, &mut Clock::default(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want, "{format}");
    }

    #[test]
    fn atoms() {
        check("%(h)s %(l)s %(u)s", "127.0.0.1 - user");
        check(
            r#""%(r)s" %(s)s %(b)s"#,
            r#""GET /a%20b?x=\"1\" HTTP/1.1" 200 5"#,
        );
        check(
            "%(m)s %(U)s %(q)s %(H)s %(B)s",
            r#"GET /a%20b x=\"1\" HTTP/1.1 5"#,
        );
        check("%(f)s %(a)s", "ré -");
        check("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234567");
        check(
            "%({host}i)s %({content-type}o)s %({x}o)s %({x}e)s 100%%",
            "h text/x - - 100%",
        );
    }

    #[test]
    fn bad_formats() {
        for bad in ["%h", "%(h", "%(h)x"] {
            Format::parse(bad).unwrap_err();
        }
        Format::parse(Format::DEFAULT).unwrap();
    }
}
