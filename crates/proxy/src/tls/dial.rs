//! TLS towards upstream servers: authorities, certificates of our own, and how far a server is believed.
//!
//! Everything is read before a configuration takes effect. Not here: sessions, or which name a server has to have.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::certificates::certificates;
use super::server::TlsError;
use crate::config::DialRules;

/// Where distributions keep the authorities that everybody trusts.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// How upstream servers are talked to.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) config: Arc<ClientConfig>,
    /// Tells its connections from those of others; the same after a reload that changes nothing.
    pub(crate) tag: u64,
}

impl Dial {
    /// # Errors
    /// A file that cannot be used.
    pub(crate) fn new(rules: &DialRules) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
        versions.extend(rules.tls13.then_some(&TLS13));
        versions.extend(rules.tls12.then_some(&TLS12));
        let setup = |error: Error| TlsError::Setup(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(setup)?;
        let builder = if rules.verify {
            builder.with_root_certificates(authorities(rules.authorities.as_deref())?)
        } else {
            let anybody = Arc::new(Anybody(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(anybody)
        };
        let mut config = match &rules.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
                        path: key.clone(),
                        why: error.to_string(),
                    })?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|source| TlsError::Certificate {
                        path: certificate.clone(),
                        source,
                    })?
            }
        };
        config.enable_sni = rules.sni;
        if !rules.reuse {
            config.resumption = Resumption::disabled();
        }
        let mut hasher = DefaultHasher::new();
        rules.hash(&mut hasher);
        Ok(Self {
            config: Arc::new(config),
            tag: hasher.finish(),
        })
    }

    /// The tag of connections to a server of this name; never 0, which is that of connections without TLS.
    pub(crate) fn tag_for(&self, name: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.tag, name).hash(&mut hasher);
        hasher.finish() | 1
    }
}

fn authorities(path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = || SYSTEM_AUTHORITIES.iter().map(Path::new);
    let Some(file) = path.or_else(|| system().find(|path| path.exists())) else {
        let why = "the system has no file of authorities; name one, or do not verify";
        return Err(TlsError::Setup(why.to_owned()));
    };
    let (_, _) = roots.add_parsable_certificates(certificates(file)?);
    if roots.is_empty() {
        return Err(TlsError::File {
            path: file.to_owned(),
            why: "there is no authority in it".to_owned(),
        });
    }
    Ok(roots)
}

/// Believes every server, but not somebody who answers in its place without its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
