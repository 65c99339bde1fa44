//! Passwords against what a user file stores: `$apr1$`, `{SHA}`, `{SSHA}`, `{PLAIN}`, and all that `crypt(3)` knows.
//!
//! Pure, and slow on purpose for some kinds. Not here: whose password it is (`users`), or where it is computed
//! (`conn::pause`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest as _, Sha1};

/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;

/// The stored form cannot be used for checking: nobody gets in by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored password is of no known kind")]
pub(crate) struct UnknownKind;

/// Whether it takes so little time that it can be computed anywhere.
pub(crate) fn is_quick(stored: &[u8]) -> bool {
    stored.starts_with(b"{")
}

/// Whether `password` is the one that `stored` was made of.
pub(crate) fn verify(stored: &[u8], password: &[u8]) -> Result<bool, UnknownKind> {
    if let Some(rest) = stored.strip_prefix(b"{PLAIN}") {
        return Ok(equal(rest, password));
    }
    if let Some(rest) = stored.strip_prefix(b"{SSHA}") {
        let Ok(bytes) = STANDARD.decode(rest) else {
            return Err(UnknownKind);
        };
        let Some((digest, salt)) = bytes.split_at_checked(SHA1_BYTES) else {
            return Err(UnknownKind);
        };
        let mut sha = Sha1::new();
        sha.update(password);
        sha.update(salt);
        return Ok(equal(digest, &sha.finalize()));
    }
    if let Some(rest) = stored.strip_prefix(b"{SHA}") {
        return Ok(equal(
            rest,
            STANDARD.encode(Sha1::digest(password)).as_bytes(),
        ));
    }
    let computed = if stored.starts_with(APR1) {
        Some(apr1(password, stored))
    } else {
        trine_sys::crypt::hash(password, stored)
    };
    match computed {
        Some(computed) => Ok(equal(stored, &computed)),
        None => Err(UnknownKind),
    }
}

/// Takes the same time wherever the difference is.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |seen, (one, other)| seen | (one ^ other))
            == 0
}

const APR1: &[u8] = b"$apr1$";

/// Apache's variant of the MD5 scheme of FreeBSD, with a thousand rounds. `setting` begins with `$apr1$` and the salt.
fn apr1(password: &[u8], setting: &[u8]) -> Vec<u8> {
    let salt = &setting[APR1.len()..];
    let end = salt.iter().position(|&byte| byte == b'$');
    let salt = &salt[..end.unwrap_or(salt.len()).min(8)];

    let mut inner = Md5::new();
    inner.update(password);
    inner.update(salt);
    inner.update(password);
    let inner = inner.finalize();

    let mut digest = Md5::new();
    digest.update(password);
    digest.update(APR1);
    digest.update(salt);
    let mut left = password.len();
    while left > 0 {
        digest.update(&inner[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        // A zero, or the first letter: the scheme's own oddity.
        digest.update(if bits & 1 == 1 {
            &[0]
        } else {
            password.get(..1).unwrap_or(&[0])
        });
        bits >>= 1;
    }
    let mut last = digest.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &last[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &last[..] } else { password });
        last = next.finalize();
    }

    let mut out = [APR1, salt, b"$"].concat();
    for group in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let [high, middle, low] = group.map(|at| u32::from(last[at]));
        letters(&mut out, high << 16 | middle << 8 | low, 4);
    }
    letters(&mut out, u32::from(last[11]), 2);
    out
}

/// Six bits for a letter, the lowest first.
fn letters(out: &mut Vec<u8>, value: u32, count: usize) {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut left = value;
    for _ in 0..count {
        out.push(LETTERS[(left & 63) as usize]);
        left >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stored: &str, password: &str, want: Result<bool, UnknownKind>) {
        let got = verify(stored.as_bytes(), password.as_bytes());
        assert_eq!(got, want, "{stored} {password}");
    }

    #[test]
    fn kinds() {
        for stored in [
            "{PLAIN}secret",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
            "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
            "rlcg0.fZequS.",
            "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        ] {
            check(stored, "secret", Ok(true));
            check(stored, "Secret", Ok(false));
            check(stored, "", Ok(false));
        }
        check("{SSHA}????", "secret", Err(UnknownKind));
        check("{SSHA}QQ==", "secret", Err(UnknownKind));
        check("$nosuch$kind", "secret", Err(UnknownKind));
        check("", "", Err(UnknownKind));
    }

    /// Lengths around those at which the scheme takes other turns; hashes by `openssl passwd -apr1`.
    #[test]
    fn apr1_of_many_lengths() {
        for (password, want) in APR1_CASES {
            let got = apr1(password.as_bytes(), b"$apr1$abcd$");
            assert_eq!(String::from_utf8(got).unwrap(), *want, "{password}");
        }
    }

    const APR1_CASES: &[(&str, &str)] = &[
        ("a", "$apr1$abcd$TOhli5FcVJRXQJEBWY238/"),
        ("ab", "$apr1$abcd$q4/PC6ne7Jj.dLpVzSvRE1"),
        ("password12345", "$apr1$abcd$DB0605fF4iZ7JVFgbhexn/"),
        ("exactly16letters", "$apr1$abcd$1Ht.SAg5b/tvF2xde3/tL1"),
        ("seventeen letters", "$apr1$abcd$a3Fl1tR/gW7YKmM/oNHLt1"),
        (
            "a passphrase of more than thirty-two letters",
            "$apr1$abcd$pCPiLnYzAN0COIVNGru760",
        ),
    ];
}
