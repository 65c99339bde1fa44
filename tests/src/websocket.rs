//! Just enough WebSocket to prove that an upgrade passes: the RFC's sample key, short text frames, both directions.

use std::io;

use crate::client::{Client, Request};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What RFC 6455, section 1.3, says the answer to that key is.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The handshake request.
#[must_use]
pub fn handshake(target: &str) -> Request {
    Request::get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

/// Shakes hands; the connection speaks WebSocket afterwards.
#[track_caller]
pub fn upgrade(client: &mut Client, target: &str) {
    let reply = client.ask(&handshake(target));
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(reply.header("sec-websocket-accept"), Some(ACCEPT));
}

/// Sends a text message of up to 125 bytes, masked as a client must.
pub fn send_text(client: &mut Client, text: &str) -> io::Result<()> {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|length| *length < 126)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend(MASK);
    frame.extend(
        text.bytes()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    client.write(&frame)
}

/// Reads a short, unmasked text message.
pub fn read_text(client: &mut Client) -> io::Result<String> {
    let head = client.read_exact(2)?;
    if head[0] != 0x81 || head[1] >= 126 {
        return Err(io::Error::other(format!(
            "not a short text frame: {head:02x?}"
        )));
    }
    let body = client.read_exact(usize::from(head[1]))?;
    String::from_utf8(body).map_err(io::Error::other)
}

/// The payload of one masked frame and its length on the wire, or `None` when there is not enough of it.
pub(crate) fn unmask(frame: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (head, rest) = frame.split_first_chunk::<2>()?;
    let length = usize::from(head[1] & 0x7f);
    let mask = rest.get(..4)?;
    let masked = rest.get(4..4 + length)?;
    Some((
        masked
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect(),
        6 + length,
    ))
}
