//! One check of one server: connects, asks, and holds the answer against what is wanted.
//!
//! Each check makes a connection of its own and closes it. Not here: what follows from the result (see `health`).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use trine_http1::{BodyDecoder, BodyError, Response, ResponseError, ResponseHead};

use crate::config::{Expectation, FieldTest, HealthCheck, PeerAddr, Probe};
use crate::stream::{Next, Stream};
use crate::tls::{Dial, Dialled};
use crate::upstream::ANSWER_LIMITS;
use crate::upstream::connect::open;

/// So much of a body is looked at.
const MOST_BODY: usize = 256 * 1024;
/// So much of an answer is read before its head has to be complete.
const MOST_HEAD: usize = 64 * 1024;

/// Why a server did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Sick {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("nothing came of it within {0:?}")]
    Late(Duration),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("it closed the connection before it had answered")]
    Cut,
    #[error("its answer is not HTTP")]
    Head(#[source] ResponseError),
    #[error("the head of its answer is too long")]
    LongHead,
    #[error("the body of its answer is malformed")]
    Body(#[source] BodyError),
    #[error("it answered {0}")]
    Status(u16),
    #[error("the field {0} of its answer is not what is wanted")]
    Field(String),
    #[error("the body of its answer is not what is wanted")]
    Content,
}

/// Checks a server once.
pub(super) async fn probe(
    addr: &PeerAddr,
    check: &HealthCheck,
    dials: &[Dial],
) -> Result<(), Sick> {
    match tokio::time::timeout(check.timeout, attempt(addr, check, dials)).await {
        Ok(done) => done,
        Err(_) => Err(Sick::Late(check.timeout)),
    }
}

async fn attempt(addr: &PeerAddr, check: &HealthCheck, dials: &[Dial]) -> Result<(), Sick> {
    let addr = with_port(addr, check.port);
    let mut stream = open(&addr, None, false).await.map_err(Sick::Connect)?;
    if let Some((dial, name)) = &check.tls
        && let Some(dial) = dials.get(*dial)
    {
        let name = ServerName::try_from(name.clone())
            .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        let tls = Dialled::new(stream, Arc::clone(&dial.config), name)
            .map_err(|error| Sick::Connect(io::Error::other(error)))?;
        poll_fn(|cx| tls.poll_handshake(cx))
            .await
            .map_err(Sick::Connect)?;
        stream = Stream::Dialled(Box::new(tls));
    }
    let Probe::Http { uri, host, expect } = &check.probe else {
        return Ok(());
    };
    let request = format!(
        "GET {uri} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: trine-proxy/health\r\nConnection: close\r\n\r\n"
    );
    send(&stream, request.as_bytes())
        .await
        .map_err(Sick::Broken)?;
    let mut buffer = Vec::new();
    let (head, length) = read_head(&stream, &mut buffer).await?;
    let answer = head.on(&buffer);
    judge(expect, &answer)?;
    if expect.body.is_empty() {
        return Ok(());
    }
    let mut decoder = BodyDecoder::new(answer.body("GET"));
    buffer.drain(..length);
    let body = read_body(&stream, &mut buffer, &mut decoder).await?;
    let good =
        |test: &crate::config::BodyTest| test.pattern.captures(&body).is_some() != test.negated;
    if expect.body.iter().all(good) {
        Ok(())
    } else {
        Err(Sick::Content)
    }
}

/// The address with another port, if it has ports.
fn with_port(addr: &PeerAddr, port: Option<u16>) -> PeerAddr {
    match (addr, port) {
        (PeerAddr::Ip(addr), Some(port)) => PeerAddr::Ip(SocketAddr::new(addr.ip(), port)),
        (PeerAddr::Name(name, _), Some(port)) => PeerAddr::Name(name.clone(), port),
        _ => addr.clone(),
    }
}

async fn send(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let slices = [IoSlice::new(bytes)];
        let count = poll_fn(|cx| stream.poll_write(cx, &slices, Next::Any)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Reads more; false at the end.
async fn more(stream: &Stream, buffer: &mut Vec<u8>) -> Result<bool, Sick> {
    let mut piece = [0; 8192];
    let count = poll_fn(|cx| stream.poll_read(cx, &mut piece))
        .await
        .map_err(Sick::Broken)?;
    buffer.extend_from_slice(&piece[..count]);
    Ok(count > 0)
}

/// The first head that is not an interim one stands at the start of the buffer; and its length.
async fn read_head(stream: &Stream, buffer: &mut Vec<u8>) -> Result<(ResponseHead, usize), Sick> {
    let mut head = ResponseHead::default();
    loop {
        if let Some(length) = head.parse(buffer, &ANSWER_LIMITS).map_err(Sick::Head)? {
            if !head.on(buffer).is_interim() {
                return Ok((head, length));
            }
            buffer.drain(..length);
            head.clear();
            continue;
        }
        if buffer.len() > MOST_HEAD {
            return Err(Sick::LongHead);
        }
        if !more(stream, buffer).await? {
            return Err(Sick::Cut);
        }
    }
}

/// The body, or its beginning if it is long.
async fn read_body(
    stream: &Stream,
    buffer: &mut Vec<u8>,
    decoder: &mut BodyDecoder,
) -> Result<Vec<u8>, Sick> {
    let mut body = Vec::new();
    loop {
        let decoded = decoder.decode(buffer).map_err(Sick::Body)?;
        body.extend_from_slice(&buffer[decoded.data]);
        buffer.drain(..decoded.consumed);
        if decoded.done || body.len() >= MOST_BODY {
            return Ok(body);
        }
        if decoded.consumed == 0 && !more(stream, buffer).await? {
            decoder.eof().map_err(Sick::Body)?;
            return Ok(body);
        }
    }
}

/// Holds the head of an answer against what is wanted.
fn judge(expect: &Expectation, answer: &Response<'_>) -> Result<(), Sick> {
    let status = answer.status();
    let good = match &expect.status {
        None => (200..400).contains(&status),
        Some(test) => {
            let within = |&(from, to): &(u16, u16)| (from..=to).contains(&status);
            test.ranges.iter().any(within) != test.negated
        }
    };
    if !good {
        return Err(Sick::Status(status));
    }
    for test in &expect.headers {
        let mut values = answer.get_all(&test.name);
        let found = match &test.wanted {
            FieldTest::There => values.next().is_some(),
            FieldTest::Equal(text) => values.any(|value| value == text.as_bytes()),
            FieldTest::Matching(pattern) => values.any(|value| pattern.captures(value).is_some()),
        };
        if found == test.negated {
            return Err(Sick::Field(test.name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HeaderTest, StatusTest};
    use crate::pattern::Pattern;

    #[track_caller]
    fn check(expect: &Expectation, answer: &str, want: &str) {
        let mut head = ResponseHead::default();
        head.parse(answer.as_bytes(), &ANSWER_LIMITS)
            .unwrap()
            .unwrap();
        let got = judge(expect, &head.on(answer.as_bytes()));
        let got = got.map_or_else(|sick| sick.to_string(), |()| "good".to_owned());
        assert_eq!(got, want, "{answer}");
    }

    #[test]
    fn answers() {
        let any = Expectation::default();
        check(&any, "HTTP/1.1 204 No Content\r\n\r\n", "good");
        check(&any, "HTTP/1.1 302 Found\r\n\r\n", "good");
        check(&any, "HTTP/1.1 500 Broken\r\n\r\n", "it answered 500");
        let statuses = |negated| Expectation {
            status: Some(StatusTest {
                ranges: vec![(200, 200), (404, 410)],
                negated,
            }),
            ..Expectation::default()
        };
        check(&statuses(false), "HTTP/1.1 410 Gone\r\n\r\n", "good");
        check(
            &statuses(false),
            "HTTP/1.1 201 Made\r\n\r\n",
            "it answered 201",
        );
        check(
            &statuses(true),
            "HTTP/1.1 410 Gone\r\n\r\n",
            "it answered 410",
        );
        check(&statuses(true), "HTTP/1.1 500 Broken\r\n\r\n", "good");
        let header = |wanted: FieldTest, negated| Expectation {
            headers: vec![HeaderTest {
                name: "X-Ok".to_owned(),
                wanted,
                negated,
            }],
            ..Expectation::default()
        };
        let with = "HTTP/1.1 200 OK\r\nx-ok: yes\r\n\r\n";
        let without = "HTTP/1.1 200 OK\r\n\r\n";
        let bad = "the field X-Ok of its answer is not what is wanted";
        check(&header(FieldTest::There, false), with, "good");
        check(&header(FieldTest::There, false), without, bad);
        check(&header(FieldTest::There, true), without, "good");
        check(
            &header(FieldTest::Equal("yes".to_owned()), false),
            with,
            "good",
        );
        check(&header(FieldTest::Equal("no".to_owned()), false), with, bad);
        check(
            &header(FieldTest::Equal("no".to_owned()), true),
            with,
            "good",
        );
        let pattern = Pattern::new("^y", false).unwrap();
        check(
            &header(FieldTest::Matching(pattern.clone()), false),
            with,
            "good",
        );
        check(&header(FieldTest::Matching(pattern), true), with, bad);
    }
}
