//! The `ssl_…` directives of `http` and `server`.
//!
//! Not here: reading certificates, or `listen … ssl` (`listen`).

use std::path::PathBuf;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg, is_on};
use crate::config::model::{CertificateFiles, ClientCertificates, Demand, TlsRules};
use crate::tls::suites;

/// nginx keeps about so many bytes for each session.
const BYTES_PER_SESSION: u64 = 256;
const MOST_SESSIONS: u64 = 1 << 20;
const SESSION_TIME: Duration = Duration::from_secs(300);

/// What a block hands down about TLS.
#[derive(Clone)]
pub(super) struct TlsLevel {
    rules: TlsRules,
    keys: Vec<PathBuf>,
    certificates: Vec<PathBuf>,
    clients: ClientCertificates,
    /// `None` is off.
    demand: Option<Demand>,
}

impl TlsLevel {
    pub(super) fn new() -> Self {
        Self {
            rules: TlsRules {
                certificates: Vec::new(),
                tls12: true,
                tls13: true,
                tickets: true,
                ticket_keys: Vec::new(),
                sessions: 0,
                session_time: SESSION_TIME,
                suites: None,
                own_order: false,
                rejects: false,
                clients: None,
            },
            keys: Vec::new(),
            certificates: Vec::new(),
            clients: ClientCertificates {
                authorities: None,
                trusted: None,
                revoked: None,
                demand: Demand::Required,
            },
            demand: None,
        }
    }

    /// `None` for a server that has no certificates and does not refuse handshakes either.
    pub(super) fn rules(&self) -> Option<TlsRules> {
        if self.certificates.is_empty() && !self.rules.rejects {
            return None;
        }
        let files = |(certificate, key): (&PathBuf, &PathBuf)| CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let clients = self.demand.map(|demand| ClientCertificates {
            demand,
            ..self.clients.clone()
        });
        Some(TlsRules {
            certificates: self
                .certificates
                .iter()
                .zip(&self.keys)
                .map(files)
                .collect(),
            clients,
            ..self.rules.clone()
        })
    }
}

/// Whether there is one beside the name that the client asks for.
fn has_other_variables(path: &std::path::Path) -> bool {
    let text = path.to_string_lossy();
    text.replace(CertificateFiles::VARIABLE, "").contains('$')
}

impl Builder<'_> {
    pub(super) fn apply_tls(&mut self, level: &mut TlsLevel, block: &[Directive]) {
        let (mut certificates, mut keys, mut ticket_keys) = (Vec::new(), Vec::new(), Vec::new());
        for directive in block {
            let first = arg(directive, 0);
            let path = || self.prefix.join(first);
            let shown = || {
                let braced = CertificateFiles::VARIABLE.replace('$', "${") + "}";
                self.prefix
                    .join(first.replace(&braced, CertificateFiles::VARIABLE))
            };
            match directive.name.text.as_str() {
                "ssl_certificate" | "ssl_certificate_key" if first.contains(':') => {
                    let help = "name a PEM file";
                    self.wrong(directive, "certificates by engines or as data", help);
                }
                "ssl_certificate" | "ssl_certificate_key" if has_other_variables(&shown()) => {
                    let message = format!("\"{first}\" has a variable that is not known yet");
                    let help = "in a handshake only $ssl_server_name is known";
                    self.wrong(directive, message, help);
                }
                "ssl_certificate" => certificates.push(shown()),
                "ssl_certificate_key" => keys.push(shown()),
                "ssl_protocols" => self.protocols(level, directive),
                "ssl_ciphers" => self.ciphers(level, directive),
                "ssl_prefer_server_ciphers" => level.rules.own_order = is_on(directive),
                "ssl_session_tickets" => level.rules.tickets = is_on(directive),
                "ssl_session_ticket_key" => ticket_keys.push(path()),
                "ssl_session_cache" => self.session_cache(level, directive),
                "ssl_session_timeout" => match units::time(first) {
                    Some(time) if !time.is_zero() => level.rules.session_time = time,
                    _ => self.invalid(directive),
                },
                "ssl_reject_handshake" => level.rules.rejects = is_on(directive),
                "ssl_client_certificate" => level.clients.authorities = Some(path()),
                "ssl_trusted_certificate" => level.clients.trusted = Some(path()),
                "ssl_crl" => level.clients.revoked = Some(path()),
                "ssl_verify_client" => match first {
                    "on" => level.demand = Some(Demand::Required),
                    "optional" => level.demand = Some(Demand::Optional),
                    "optional_no_ca" => level.demand = Some(Demand::OptionalNoCa),
                    "off" => level.demand = None,
                    _ => self.wrong(
                        directive,
                        format!("invalid value \"{first}\""),
                        "write on, off, optional or optional_no_ca",
                    ),
                },
                "ssl_stapling" if is_on(directive) => self.warnings.push(
                    directive.at.clone(),
                    "\"ssl_stapling\" ignored: the daemon fetches no OCSP answers",
                    "browsers do without, and authorities stop answering",
                ),
                _ => {}
            }
        }
        if !certificates.is_empty() {
            level.certificates = certificates;
        }
        if !keys.is_empty() {
            level.keys = keys;
        }
        if !ticket_keys.is_empty() {
            level.rules.ticket_keys = ticket_keys;
        }
    }

    fn protocols(&mut self, level: &mut TlsLevel, directive: &Directive) {
        let has = |name: &str| directive.args.iter().any(|word| word.text == name);
        level.rules.tls12 = has("TLSv1.2");
        level.rules.tls13 = has("TLSv1.3");
        if !level.rules.tls12 && !level.rules.tls13 {
            let help = "add TLSv1.2 or TLSv1.3: older ones are broken, and not there";
            self.wrong(directive, "no usable protocol in \"ssl_protocols\"", help);
        }
    }

    /// An OpenSSL string of cipher suites. They are those of TLS 1.2: TLS 1.3 has its own, which are always there.
    fn ciphers(&mut self, level: &mut TlsLevel, directive: &Directive) {
        let text = arg(directive, 0);
        let suites::Choice { suites, missing } = suites::choose(text);
        if suites.is_empty() {
            let message = format!("no usable cipher suite in \"{text}\"");
            let help = format!("name one of {}", suites::ALL.join(", "));
            self.wrong(directive, message, &help);
            return;
        }
        if !missing.is_empty() {
            let message = format!(
                "\"ssl_ciphers\" names suites that are not there: {}",
                missing.join(", ")
            );
            let help = "clients get the others; what is missing has no forward secrecy, or no authenticated encryption, or is DHE";
            self.warnings.push(directive.at.clone(), message, help);
        }
        level.rules.suites =
            (suites.len() < suites::ALL.len() || suites != suites::ALL).then_some(suites);
    }

    /// `off`, `none`, `builtin[:SESSIONS]`, `shared:NAME:BYTES`. All cores share one cache in any case.
    fn session_cache(&mut self, level: &mut TlsLevel, directive: &Directive) {
        level.rules.sessions = 0;
        for word in &directive.args {
            let text = word.text.as_str();
            let count = match text {
                "off" | "none" => Some(0),
                "builtin" => Some(20_480),
                _ => match text.split_once(':') {
                    Some(("builtin", count)) => count.parse().ok(),
                    Some(("shared", zone)) => zone.split_once(':').and_then(|(name, bytes)| {
                        let bytes = units::size(bytes).filter(|_| !name.is_empty())?;
                        Some(bytes / BYTES_PER_SESSION)
                    }),
                    _ => None,
                },
            };
            match count.and_then(|count| usize::try_from(count.min(MOST_SESSIONS)).ok()) {
                Some(count) => level.rules.sessions = level.rules.sessions.max(count),
                None => self.wrong(directive, format!("invalid session cache \"{text}\""), ""),
            }
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
        let known = level.clients.authorities.is_some() || level.clients.trusted.is_some();
        let needs = matches!(level.demand, Some(Demand::Required | Demand::Optional));
        if needs && !known {
            self.wrong(
                server,
                "no ssl_client_certificate for ssl_verify_client",
                "",
            );
        }
    }
}
