//! Request targets (RFC 9112 section 3.2) and the Host field (RFC 9110 section 7.2).
//! Not here: percent-decoding and dot segments, which belong to routing.

use crate::error::RequestError;
use crate::request::TargetForm;

/// Longest host with its port that is accepted, in bytes.
const MAX_HOST_BYTES: usize = 255;

/// The parts of a valid target, all of them slices of it; those that its form does not have are
/// empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) form: TargetForm,
    pub(crate) authority: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    pub(crate) fn parse(method: &[u8], target: &'a [u8]) -> Result<Self, RequestError> {
        // No early return within the loop, so that it runs on whole vectors.
        let clean = target.iter().fold(true, |clean, &byte| {
            clean & byte.is_ascii_graphic() & (byte != b'#')
        });
        if !clean || target.is_empty() {
            return Err(RequestError::Target);
        }
        if method == b"CONNECT" {
            return Self::authority(target);
        }
        match target {
            [b'/', ..] => Ok(Self::path_and_query(
                TargetForm::Origin,
                &target[..0],
                target,
            )),
            b"*" if method == b"OPTIONS" => Ok(Self {
                form: TargetForm::Asterisk,
                authority: &target[..0],
                path: target,
                query: None,
            }),
            b"*" => Err(RequestError::TargetForm),
            _ => Self::absolute(target),
        }
    }

    /// `host:port`, both needed (RFC 9112 section 3.2.3).
    fn authority(target: &'a [u8]) -> Result<Self, RequestError> {
        let has_port = target
            .rsplit(|&byte| byte == b':')
            .next()
            .is_some_and(|port| {
                !port.is_empty()
                    && port.len() < target.len() - 1
                    && port.iter().all(u8::is_ascii_digit)
            });
        if !has_port || !is_host(target) {
            return Err(RequestError::TargetForm);
        }
        Ok(Self {
            form: TargetForm::Authority,
            authority: target,
            path: &target[..0],
            query: None,
        })
    }

    /// `http://host[:port][/path][?query]`. User information is refused (RFC 9110 section 4.2.4).
    fn absolute(target: &'a [u8]) -> Result<Self, RequestError> {
        let Some(colon) = target.windows(3).position(|part| part == b"://") else {
            // What could be an authority is in the wrong form; everything else is nothing at all.
            return Err(if is_host(target) {
                RequestError::TargetForm
            } else {
                RequestError::Target
            });
        };
        let (scheme, rest) = (&target[..colon], &target[colon + 3..]);
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(RequestError::Target);
        }
        let end = rest
            .iter()
            .position(|&byte| byte == b'/' || byte == b'?')
            .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.is_empty() || authority[0] == b':' || !is_host(authority) {
            return Err(RequestError::Target);
        }
        Ok(Self::path_and_query(TargetForm::Absolute, authority, rest))
    }

    fn path_and_query(form: TargetForm, authority: &'a [u8], rest: &'a [u8]) -> Self {
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
            None => (rest, None),
        };
        Self {
            form,
            authority,
            path,
            query,
        }
    }
}

/// Whether `host` is empty, a registered name, an IPv4 address or an IP literal in brackets, with
/// an optional port of at most 65535, and no longer than 255 bytes.
pub(crate) fn is_host(host: &[u8]) -> bool {
    if host.len() > MAX_HOST_BYTES {
        return false;
    }
    let (valid, port) = match host {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else {
                return false;
            };
            (is_ip_literal(&rest[..end]), &rest[end + 1..])
        }
        _ => {
            let end = memchr::memchr(b':', host).unwrap_or(host.len());
            (is_registered_name(&host[..end]), &host[end..])
        }
    };
    valid && is_port(port)
}

/// Nothing, or a colon with digits behind it, possibly none.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits
            .iter()
            .try_fold(0_u16, |port, &byte| {
                let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
                port.checked_mul(10)?.checked_add(digit)
            })
            .is_some(),
        _ => false,
    }
}

/// Unreserved bytes and sub-delimiters (RFC 3986 section 2).
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

/// Bytes of [`NAME`] and percent-encoded bytes (RFC 3986 section 3.2.2). An IPv4 address is one
/// too.
fn is_registered_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some(other) = rest.iter().position(|&byte| !NAME[byte as usize]) {
        rest = match &rest[other..] {
            [b'%', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            _ => return false,
        };
    }
    true
}

/// An IPv6 address. Future address forms and zones are not accepted.
fn is_ip_literal(literal: &[u8]) -> bool {
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}
