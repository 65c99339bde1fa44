//! What a listening socket needs to speak TLS: the certificates of its servers, protocols, client certificates.
//!
//! Everything is read before a configuration takes effect, so that a bad key keeps the old one. Not here: which
//! certificate is shown (`certificates`), sessions.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::certificates::Certificates;
use super::clients::Judge;
use super::tickets::Keyring;
use crate::config::{Config, Listen, TlsRules};
use crate::route::host;

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

/// TLS of one listening socket; `None` for one without.
pub(crate) type Door = Option<Arc<TlsDoor>>;

/// The servers of a listening socket that speak TLS.
#[derive(Debug)]
pub(crate) struct TlsDoor {
    config: Arc<Config>,
    /// Indices into the configuration's servers, or into those of `stream`, the default one first.
    servers: Vec<usize>,
    of_stream: bool,
    by_server: ByServer,
    /// For names that lead to a server without certificates.
    default: Arc<Chosen>,
}

/// How a server speaks TLS.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// `None`: not at all, the handshake is refused.
    pub(super) config: Option<Arc<ServerConfig>>,
    pub(super) judge: Option<Judge>,
}

impl TlsDoor {
    /// The server for the name that a client asks for.
    pub(super) fn choose(&self, name: Option<&str>) -> &Arc<Chosen> {
        let name = name.map(str::as_bytes);
        let found = if self.of_stream {
            let servers = &self.config.streams.servers;
            host::find_by(&self.servers, |index| &servers[index].names, name)
        } else {
            host::find(&self.config, &self.servers, name)
        };
        let chosen = found.and_then(|(index, _)| self.by_server.get(&index));
        chosen.unwrap_or(&self.default)
    }
}

/// What each listening socket of a configuration needs, in its order.
///
/// # Errors
/// The first certificate, key or authority that cannot be used.
pub(crate) fn doors(config: &Arc<Config>, keyring: &Keyring) -> Result<Vec<Door>, TlsError> {
    let used: Vec<_> = config.tls_rules().collect();
    let mut made = HashMap::new();
    let doors = config
        .listens
        .iter()
        .map(|listen| {
            listen
                .tls
                .then(|| door(config, listen, keyring, &mut made))
                .transpose()
        })
        .collect::<Result<_, _>>()?;
    keyring.keep(&used);
    Ok(doors)
}

/// Whether everything that [`doors`] needs is there.
///
/// # Errors
/// The same.
pub(crate) fn check(config: &Config) -> Result<(), TlsError> {
    let keyring = Keyring::default();
    let mut made = HashMap::new();
    for listen in config.listens.iter().filter(|listen| listen.tls) {
        servers(config, listen, &keyring, &mut made)?;
    }
    Ok(())
}

/// Servers with the same rules have the same of everything.
type Made = HashMap<(TlsRules, Protocols), Arc<Chosen>>;

/// What may be spoken inside (ALPN), best first.
type Protocols = Vec<Vec<u8>>;

fn door(
    config: &Arc<Config>,
    listen: &Listen,
    keyring: &Keyring,
    made: &mut Made,
) -> Result<Arc<TlsDoor>, TlsError> {
    let (by_server, default) = servers(config, listen, keyring, made)?;
    Ok(Arc::new(TlsDoor {
        config: Arc::clone(config),
        of_stream: !listen.streams.is_empty(),
        servers: [&listen.servers[..], &listen.streams].concat(),
        by_server,
        default,
    }))
}

type ByServer = HashMap<usize, Arc<Chosen>>;

fn servers(
    config: &Config,
    listen: &Listen,
    keyring: &Keyring,
    made: &mut Made,
) -> Result<(ByServer, Arc<Chosen>), TlsError> {
    let mut by_server = HashMap::new();
    let mut default = None;
    // Only one of the two is there.
    let of_http = listen.servers.iter().map(|&index| {
        let server = &config.servers[index];
        let mut protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        if listen.http2 || server.http2.on {
            protocols.insert(0, b"h2".to_vec());
        }
        (index, server.tls.as_ref(), protocols)
    });
    let of_stream = listen.streams.iter().map(|&index| {
        let server = &config.streams.servers[index];
        (index, server.tls.as_ref(), server.protocols.clone())
    });
    for (index, rules, protocols) in of_http.chain(of_stream) {
        let Some(rules) = rules else { continue };
        let key = (rules.clone(), protocols);
        let chosen = match made.get(&key) {
            Some(chosen) => Arc::clone(chosen),
            None => {
                let chosen = Arc::new(chosen(rules, &key.1, keyring)?);
                made.insert(key, Arc::clone(&chosen));
                chosen
            }
        };
        default.get_or_insert_with(|| Arc::clone(&chosen));
        by_server.insert(index, chosen);
    }
    let default = default.ok_or_else(|| TlsError::Missing(listen.addr.to_string()))?;
    Ok((by_server, default))
}

fn chosen(rules: &TlsRules, protocols: &Protocols, keyring: &Keyring) -> Result<Chosen, TlsError> {
    if rules.rejects {
        return Ok(Chosen {
            config: None,
            judge: None,
        });
    }
    let provider = Arc::new(provider(rules));
    let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
    let clients = rules.clients.as_ref();
    let judge = clients
        .map(|clients| Judge::new(clients, &provider))
        .transpose()?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(rules))
        .map_err(|error| setup(&error))?;
    let builder = match &judge {
        None => builder.with_no_client_auth(),
        Some(judge) => builder.with_client_cert_verifier(judge.in_handshake(&provider)),
    };
    let certificates = Certificates::load(rules, &provider)?;
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols.clone_from(protocols);
    config.max_early_data_size = 0;
    config.ignore_client_order = rules.own_order;
    config.session_storage = match rules.sessions {
        0 => Arc::new(NoServerSessionStorage {}),
        count => ServerSessionMemoryCache::new(count),
    };
    if rules.tickets {
        config.ticketer = keyring.tickets(rules)?;
    } else if rules.sessions == 0 {
        // rustls makes them all the same, and throws them away.
        config.send_tls13_tickets = 0;
    }
    Ok(Chosen {
        config: Some(Arc::new(config)),
        judge,
    })
}

/// rustls's algorithms, with the suites of TLS 1.2 that are wanted.
fn provider(rules: &TlsRules) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(wanted) = &rules.suites {
        let place = |suite: &SupportedCipherSuite| {
            let name = openssl_name(suite.suite().as_str().unwrap_or_default());
            wanted.iter().position(|wanted| *wanted == name)
        };
        let is_modern = |suite: &SupportedCipherSuite| suite.tls13().is_some();
        provider
            .cipher_suites
            .retain(|suite| is_modern(suite) || place(suite).is_some());
        provider
            .cipher_suites
            .sort_by_key(|suite| (!is_modern(suite), place(suite)));
    }
    provider
}

/// OpenSSL's name of a suite: `ECDHE-RSA-AES128-GCM-SHA256`.
pub(super) fn openssl_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let name = name.trim_start_matches("TLS_").replace("_WITH_", "_");
    let name = name
        .replace("AES_", "AES")
        .replace("POLY1305_SHA256", "POLY1305");
    name.replace('_', "-")
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
