//! The certificates of a server: read from their files, and chosen for each client.
//!
//! Those whose paths have `$ssl_server_name` in them are read when a client asks for the name, so that a site that is
//! added needs no reload. Not here: what else a server needs for TLS (`server`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::server::TlsError;
use crate::config::{CertificateFiles, TlsRules};

/// How long what was read for a name is shown.
const FRESH: Duration = Duration::from_secs(10);
/// How long it is remembered that there is nothing to be read for a name.
const MISSING: Duration = Duration::from_secs(1);
/// So many names are remembered.
const NAMES: usize = 4096;

/// RSA and ECDSA beside one another.
#[derive(Debug)]
pub(super) struct Certificates {
    fixed: Vec<Arc<CertifiedKey>>,
    by_name: Option<ByName>,
}

impl Certificates {
    /// Reads the files that are known without a client.
    ///
    /// # Errors
    /// A file is not to be read, or of no use.
    pub(super) fn load(rules: &TlsRules, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let (by_name, fixed): (Vec<_>, Vec<_>) =
            rules.certificates.iter().partition(|files| files.by_name());
        let read = |files: &CertificateFiles| read(&files.certificate, &files.key, provider);
        Ok(Self {
            fixed: fixed.into_iter().map(read).collect::<Result<_, _>>()?,
            by_name: (!by_name.is_empty()).then(|| ByName {
                files: by_name.into_iter().cloned().collect(),
                provider: Arc::clone(provider),
                known: Mutex::default(),
            }),
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = match (&self.by_name, hello.server_name()) {
            (Some(by_name), Some(name)) => by_name.keys(name),
            _ => Arc::default(),
        };
        let schemes = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let is_ecdsa = |key: &&Arc<CertifiedKey>| key.key.algorithm() != SignatureAlgorithm::RSA;
        // What both can do, and the cheaper one first, as OpenSSL does.
        let mut fitting = named.iter().chain(&self.fixed).filter(fits);
        let best = fitting.clone().find(is_ecdsa).or(fitting.next());
        best.or(self.fixed.first()).map(Arc::clone)
    }
}

/// Certificates whose files are found by the name that a client asks for.
#[derive(Debug)]
struct ByName {
    files: Vec<CertificateFiles>,
    provider: Arc<CryptoProvider>,
    known: Mutex<HashMap<String, (Instant, Keys)>>,
}

type Keys = Arc<Vec<Arc<CertifiedKey>>>;

impl ByName {
    /// Those for the name, which rustls has checked: it cannot lead out of a folder.
    fn keys(&self, name: &str) -> Keys {
        let name = name.to_ascii_lowercase();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, keys)) = known.get(&name) {
            let lasts = if keys.is_empty() { MISSING } else { FRESH };
            if since.elapsed() < lasts {
                return Arc::clone(keys);
            }
        }
        let read = |files: &CertificateFiles| {
            let (certificate, key) = files.of(&name);
            let found = read(&certificate, &key, &self.provider);
            found
                .inspect_err(|error| tracing::error!(name, "no certificate to show: {error}"))
                .ok()
        };
        let keys: Keys = Arc::new(self.files.iter().filter_map(read).collect());
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(name, (Instant::now(), Arc::clone(&keys)));
        keys
    }
}

fn read(
    certificate: &Path,
    key: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
        path: key.to_owned(),
        why: error.to_string(),
    })?;
    let key = CertifiedKey::from_der(chain, private, provider);
    key.map(Arc::new).map_err(|source| TlsError::Certificate {
        path: certificate.to_owned(),
        source,
    })
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |why: String| TlsError::File {
        path: PathBuf::from(path),
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
