//! Password hashes of the C library: `crypt(3)`, whatever kinds the system's libcrypt knows (DES, `$1$`, `$2b$`, `$5$`,
//! `$6$`, `$y$` …).
//!
//! Not here: comparing with what is stored, or kinds that only web servers have (`$apr1$`, `{SHA}`).

#![expect(unsafe_code, reason = "crypt_r is a C function")]

use std::ffi::{CStr, CString, c_char, c_void};

/// Larger than `struct crypt_data` of libxcrypt (32 KiB) and of the old glibc (128 KiB and some).
const STATE_BYTES: usize = 256 * 1024;

#[link(name = "crypt")]
unsafe extern "C" {
    fn crypt_r(phrase: *const c_char, setting: *const c_char, state: *mut c_void) -> *mut c_char;
}

/// Hashes `password` in the way that `setting`, a hash or its beginning, says. Takes as long as the kind is meant to
/// take: up to a second. `None` if the library does not know the kind, or if either contains a zero byte.
#[must_use]
pub fn hash(password: &[u8], setting: &[u8]) -> Option<Vec<u8>> {
    let password = CString::new(password).ok()?;
    let setting = CString::new(setting).ok()?;
    // Eights, for the alignment that the structure may want.
    let mut state = vec![0_u64; STATE_BYTES / 8];
    // SAFETY: both strings end with a zero and outlive the call; the state is zeroed, aligned, larger than the library's
    // structure, and nobody else's.
    let found = unsafe {
        crypt_r(
            password.as_ptr(),
            setting.as_ptr(),
            state.as_mut_ptr().cast(),
        )
    };
    if found.is_null() {
        return None;
    }
    // SAFETY: what is not null is a string with a zero at its end, within the state, which is still there.
    let found = unsafe { CStr::from_ptr(found) };
    let bytes = found.to_bytes();
    // A hash that begins so says that something was wrong; it never equals the setting.
    (!bytes.starts_with(b"*")).then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn known_answers() {
        for (password, stored) in [
            ("secret", "rlcg0.fZequS."),
            ("password", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
            (
                "Hello world!",
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "secret",
                "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
            ),
        ] {
            let got = hash(password.as_bytes(), stored.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), stored);
            assert_ne!(
                hash(b"other", stored.as_bytes()).unwrap(),
                stored.as_bytes()
            );
        }
        assert_eq!(hash(b"a\0b", b"$1$saltsalt$"), None);
        assert_eq!(hash(b"a", b"$nosuchkind$"), None);
    }
}
