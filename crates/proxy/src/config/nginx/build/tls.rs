//! The `ssl_…` directives of `http` and `server`.
//!
//! Not here: reading certificates, or `listen … ssl` (`listen`).

use std::path::PathBuf;

use super::super::tree::Directive;
use super::{Builder, arg, is_on};
use crate::config::model::{ClientCertificates, TlsRules};

/// What a block hands down about TLS.
#[derive(Clone)]
pub(super) struct TlsLevel {
    certificates: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    tls12: bool,
    tls13: bool,
    tickets: bool,
    authorities: Option<PathBuf>,
    /// `on` is true, `optional` false.
    verifies: Option<bool>,
}

impl TlsLevel {
    pub(super) fn new() -> Self {
        Self {
            certificates: Vec::new(),
            keys: Vec::new(),
            tls12: true,
            tls13: true,
            tickets: true,
            authorities: None,
            verifies: None,
        }
    }

    /// `None` for a server without certificates.
    pub(super) fn rules(&self) -> Option<TlsRules> {
        if self.certificates.is_empty() {
            return None;
        }
        let pairs = self
            .certificates
            .iter()
            .cloned()
            .zip(self.keys.iter().cloned());
        let authorities = self.authorities.clone();
        let clients = self.verifies.and_then(|required| {
            Some(ClientCertificates {
                authorities: authorities?,
                required,
            })
        });
        Some(TlsRules {
            certificates: pairs.collect(),
            tls12: self.tls12,
            tls13: self.tls13,
            tickets: self.tickets,
            clients,
        })
    }
}

impl Builder<'_> {
    pub(super) fn apply_tls(&mut self, level: &mut TlsLevel, block: &[Directive]) {
        let mut certificates = Vec::new();
        let mut keys = Vec::new();
        for directive in block {
            let first = arg(directive, 0);
            match directive.name.text.as_str() {
                "ssl_certificate" | "ssl_certificate_key" if first.contains(['$', ':']) => {
                    let help = "name a PEM file";
                    self.wrong(directive, "certificates by variables or engines", help);
                }
                "ssl_certificate" => certificates.push(self.prefix.join(first)),
                "ssl_certificate_key" => keys.push(self.prefix.join(first)),
                "ssl_protocols" => self.protocols(level, directive),
                "ssl_session_tickets" => level.tickets = is_on(directive),
                "ssl_client_certificate" => level.authorities = Some(self.prefix.join(first)),
                "ssl_verify_client" => {
                    level.verifies = match first {
                        "on" => Some(true),
                        "optional" => Some(false),
                        "off" => None,
                        _ => {
                            self.wrong(
                                directive,
                                format!("invalid value \"{first}\""),
                                "on, optional and off are supported",
                            );
                            None
                        }
                    }
                }
                _ => {}
            }
        }
        if !certificates.is_empty() {
            level.certificates = certificates;
        }
        if !keys.is_empty() {
            level.keys = keys;
        }
    }

    fn protocols(&mut self, level: &mut TlsLevel, directive: &Directive) {
        let has = |name: &str| directive.args.iter().any(|word| word.text == name);
        level.tls12 = has("TLSv1.2");
        level.tls13 = has("TLSv1.3");
        if !level.tls12 && !level.tls13 {
            let help = "add TLSv1.2 or TLSv1.3: older ones are broken, and not there";
            self.wrong(directive, "no usable protocol in \"ssl_protocols\"", help);
        }
    }

    /// What has to go together.
    pub(super) fn check_tls(&mut self, server: &Directive, level: &TlsLevel) {
        if level.certificates.len() > level.keys.len() {
            let path = level.certificates[level.keys.len()].display();
            let message =
                format!("no \"ssl_certificate_key\" is defined for certificate \"{path}\"");
            self.wrong(server, message, "");
        }
        if level.verifies.is_some() && level.authorities.is_none() {
            self.wrong(
                server,
                "no ssl_client_certificate for ssl_verify_client",
                "",
            );
        }
    }
}
