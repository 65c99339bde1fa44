//! Certificates and keys of `--certfile`, `--keyfile`, `--ca-certs`, and what rustls makes of them: TLS 1.2 and 1.3.
//!
//! Not here: connections (`transport`).

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite};

use crate::config::settings::{ClientCertificates, Tls};
use crate::error::Error;

/// Reads the files. Every failure names its file.
pub fn load(settings: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites(settings.ciphers.as_deref())?,
        ..default_provider()
    });
    let certificates = certificates(&settings.certfile)?;
    let keyfile = settings.keyfile.as_deref().unwrap_or(&settings.certfile);
    let key = PrivateKeyDer::from_pem_file(keyfile).map_err(|error| wrong(keyfile, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setting(format!("ciphers: {error}")))?;
    let builder = match settings.client_certificates {
        ClientCertificates::No => builder.with_no_client_auth(),
        asked => {
            let Some(path) = &settings.ca_certs else {
                return Err(Error::Setting(
                    "cert_reqs needs ca_certs: a file with the authorities of clients' certificates"
                        .to_owned(),
                ));
            };
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if asked == ClientCertificates::Optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            builder
                .with_client_cert_verifier(verifier.build().map_err(|error| wrong(path, &error))?)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| wrong(keyfile, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(path, &error));
    let found = found?;
    if found.is_empty() {
        return Err(wrong(path, &"there is no certificate in it"));
    }
    Ok(found)
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Setting(format!("TLS: {}: {why}", path.display()))
}

/// OpenSSL's names of the suites of TLS 1.2 that rustls has.
const NAMES: [(&str, &str); 6] = [
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

/// The suites that an OpenSSL string names. Those of TLS 1.3 are always there, as with OpenSSL; words for whole classes
/// (HIGH, ECDHE+AESGCM, !aNULL) leave all that rustls has, which has no weak ones.
fn suites(ciphers: Option<&str>) -> Result<Vec<SupportedCipherSuite>, Error> {
    let all = default_provider().cipher_suites;
    let Some(ciphers) = ciphers else {
        return Ok(all);
    };
    let words: Vec<&str> = ciphers
        .split([':', ',', ' '])
        .filter(|word| !word.is_empty() && !word.starts_with(['!', '-', '@']))
        .collect();
    let is_class = |word: &&str| !word.contains('-') || word.contains('+');
    if words.iter().any(is_class) {
        return Ok(all);
    }
    let named = |suite: &SupportedCipherSuite| {
        let ours = format!("{:?}", suite.suite());
        words.iter().any(|word| {
            NAMES
                .iter()
                .any(|(name, suite)| name == word && *suite == ours)
        })
    };
    let (modern, mut chosen): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|suite| suite.tls13().is_some());
    chosen.retain(named);
    if chosen.is_empty() {
        return Err(Error::Setting(format!(
            "ciphers {ciphers:?} names none of the suites there are: {}",
            NAMES.map(|(name, _)| name).join(", ")
        )));
    }
    Ok(modern.into_iter().chain(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssls_words() {
        let count = |words: &str| suites(Some(words)).map(|suites| suites.len());
        let all = default_provider().cipher_suites.len();
        assert_eq!(count("HIGH:!aNULL").unwrap(), all);
        assert_eq!(count("ECDHE+AESGCM").unwrap(), all);
        assert_eq!(count("ECDHE-RSA-AES128-GCM-SHA256").unwrap(), 4);
        assert!(count("AES128-SHA:RC4-MD5").is_err());
    }
}
