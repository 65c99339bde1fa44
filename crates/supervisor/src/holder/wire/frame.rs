//! Frames between holder and brain: bytes in, bytes out.
//! Not here: sockets, descriptors themselves, or what a frame says (`order`, `report`).

use serde::Serialize;
use serde::de::DeserializeOwned;

pub const VERSION: u8 = 1;
/// version, number of descriptors, two zero bytes, length of the body.
pub const HEAD_BYTES: usize = 8;
pub const MAX_BODY_BYTES: usize = 64 << 20;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a frame of version {0}, not {VERSION}")]
    Version(u8),
    #[error("a frame of {0} bytes, limit {MAX_BODY_BYTES}")]
    TooLarge(usize),
    #[error("a frame that is not understood: {0}")]
    Body(String),
    #[error("a frame without the descriptors it announced")]
    Descriptors,
}

/// One frame, not yet interpreted.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub body: &'a [u8],
    /// How many descriptors came with it.
    pub fds: usize,
}

impl Frame<'_> {
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        serde_json::from_slice(self.body).map_err(|err| WireError::Body(err.to_string()))
    }
}

/// Splits the first frame off `buf`, with the number of bytes it took. `Ok(None)`: more bytes are needed.
pub fn decode(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let Some((head, rest)) = buf.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let [version, fds, _, _, a, b, c, d] = *head;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > MAX_BODY_BYTES {
        return Err(WireError::TooLarge(len));
    }
    Ok(rest.get(..len).map(|body| {
        (
            Frame {
                body,
                fds: usize::from(fds),
            },
            HEAD_BYTES + len,
        )
    }))
}

pub fn encode<T: Serialize>(message: &T, fds: u8) -> Result<Vec<u8>, WireError> {
    let mut out = vec![VERSION, fds, 0, 0, 0, 0, 0, 0];
    serde_json::to_writer(&mut out, message).map_err(|err| WireError::Body(err.to_string()))?;
    let len = out.len() - HEAD_BYTES;
    match u32::try_from(len) {
        Ok(short) if len <= MAX_BODY_BYTES => {
            out[4..HEAD_BYTES].copy_from_slice(&short.to_be_bytes())
        }
        _ => return Err(WireError::TooLarge(len)),
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], want: &str) {
        let got = match decode(input) {
            Ok(None) => "need more".to_owned(),
            Ok(Some((frame, used))) => {
                format!(
                    "{} with {} fds, {used} bytes used",
                    frame.body.escape_ascii(),
                    frame.fds
                )
            }
            Err(err) => format!("error: {err}"),
        };
        assert_eq!(got, want, "input: {}", input.escape_ascii());
    }

    #[test]
    fn frames() {
        let good = encode(&"hi", 2).unwrap();
        check(&good, "\\\"hi\\\" with 2 fds, 12 bytes used");
        (0..good.len()).for_each(|cut| check(&good[..cut], "need more"));
        check(
            &[&good[..], b"rest"].concat(),
            "\\\"hi\\\" with 2 fds, 12 bytes used",
        );
        check(b"\x02\0\0\0\0\0\0\0", "error: a frame of version 2, not 1");
        check(
            b"\x01\0\0\0\xff\xff\xff\xff",
            "error: a frame of 4294967295 bytes, limit 67108864",
        );
    }
}
