//! `$secure_link` and `$secure_link_expires`: whether a link is one that we made, and is still good.
//!
//! Not here: what is done with one that is not (a configuration says so by `if`).

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest as _, Md5};

use super::Scene;
use crate::config::SecureLink;

/// As nginx reads it: padding or not, and bits that are left over do not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `1`, `0` for a good link whose time is over, or what follows the digest in the path. `None`: it is not ours.
pub(super) fn value(rule: &SecureLink, scene: &Scene<'_>) -> Option<Vec<u8>> {
    match rule {
        SecureLink::Digest { link, md5 } => {
            let link = link.value(scene);
            let (digest, expires) = split(&link);
            let expires = match expires {
                Some(text) => Some(seconds(text)?),
                None => None,
            };
            let given = BASE64.decode(digest).ok()?;
            let wanted: [u8; 16] = Md5::digest(md5.value(scene)).into();
            if digest.len() > 24 || given != wanted {
                return None;
            }
            let now = scene.conn.engine.time.now();
            let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let over = expires.is_some_and(|expires| expires < now);
            Some(if over { b"0" } else { b"1" }.to_vec())
        }
        SecureLink::Word(word) => {
            let path = scene.record.visit.path.get(1..)?;
            let rest = &path[memchr::memchr(b'/', path)? + 1..];
            let (digest, link) = rest.split_at(memchr::memchr(b'/', rest)?);
            let link = &link[1..];
            let wanted: [u8; 16] = Md5::digest([link, word].concat()).into();
            let hex = std::str::from_utf8(digest).ok()?;
            let given = u128::from_str_radix(hex, 16).ok()?;
            let is_ours = hex.len() == 32 && !hex.starts_with('+') && given.to_be_bytes() == wanted;
            is_ours.then(|| link.to_vec())
        }
    }
}

/// When the link ends, as it says.
pub(super) fn expires(rule: &SecureLink, scene: &Scene<'_>) -> Option<Vec<u8>> {
    let SecureLink::Digest { link, .. } = rule else {
        return None;
    };
    let link = link.value(scene);
    let text = split(&link).1?;
    seconds(text)?;
    Some(text.to_vec())
}

fn split(link: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b',', link) {
        Some(at) => (&link[..at], Some(&link[at + 1..])),
        None => (link, None),
    }
}

/// Not 0: that would be no time.
fn seconds(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&seconds| digits && seconds > 0)
}
