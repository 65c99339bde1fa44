//! Clients' certificates: asked for in the handshake, judged after it.
//!
//! As in nginx a client without the certificate that is asked of it gets through the handshake and a page that says
//! so. The handshake proves only that the client has the key of what it shows. Not here: the page (`conn::serve`).

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::TlsError;
use super::certificates::certificates;
use crate::config::ClientCertificates;

/// What is thought of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has shown no certificate, or was not asked.
    Nothing,
    Good,
    /// Why not, in OpenSSL's words, and whether only the authority is not known.
    Bad {
        why: String,
        unknown: bool,
    },
}

/// Judges what a client has shown.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    /// `None` if no authority is known.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Judge {
    pub(super) fn new(
        clients: &ClientCertificates,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for path in clients.authorities.iter().chain(&clients.trusted) {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|source| TlsError::Certificate {
                        path: path.clone(),
                        source,
                    })?;
            }
        }
        if roots.is_empty() {
            return Ok(Self { verifier: None });
        }
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        if let Some(path) = &clients.revoked {
            let file = |why: String| TlsError::File {
                path: path.clone(),
                why,
            };
            let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|error| file(error.to_string()))?;
            if lists.is_empty() {
                return Err(file("there is no revocation list in it".to_owned()));
            }
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        let verifier = builder
            .build()
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok(Self {
            verifier: Some(verifier),
        })
    }

    /// For the handshake: takes whatever the client can sign with.
    pub(super) fn in_handshake(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Taker {
            judge: self.clone(),
            provider: Arc::clone(provider),
        })
    }

    pub(super) fn judge(&self, chain: Option<&[CertificateDer<'_>]>) -> Verdict {
        let Some((own, others)) = chain.and_then(<[_]>::split_first) else {
            return Verdict::Nothing;
        };
        let Some(verifier) = &self.verifier else {
            return Verdict::Bad {
                why: UNKNOWN.to_owned(),
                unknown: true,
            };
        };
        match verifier.verify_client_cert(own, others, UnixTime::now()) {
            Ok(_) => Verdict::Good,
            Err(error) => bad(&error),
        }
    }
}

const UNKNOWN: &str = "unable to verify the first certificate";

fn bad(error: &Error) -> Verdict {
    use CertificateError as Fault;
    let mut unknown = false;
    let why = match error {
        Error::InvalidCertificate(Fault::UnknownIssuer) => {
            unknown = true;
            UNKNOWN.to_owned()
        }
        Error::InvalidCertificate(Fault::Expired | Fault::ExpiredContext { .. }) => {
            "certificate has expired".to_owned()
        }
        Error::InvalidCertificate(Fault::NotValidYet | Fault::NotValidYetContext { .. }) => {
            "certificate is not yet valid".to_owned()
        }
        Error::InvalidCertificate(Fault::Revoked) => "certificate revoked".to_owned(),
        Error::InvalidCertificate(Fault::BadSignature) => {
            "certificate signature failure".to_owned()
        }
        Error::InvalidCertificate(Fault::InvalidPurpose | Fault::InvalidPurposeContext { .. }) => {
            "unsuitable certificate purpose".to_owned()
        }
        other => other.to_string(),
    };
    Verdict::Bad { why, unknown }
}

/// Asks for a certificate and takes any.
#[derive(Debug)]
struct Taker {
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Taker {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let verifier = self.judge.verifier.as_ref();
        verifier.map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
