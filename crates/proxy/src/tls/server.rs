//! What a listening socket needs to speak TLS: the certificates of its servers, protocols, client certificates.
//!
//! Everything is read before a configuration takes effect, so that a bad key keeps the old one. Not here: sessions.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{ClientCertificates, Config, HostPattern, Listen, TlsRules};

/// TLS of one listening socket; `None` for one without.
pub(crate) type Door = Option<Arc<ServerConfig>>;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot load \"{}\": {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Key and certificate do not belong together, or are of no use.
    #[error("cannot use certificate \"{}\"", path.display())]
    Certificate {
        /// The certificate.
        path: PathBuf,
        /// rustls's word.
        #[source]
        source: rustls::Error,
    },
    /// A TLS address without a single certificate.
    #[error("no \"ssl_certificate\" is defined for a server on {0}")]
    Missing(String),
    /// Protocols or verifier do not fit together.
    #[error("TLS cannot be set up as configured: {0}")]
    Setup(String),
}

/// What each listening socket of a configuration needs, in its order.
///
/// # Errors
/// The first certificate, key or authority that cannot be used.
pub(crate) fn doors(config: &Config) -> Result<Vec<Door>, TlsError> {
    config
        .listens
        .iter()
        .map(|listen| listen.tls.then(|| door(config, listen)).transpose())
        .collect()
}

fn door(config: &Config, listen: &Listen) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let rules: Vec<_> = listen
        .servers
        .iter()
        .map(|&index| &config.servers[index])
        .collect();
    let mut by_name = ByName::default();
    for server in &rules {
        let Some(tls) = &server.tls else { continue };
        let keys = keys(tls, &provider)?;
        if keys.is_empty() {
            continue;
        }
        let slot = by_name.keys.len();
        by_name.keys.push(keys);
        by_name.default.get_or_insert(slot);
        for name in &server.names {
            match name {
                HostPattern::Exact(name) => {
                    by_name.exact.entry(name.clone()).or_insert(slot);
                }
                HostPattern::Suffix(suffix) => by_name.suffixes.push((suffix.clone(), slot)),
                HostPattern::Prefix(_) | HostPattern::Regex(_) => {}
            }
        }
    }
    let default_rules = rules.iter().find_map(|server| server.tls.as_ref());
    let (Some(_), Some(first)) = (by_name.default, default_rules) else {
        return Err(TlsError::Missing(listen.addr.to_string()));
    };
    by_name
        .suffixes
        .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
    let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(first))
        .map_err(|error| setup(&error))?;
    let builder = match &first.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = verifier(clients, &provider)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let http2 = listen.http2 || rules.first().is_some_and(|server| server.http2.on);
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    config.max_early_data_size = 0;
    if first.tickets {
        // One for all cores, which share this value; it changes its key by itself.
        config.ticketer = ring::Ticketer::new().map_err(|error| setup(&error))?;
    }
    Ok(Arc::new(config))
}

fn versions(rules: &TlsRules) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if rules.tls13 {
        versions.push(&TLS13);
    }
    if rules.tls12 {
        versions.push(&TLS12);
    }
    versions
}

fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&clients.authorities)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Certificate {
                path: clients.authorities.clone(),
                source,
            })?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map_err(|error| TlsError::Setup(error.to_string()))
}

fn keys(
    rules: &TlsRules,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
    let mut keys = Vec::new();
    for (certificate, key) in &rules.certificates {
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
            path: key.clone(),
            why: error.to_string(),
        })?;
        let key = CertifiedKey::from_der(chain, private, provider).map_err(|source| {
            TlsError::Certificate {
                path: certificate.clone(),
                source,
            }
        })?;
        keys.push(Arc::new(key));
    }
    Ok(keys)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |why: String| TlsError::File {
        path: path.to_owned(),
        why,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file(error.to_string()))?;
    if chain.is_empty() {
        return Err(file("there is no certificate in it".to_owned()));
    }
    Ok(chain)
}

/// Certificates by the name that a client asks for.
#[derive(Debug, Default)]
struct ByName {
    keys: Vec<Vec<Arc<CertifiedKey>>>,
    exact: HashMap<String, usize>,
    /// Longest first.
    suffixes: Vec<(String, usize)>,
    default: Option<usize>,
}

impl ByName {
    fn slot(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else {
            return self.default;
        };
        let lower = name.to_ascii_lowercase();
        if let Some(&slot) = self.exact.get(&lower) {
            return Some(slot);
        }
        let suffix = self
            .suffixes
            .iter()
            .find(|(suffix, _)| lower.len() > suffix.len() && lower.ends_with(suffix.as_str()));
        suffix.map(|(_, slot)| *slot).or(self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.get(self.slot(hello.server_name())?)?;
        let schemes = hello.signature_schemes();
        // RSA and ECDSA beside one another: the first that the client can check.
        let fits = keys
            .iter()
            .find(|key| key.key.choose_scheme(schemes).is_some());
        fits.or(keys.first()).map(Arc::clone)
    }
}
