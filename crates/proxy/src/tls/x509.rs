//! What a client's certificate says, for `$ssl_client_…`.
//!
//! Not here: whether it is believed (`clients`).

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};
use x509_parser::time::ASN1Time;

/// What can be asked of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Subject,
    Issuer,
    /// Hexadecimal, upper case.
    Serial,
    /// SHA-1, hexadecimal.
    Fingerprint,
    Begin,
    End,
    /// Days until it ends.
    Remain,
    /// PEM.
    Raw,
    /// PEM, each line after the first behind a tab.
    Indented,
    /// PEM, URL-encoded.
    Escaped,
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Answers; `None` if the certificate is none.
pub(super) fn show(der: &[u8], what: Shown) -> Option<String> {
    let pem = || {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.push_str(std::str::from_utf8(line).unwrap_or_default());
            pem.push('\n');
        }
        pem + "-----END CERTIFICATE-----\n"
    };
    match what {
        Shown::Raw => return Some(pem()),
        Shown::Indented => return Some(pem().trim_end().replace('\n', "\n\t")),
        Shown::Escaped => {
            return Some(utf8_percent_encode(&pem(), UNRESERVED).to_string());
        }
        Shown::Fingerprint => {
            let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
            return Some(hex(digest.as_ref()).to_lowercase());
        }
        _ => {}
    }
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(match what {
        Shown::Subject => name(certificate.subject()),
        Shown::Issuer => name(certificate.issuer()),
        Shown::Serial => hex(certificate
            .raw_serial()
            .strip_prefix(&[0])
            .unwrap_or(certificate.raw_serial())),
        Shown::Begin => time(&validity.not_before)?,
        Shown::End => time(&validity.not_after)?,
        Shown::Remain => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            let now = i64::try_from(now.as_secs()).ok()?;
            ((validity.not_after.timestamp() - now).max(0) / 86_400).to_string()
        }
        Shown::Raw | Shown::Indented | Shown::Escaped | Shown::Fingerprint => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// `Nov 26 01:02:03 2026 GMT`, as OpenSSL prints it.
fn time(time: &ASN1Time) -> Option<String> {
    let time = jiff::Timestamp::from_second(time.timestamp()).ok()?;
    Some(time.strftime("%b %e %H:%M:%S %Y GMT").to_string())
}

/// The form of RFC 2253: the last part first.
fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name
        .iter()
        .map(|part| {
            let pairs = part.iter().map(|pair| {
                let oid = pair.attr_type();
                let registry = x509_parser::objects::oid_registry();
                let short = registry.get(oid).map(|entry| entry.sn().to_owned());
                let key = match short.as_deref() {
                    Some("commonName") => "CN".to_owned(),
                    Some("countryName") => "C".to_owned(),
                    Some("localityName") => "L".to_owned(),
                    Some("stateOrProvinceName") => "ST".to_owned(),
                    Some("organizationName") => "O".to_owned(),
                    Some("organizationalUnit" | "organizationalUnitName") => "OU".to_owned(),
                    Some("domainComponent") => "DC".to_owned(),
                    Some("serialNumber") => "serialNumber".to_owned(),
                    Some(other) => other.to_owned(),
                    None => oid.to_string(),
                };
                format!("{key}={}", escape(pair.as_str().unwrap_or_default()))
            });
            pairs.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, letter) in value.chars().enumerate() {
        let edge = letter == ' ' && (index == 0 || index == last);
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        if edge || special || (letter == '#' && index == 0) {
            text.push('\\');
        }
        if letter.is_control() || !letter.is_ascii() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a, b"), "a\\, b");
        assert_eq!(escape(" #x "), "\\ #x\\ ");
        assert_eq!(escape("#x"), "\\#x");
        assert_eq!(escape("ä\n"), "\\C3\\A4\\0A");
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        assert_eq!(show(b"no", Shown::Subject), None);
    }
}
