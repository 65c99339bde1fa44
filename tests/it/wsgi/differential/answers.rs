//! Answers as they are compared: read without judging, split, and freed of what is each server's own.

use std::io::Read as _;
use std::time::Duration;

use e2e::client::{Address, Stream};

use super::cases::{Case, Mode};

/// Nothing takes this long but a server that waits for more.
const PATIENCE: Duration = Duration::from_secs(25);

pub(super) struct Answer {
    status: String,
    /// Names in lower case, sorted.
    headers: Vec<(String, String)>,
    framing: String,
    connection: String,
    pub(super) body: Vec<u8>,
    /// The body ended as its framing said it would.
    whole: bool,
}

/// Asks, and reads to the end. `Err`: it did not come to one.
pub(super) fn read_answers(
    address: &Address,
    case: &Case,
    mode: Mode,
) -> Result<Vec<Answer>, String> {
    let mut stream = Stream::connect(address, PATIENCE).map_err(|problem| problem.to_string())?;
    // Refused early, it may not take everything.
    let sent = case.send(&mut stream, mode);
    let mut bytes = vec![];
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(problem) if problem.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(problem) => return Err(format!("hangs ({:?})", problem.kind())),
    }
    drop(sent);
    Ok(split(&bytes, case.is_head()))
}

fn split(mut rest: &[u8], head: bool) -> Vec<Answer> {
    let mut answers = vec![];
    while !rest.is_empty() {
        // The request behind the pipelined ones is a GET.
        let head = head && answers.len() < 2;
        let (answer, used) = Answer::split_off(rest, head);
        rest = &rest[used..];
        // Whether it comes depends on how fast the body is; the tests of PEP 3333 look at it.
        if answer.status != "HTTP/1.1 100 Continue" {
            answers.push(answer);
        }
    }
    answers
}

impl Answer {
    fn split_off(bytes: &[u8], is_head: bool) -> (Self, usize) {
        let end = find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let status = lines.next().unwrap_or_default().to_owned();
        let mut headers: Vec<(String, String)> = lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => (name.to_ascii_lowercase(), value.trim().to_owned()),
                None => (String::new(), line.to_owned()),
            })
            .collect();
        headers.sort();
        let value = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let code: u16 = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let rest = &bytes[end..];
        let length = value("content-length");
        let chunked = value("transfer-encoding").is_some();
        let announced = length.clone();
        let bodyless = is_head || code == 204 || code == 304 || (100..200).contains(&code);
        let (body, whole, used) = if bodyless {
            (vec![], true, 0)
        } else if let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) {
            let used = length.min(rest.len());
            (rest[..used].to_vec(), used == length, used)
        } else if chunked {
            dechunk(rest)
        } else {
            (rest.to_vec(), true, rest.len())
        };
        let connection = value("connection").unwrap_or_else(|| "-".to_owned());
        let size = body.len();
        let body = page(code, &body).unwrap_or(body);
        let own = [
            "date",
            "server",
            "connection",
            "content-length",
            "transfer-encoding",
        ];
        headers.retain(|(name, _)| !own.contains(&name.as_str()));
        let framing = match announced {
            _ if body.starts_with(b"page ") => "page".to_owned(),
            Some(length) if length == size.to_string() => "length".to_owned(),
            Some(length) => format!("length {length}"),
            None if chunked => "chunked".to_owned(),
            None => "none".to_owned(),
        };
        let answer = Self {
            status,
            headers,
            framing,
            connection,
            body,
            whole,
        };
        (answer, end + used)
    }

    /// What is compared of it beside headers and body.
    pub(super) fn aspects(&self) -> [(&'static str, String); 4] {
        [
            ("status", self.status.clone()),
            ("framing", self.framing.clone()),
            ("connection", self.connection.clone()),
            ("whole", self.whole.to_string()),
        ]
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn header(&self, name: &str) -> String {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect();
        if values.is_empty() {
            "-".to_owned()
        } else {
            values.join(" & ")
        }
    }
}

/// An error page in either server's words: only its title counts.
fn page(code: u16, body: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(body);
    let text = (code >= 400).then_some(&*text)?;
    let title = text.trim_start().strip_prefix("<html>")?;
    let title = title.split_once("<title>")?.1.split_once("</title>")?.0;
    Some(format!("page {title}").into_bytes())
}

/// The content, whether its end came, and how many bytes it took.
fn dechunk(bytes: &[u8]) -> (Vec<u8>, bool, usize) {
    let (mut body, mut at) = (vec![], 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            return (body, false, bytes.len());
        };
        let size = std::str::from_utf8(&bytes[at..at + end]).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            return (body, false, bytes.len());
        };
        at += end + 2;
        let after = (at + size + 2).min(bytes.len());
        if size == 0 {
            return (body, bytes[at..].starts_with(b"\r\n"), after);
        }
        if at + size > bytes.len() {
            body.extend_from_slice(&bytes[at..]);
            return (body, false, bytes.len());
        }
        body.extend_from_slice(&bytes[at..at + size]);
        at = after;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Of two bodies, the lines that only one has.
pub(super) fn differing_lines(ours: &[u8], theirs: &[u8]) -> (String, String) {
    let only = |one: &[u8], other: &[u8]| {
        let others: Vec<&[u8]> = other.split(|byte| *byte == b'\n').collect();
        let lines = one.split(|byte| *byte == b'\n');
        let own: Vec<String> = lines
            .filter(|line| !others.contains(line))
            .map(|line| {
                let shown = line.escape_ascii().to_string();
                let shown = if shown.is_empty() { "-" } else { &shown }.to_owned();
                if shown.len() > 200 {
                    format!("{} bytes", line.len())
                } else {
                    shown
                }
            })
            .collect();
        if own.is_empty() {
            "-".to_owned()
        } else {
            own.join(" & ")
        }
    };
    if ours == theirs {
        return (String::new(), String::new());
    }
    let (mine, yours) = (only(ours, theirs), only(theirs, ours));
    if mine == yours {
        return (
            format!("{} bytes", ours.len()),
            format!("{} bytes", theirs.len()),
        );
    }
    (mine, yours)
}
