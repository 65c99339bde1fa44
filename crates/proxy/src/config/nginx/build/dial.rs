//! `proxy_ssl_…`: TLS towards upstream servers.
//!
//! Not here: reading certificates (see `tls::client`).

use std::path::PathBuf;

use super::super::tree::Directive;
use super::family::Family;
use super::{Builder, arg, is_on};
use crate::config::model::{DialRules, PassTls};
use crate::template::Template;

/// What a block hands down about it.
#[derive(Clone)]
pub(super) struct DialLevel {
    /// `None`: nothing was said.
    verify: Option<bool>,
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    tls12: bool,
    tls13: bool,
    sni: Option<bool>,
    reuse: bool,
    name: Option<Template>,
}

impl DialLevel {
    pub(super) fn new() -> Self {
        Self {
            verify: None,
            authorities: None,
            certificate: None,
            key: None,
            tls12: true,
            tls13: true,
            sni: None,
            reuse: true,
            name: None,
        }
    }
}

impl Builder<'_> {
    pub(super) fn apply_dial(
        &mut self,
        level: &mut DialLevel,
        family: Family,
        directive: &Directive,
    ) {
        let first = arg(directive, 0);
        let path = || (!first.is_empty()).then(|| self.prefix.join(first));
        match family.rest_of(directive) {
            "ssl_verify" => level.verify = Some(is_on(directive)),
            "ssl_server_name" => level.sni = Some(is_on(directive)),
            "ssl_session_reuse" => level.reuse = is_on(directive),
            "ssl_trusted_certificate" => level.authorities = path(),
            "ssl_certificate" => level.certificate = path(),
            "ssl_certificate_key" => level.key = path(),
            "ssl_name" => {
                let name = first.to_owned();
                level.name = Some(self.template(directive, &name));
            }
            "ssl_protocols" => {
                let has = |name| directive.args.iter().any(|word| word.text == name);
                (level.tls12, level.tls13) = (has("TLSv1.2"), has("TLSv1.3"));
                if !level.tls12 && !level.tls13 {
                    let help = "TLSv1.2 and TLSv1.3 are spoken";
                    self.wrong(directive, "none of these protocols is supported", help);
                }
            }
            _ => {}
        }
    }

    /// For a `proxy_pass`, if it may lead to an `https://` URL.
    pub(super) fn pass_tls(
        &mut self,
        directive: &Directive,
        level: &DialLevel,
        always: bool,
    ) -> Option<PassTls> {
        let house = self.is_house();
        let verify = level.verify.unwrap_or(house);
        if verify && level.authorities.is_none() && !house {
            let message = "no proxy_ssl_trusted_certificate for proxy_ssl_verify";
            self.wrong(directive, message, "name the file of authorities");
        }
        let certificate = match (&level.certificate, &level.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (Some(certificate), None) => {
                let message = format!(
                    "no \"proxy_ssl_certificate_key\" is defined for certificate \"{}\"",
                    certificate.display()
                );
                self.wrong(directive, message, "");
                None
            }
            (None, _) => None,
        };
        let rules = DialRules {
            verify,
            authorities: level.authorities.clone(),
            certificate,
            tls12: level.tls12,
            tls13: level.tls13,
            sni: level.sni.unwrap_or(house),
            reuse: level.reuse,
        };
        let known = self.dials.iter().position(|known| *known == rules);
        let dial = known.unwrap_or_else(|| {
            self.dials.push(rules);
            self.dials.len() - 1
        });
        Some(PassTls {
            dial,
            name: level.name.clone(),
            always,
        })
    }
}
