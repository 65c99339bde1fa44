//! One HTTP request per connection: enough to look at an answer before trusting a server.
//! Not here: keep-alive, redirects, TLS. Written apart from `trine-http1`, so that one mistake cannot hide in both.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Between the first byte of the answer and the last.
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn get(server: SocketAddr, target: &str) -> anyhow::Result<Answer> {
    ask(server, "GET", target, &[], b"")
}

/// The same on a Unix socket.
pub(crate) fn get_unix(socket: &Path, target: &str) -> anyhow::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (answer, took) = exchange(&mut stream, request.as_bytes())
        .with_context(|| format!("GET {target} from {}", socket.display()))?;
    parse(&answer, took).with_context(|| format!("the answer to GET {target}"))
}

/// Sends one request and reads the answer until the server closes.
pub(crate) fn ask(
    server: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if !body.is_empty() || method == "POST" {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    let (answer, took) = connect(server)
        .and_then(|mut stream| exchange(&mut stream, &bytes))
        .with_context(|| format!("{method} http://{server}{target}"))?;
    parse(&answer, took).with_context(|| format!("the answer to {method} {target}"))
}

fn connect(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
) -> anyhow::Result<(Vec<u8>, Duration)> {
    stream.write_all(request)?;
    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer).context("no answer")?;
    let first = Instant::now();
    stream.read_to_end(&mut answer)?;
    Ok((answer, first.elapsed()))
}

fn parse(bytes: &[u8], took: Duration) -> anyhow::Result<Answer> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("has no end of its head")
    };
    let (head, mut body) = (
        String::from_utf8_lossy(&bytes[..end]).into_owned(),
        bytes[end + 4..].to_vec(),
    );
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let status = status
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("has no status")?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let answer = Answer {
        status,
        headers,
        body: vec![],
        took,
    };
    if answer.header("transfer-encoding").is_some() {
        body = dechunk(&body)?;
    } else if let Some(length) = answer
        .header("content-length")
        .and_then(|value| value.parse::<usize>().ok())
        && body.len() != length
    {
        bail!("has {} bytes of {length}", body.len());
    }
    Ok(Answer { body, ..answer })
}

fn dechunk(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = vec![];
    loop {
        let end = rest
            .windows(2)
            .position(|two| two == b"\r\n")
            .context("ends inside a chunk")?;
        let size = std::str::from_utf8(&rest[..end])?
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let size = usize::from_str_radix(&size, 16).context("has a chunk without a size")?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).context("ends inside a chunk")?);
        rest = rest.get(size + 2..).context("ends inside a chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let answer = parse(chunked, Duration::ZERO).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"));
        assert!(parse(&chunked[..chunked.len() - 12], Duration::ZERO).is_err());
        assert!(
            parse(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
                Duration::ZERO
            )
            .is_err()
        );
        assert_eq!(
            parse(b"HTTP/1.0 404 Not Found\r\n\r\n", Duration::ZERO)
                .unwrap()
                .status,
            404
        );
    }
}
