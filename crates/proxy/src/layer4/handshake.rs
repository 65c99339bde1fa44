//! TLS at both ends of a session of TCP: ended for the client (`listen … ssl`), begun towards the server (`proxy_ssl`).
//!
//! The sessions themselves are those of HTTP (`tls`). Not here: reading what a client asks for without ending its TLS
//! (`hello`).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use rustls::pki_types::ServerName;

use super::session::{Session, reason, status, tell};
use crate::config::{Demand, StreamPass};
use crate::deadline::Place;
use crate::stream::{Next, Stream};
use crate::tls::{Dialled, Tls, Verdict};

/// The client's handshake.
pub(super) async fn run(session: &Session, tls: &Tls, place: &Place) -> Result<(), u16> {
    place.set(Some(Instant::now() + session.rules().handshake));
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = tls.poll_handshake(cx) {
            return Poll::Ready(done);
        }
        place
            .poll(cx)
            .map(|_| Err(io::Error::from_raw_os_error(nix::libc::ETIMEDOUT)))
    });
    done.await.map_err(|error| {
        let reason = reason(&error);
        tell!(
            info,
            session,
            "SSL_do_handshake() failed ({reason}) while SSL handshaking"
        );
        status::INTERNAL
    })
}

/// Whether the client's certificate is one that its server wants.
pub(super) fn judge(session: &Session, tls: &Tls) -> Result<(), u16> {
    let rules = session.rules().tls.as_ref();
    let Some(clients) = rules.and_then(|rules| rules.clients.as_ref()) else {
        return Ok(());
    };
    match tls.verdict() {
        Verdict::Good => Ok(()),
        Verdict::Nothing if clients.demand == Demand::Required => {
            tell!(info, session, "client sent no required SSL certificate");
            Err(status::INTERNAL)
        }
        Verdict::Nothing => Ok(()),
        Verdict::Bad { unknown: true, .. } if clients.demand == Demand::OptionalNoCa => Ok(()),
        Verdict::Bad { why, .. } => {
            tell!(info, session, "client SSL certificate verify error: {why}");
            Err(status::INTERNAL)
        }
    }
}

/// Begins TLS to a server, after the preamble that it may be owed.
pub(super) async fn begin(
    session: &Session,
    pass: &StreamPass,
    stream: Stream,
    group: &str,
) -> io::Result<Stream> {
    let Some((dial, name)) = &pass.tls else {
        return Ok(stream);
    };
    let introduction = session.introduction(pass);
    let mut left = introduction.as_bytes();
    while !left.is_empty() {
        let sent = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(left)], Next::Any)).await?;
        left = &left[sent..];
    }
    if let Some(one) = session.attempts.borrow_mut().last_mut() {
        one.sent += introduction.len() as u64;
    }
    let dials = &session.generation.fleet.dials;
    let dial = dials.get(*dial).ok_or(io::ErrorKind::NotFound)?;
    let name = name.as_ref().map(|name| name.value(session));
    let name = name.unwrap_or_else(|| group.as_bytes().to_vec());
    let text = String::from_utf8_lossy(&name);
    // A port is no part of it.
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => &text,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // What is no name at all cannot be told or verified, which a server that is not verified need not care for.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
    let tls = Dialled::new(stream, Arc::clone(&dial.config), name).map_err(io::Error::other)?;
    poll_fn(|cx| tls.poll_handshake(cx)).await?;
    Ok(Stream::Dialled(Box::new(tls)))
}

/// What is known of the client's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVariable {
    Protocol,
    Cipher,
    ServerName,
    Verdict,
    Curve,
    Application,
    Reused,
}

impl TlsVariable {
    /// Appends the value; false if there is none.
    pub(super) fn write(self, out: &mut Vec<u8>, tls: &Tls) -> bool {
        let text = match self {
            Self::Protocol => tls.protocol().map(str::to_owned),
            Self::Cipher => tls.cipher(),
            Self::ServerName => tls.server_name(),
            Self::Curve => tls.curve(),
            Self::Application => tls.application(),
            Self::Reused => Some(if tls.is_resumed() { "r" } else { "." }.to_owned()),
            Self::Verdict => Some(match tls.verdict() {
                Verdict::Nothing => "NONE".to_owned(),
                Verdict::Good => "SUCCESS".to_owned(),
                Verdict::Bad { why, .. } => format!("FAILED:{why}"),
            }),
        };
        out.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
        text.is_some()
    }
}
