//! gunicorn's access log format: `%(h)s`-like atoms, compiled to pieces, written without Python.
//!
//! Not here: files, and the record itself (`record`).

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::record::{Record, basic_user};

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    /// Names in `environ` that are asked for.
    environ: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value { what: What, width: Width },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Atom(Atom),
    RequestField(String),
    AnswerField(String),
    /// By its place in [`Format::environ`].
    Environ(usize),
    Nothing,
}

/// How far a value is filled up with spaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Width {
    least: usize,
    /// The spaces come behind.
    left: bool,
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
        let mut format = Self {
            pieces: Vec::new(),
            environ: Vec::new(),
        };
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
            let (width, after) = width(after);
            rest = after.strip_prefix(['s', 'd']).ok_or_else(unknown)?;
            if !plain.is_empty() {
                format.pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            let what = format.what(name);
            format.pieces.push(Piece::Value { what, width });
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            format.pieces.push(Piece::Text(plain));
        }
        Ok(format)
    }

    /// The names of `%({NAME}e)s`, as they were written. Their values are in [`Record::environ`], in this order.
    #[must_use]
    pub fn environ(&self) -> &[String] {
        &self.environ
    }

    fn what(&mut self, name: &str) -> What {
        let braced = name.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        match braced {
            Some((field, "i")) => What::RequestField(field.to_owned()),
            Some((field, "o")) => What::AnswerField(field.to_owned()),
            Some((field, "e")) => {
                self.environ.push(field.to_owned());
                What::Environ(self.environ.len() - 1)
            }
            Some(_) => What::Nothing,
            None => Atom::named(name).map_or(What::Nothing, What::Atom),
        }
    }

    pub(super) fn write(&self, record: &Record<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value { what, width } => {
                    let start = out.len();
                    what.write(record, clock, out);
                    width.fill(out, start);
                }
            }
        }
    }
}

/// `-10`, `8` or nothing in front of the conversion.
fn width(text: &str) -> (Width, &str) {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    let width = Width {
        least: number.parse().unwrap_or(0).min(1024),
        left: digits.len() < text.len(),
    };
    (width, rest)
}

impl Width {
    fn fill(self, out: &mut Vec<u8>, start: usize) {
        let written = out.get(start..).unwrap_or_default();
        let letters = written
            .iter()
            .filter(|byte| (**byte & 0xc0) != 0x80)
            .count();
        let missing = self.least.saturating_sub(letters);
        if missing > 0 {
            let at = if self.left { out.len() } else { start };
            out.splice(at..at, std::iter::repeat_n(b' ', missing));
        }
    }
}

impl What {
    fn write(&self, record: &Record<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
        match self {
            Self::Atom(atom) => write_atom(*atom, record, clock, out),
            Self::RequestField(name) => write_value(record.request_field(name), out),
            Self::AnswerField(name) if name.eq_ignore_ascii_case("content-length") => {
                let length = record.content_length.map(|length| length.to_string());
                write_value(length.as_deref().map(str::as_bytes), out);
            }
            Self::AnswerField(name) => write_value(record.answer_field(name), out),
            Self::Environ(place) => {
                let value = record.environ.get(*place).and_then(Option::as_deref);
                write_value(value, out);
            }
            Self::Nothing => out.push(b'-'),
        }
    }
}

impl Atom {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "h" => Self::RemoteAddr,
            "u" => Self::User,
            "t" => Self::Time,
            "r" => Self::RequestLine,
            "m" => Self::Method,
            "U" => Self::Path,
            "q" => Self::Query,
            "H" => Self::Protocol,
            "s" => Self::Status,
            "b" | "B" => Self::Bytes,
            "f" => Self::Referer,
            "a" => Self::UserAgent,
            "T" => Self::Seconds,
            "M" => Self::Millis,
            "D" => Self::Micros,
            "L" => Self::DecimalSeconds,
            "p" => Self::Pid,
            _ => return None,
        })
    }
}

fn write_atom(atom: Atom, record: &Record<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    let request = &record.request;
    let took = record.took;
    let number = |out: &mut Vec<u8>, number: u128| {
        // Writing into memory does not fail.
        let _ = write!(out, "{number}");
    };
    match atom {
        // A Unix socket has no address, which is not the same as none that is known.
        Atom::RemoteAddr => write_escaped(record.remote_addr(), out),
        Atom::User => {
            let user = request.get("authorization").and_then(basic_user);
            write_value(user.as_deref().filter(|user| !user.is_empty()), out);
        }
        Atom::Time => out.extend_from_slice(clock.now().as_bytes()),
        Atom::RequestLine => {
            out.extend_from_slice(request.method().as_bytes());
            out.push(b' ');
            write_escaped(request.target(), out);
            out.push(b' ');
            out.extend_from_slice(record.protocol());
        }
        Atom::Method => out.extend_from_slice(request.method().as_bytes()),
        Atom::Path => write_escaped(&record.path(), out),
        Atom::Query => write_escaped(record.query(), out),
        Atom::Protocol => write_escaped(record.protocol(), out),
        Atom::Status => number(out, record.status.into()),
        Atom::Bytes => number(out, record.body_bytes.into()),
        Atom::Referer => write_value(request.get("referer"), out),
        Atom::UserAgent => write_value(request.get("user-agent"), out),
        Atom::Seconds => number(out, took.as_secs().into()),
        Atom::Millis => number(out, took.as_millis()),
        Atom::Micros => number(out, took.as_micros()),
        Atom::DecimalSeconds => {
            let _ = write!(out, "{}.{:06}", took.as_secs(), took.subsec_micros());
        }
        Atom::Pid => {
            let _ = write!(out, "<{}>", std::process::id());
        }
    }
}

fn write_value(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => write_escaped(value, out),
        None => out.push(b'-'),
    }
}

/// As gunicorn: quotes get a backslash. Bytes beyond ASCII are latin-1 and become UTF-8. Control characters, which
/// gunicorn writes as they are, would let a client write lines of its own.
fn write_escaped(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            0..b' ' | 0x7f => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            0x80.. => out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes()),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_http1::{Limits, Policy, RequestHead};

    #[track_caller]
    fn check(format: &str, want: &str) {
        let raw = b"GET /a%20b?x=\"1\" HTTP/1.1\r\nHost: h\r\nX: 1\r\nX: 2\r\nReferer: r\xe9\r\nAuthorization: Basic dXNlcjpwdw==\r\n\r\n";
        let mut head = RequestHead::default();
        head.parse(raw, &Limits::default(), &Policy::default())
            .unwrap()
            .unwrap();
        let record = Record {
            request: head.on(raw),
            given: None,
            peer: "127.0.0.1",
            status: 200,
            body_bytes: 5,
            answer: b"HTTP/1.1 200 OK\r\nContent-Type: text/x \r\n",
            content_length: Some(5),
            environ: &[Some(b"one".to_vec()), None],
            took: Duration::from_micros(1_234_567),
            queued: Duration::ZERO,
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
            r#"GET /a b x=\"1\" HTTP/1.1 5"#,
        );
        check("%(f)s %(a)s", "ré -");
        check("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234567");
        check(
            "%({host}i)s %({X}i)s %({content-type}o)s %({Content-Length}o)s %({x}o)s 100%%",
            "h 2 text/x 5 - 100%",
        );
        check("%({a}e)s %({b}e)s %({c}x)s %(zz)s", "one - - -");
        check("[%(m)5s] [%(m)-5s] [%(s)2s]", "[  GET] [GET  ] [200]");
    }

    #[test]
    fn bad_formats() {
        for bad in ["%h", "%(h", "%(h)x", "%(h)"] {
            Format::parse(bad).unwrap_err();
        }
        Format::parse(Format::DEFAULT).unwrap();
    }
}
