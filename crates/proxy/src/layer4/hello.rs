//! A TLS client's first message, read for whom it asks for (RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301).
//!
//! Bytes in, answer out: the message may be cut anywhere, by segments as by records. Not here: reading it off a
//! connection, or TLS itself.

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Lower-case; empty if it names none.
    pub(crate) server_name: Vec<u8>,
    /// The protocols it speaks inside (ALPN), best first.
    pub(crate) protocols: Vec<Vec<u8>>,
    /// The highest version it speaks: 0x0303 is TLS 1.2.
    pub(crate) version: u16,
}

/// What the first bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Preread {
    /// More bytes are needed.
    Partial,
    /// No TLS, or not as it should be.
    Other,
    Hello(Hello),
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEAD: usize = 5;
const MESSAGE_HEAD: usize = 4;
/// No record is longer before encryption (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 1 << 14;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

impl Hello {
    /// As nginx writes it; empty for a version that has no name.
    pub(crate) fn version_text(&self) -> &'static str {
        match self.version {
            0x0002 => "SSLv2",
            0x0300 => "SSLv3",
            0x0301 => "TLSv1",
            0x0302 => "TLSv1.1",
            0x0303 => "TLSv1.2",
            0x0304 => "TLSv1.3",
            _ => "",
        }
    }
}

/// Reads as much as is there.
pub(crate) fn read(mut bytes: &[u8]) -> Preread {
    // The message, put together from its records.
    let mut message: Vec<u8> = Vec::new();
    loop {
        // What is wrong is told from the first byte that shows it.
        if bytes.first().is_some_and(|kind| *kind != HANDSHAKE)
            || bytes.get(1).is_some_and(|major| *major != 3)
        {
            return Preread::Other;
        }
        let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD>() else {
            return Preread::Partial;
        };
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if len == 0 || len > LONGEST_RECORD {
            return Preread::Other;
        }
        let whole = rest.len() >= len;
        message.extend_from_slice(&rest[..len.min(rest.len())]);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Preread::Other;
        }
        if let Some((head, body)) = message.split_first_chunk::<MESSAGE_HEAD>() {
            let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            if let Some(body) = body.get(..len) {
                return parse(body).map_or(Preread::Other, Preread::Hello);
            }
        }
        if !whole {
            return Preread::Partial;
        }
        bytes = &rest[len..];
    }
}

/// The body of the message; `None` if it is malformed.
fn parse(body: &[u8]) -> Option<Hello> {
    let mut rest = body;
    let version = u16_of(&mut rest)?;
    take(&mut rest, 32)?;
    let session = usize::from(u8_of(&mut rest)?);
    take(&mut rest, session)?;
    let suites = usize::from(u16_of(&mut rest)?);
    take(&mut rest, suites)?;
    let methods = usize::from(u8_of(&mut rest)?);
    take(&mut rest, methods)?;
    let mut hello = Hello {
        version,
        ..Hello::default()
    };
    if rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = vector16(&mut rest)?;
    while !extensions.is_empty() {
        let kind = u16_of(&mut extensions)?;
        let mut data = vector16(&mut extensions)?;
        match kind {
            SERVER_NAME => {
                let mut names = vector16(&mut data)?;
                while !names.is_empty() {
                    let kind = u8_of(&mut names)?;
                    let name = vector16(&mut names)?;
                    if kind == 0 {
                        hello.server_name = name.to_ascii_lowercase();
                    }
                }
            }
            ALPN => {
                let mut list = vector16(&mut data)?;
                while !list.is_empty() {
                    let len = usize::from(u8_of(&mut list)?);
                    hello.protocols.push(take(&mut list, len)?.to_vec());
                }
            }
            SUPPORTED_VERSIONS => {
                let len = usize::from(u8_of(&mut data)?);
                let mut list = take(&mut data, len)?;
                while !list.is_empty() {
                    let one = u16_of(&mut list)?;
                    // Others are there to be ignored (RFC 8701).
                    if (0x0301..=0x0304).contains(&one) {
                        hello.version = hello.version.max(one);
                    }
                }
            }
            _ => {}
        }
    }
    Some(hello)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (front, back) = rest.split_at_checked(len)?;
    *rest = back;
    Some(front)
}

fn u8_of(rest: &mut &[u8]) -> Option<u8> {
    take(rest, 1).map(|bytes| bytes[0])
}

fn u16_of(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn vector16<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::from(u16_of(rest)?);
    take(rest, len)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What rustls says first, as one record.
    fn hello(name: &'static str, protocols: &[&str]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|one| one.as_bytes().to_vec())
            .collect();
        let name = name.try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    /// The same message in records of `size` bytes.
    fn in_records(record: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in record[RECORD_HEAD..].chunks(size) {
            out.extend_from_slice(&record[..3]);
            out.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_be_bytes());
            out.extend_from_slice(piece);
        }
        out
    }

    #[test]
    fn at_every_cut() {
        let whole = hello("WWW.Example.org", &["h2", "http/1.1"]);
        let want = Hello {
            server_name: b"www.example.org".to_vec(),
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            version: 0x0304,
        };
        for size in [1, 2, 3, 4, 5, 64, 16384] {
            let bytes = in_records(&whole, size);
            assert_eq!(read(&bytes), Preread::Hello(want.clone()), "{size}");
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Preread::Partial, "{size} {cut}");
            }
            let more = [&bytes[..], b"what follows"].concat();
            assert_eq!(read(&more), Preread::Hello(want.clone()));
        }
        assert_eq!(want.version_text(), "TLSv1.3");
    }

    #[test]
    fn what_is_none() {
        let check = |bytes: &[u8], want: Preread| assert_eq!(read(bytes), want, "{bytes:x?}");
        check(b"", Preread::Partial);
        check(b"GET / HTTP/1.1\r\n", Preread::Other);
        check(b"\x16", Preread::Partial);
        check(b"\x16\x02", Preread::Other);
        // The head of a record without its body, in front of a message and within one.
        check(b"\x16\x03\x01\x02\x00", Preread::Partial);
        check(
            b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x02\x00",
            Preread::Partial,
        );
        // An empty record, one that is too long, another message.
        check(b"\x16\x03\x01\x00\x00", Preread::Other);
        check(b"\x16\x03\x01\x40\x01", Preread::Other);
        check(b"\x16\x03\x01\x00\x05\x02", Preread::Other);
        // Lengths that lead out of the message.
        check(
            b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",
            Preread::Other,
        );
    }

    #[test]
    fn without_extensions() {
        let mut message = vec![3, 1];
        message.extend_from_slice(&[7; 32]);
        message.extend_from_slice(&[0, 0, 2, 0, 0x2f, 1, 0]);
        let len = u8::try_from(message.len()).unwrap();
        let mut bytes = vec![22, 3, 1, 0, len + 4, 1, 0, 0, len];
        bytes.extend_from_slice(&message);
        let Preread::Hello(hello) = read(&bytes) else {
            panic!("no hello");
        };
        assert_eq!(
            (hello.version_text(), &hello.server_name[..]),
            ("TLSv1", &b""[..])
        );
    }
}
