//! Asking for the addresses of a name: name servers that the configuration names, or the system.
//!
//! Not here: how long an answer is used (see `monitor`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Address, Answer, Question};
use crate::config::NameRules;

/// An answer of the system does not say how long it holds.
const SYSTEM_VALID: Duration = Duration::from_secs(10);
/// A name server that says nothing is asked again after this time.
const RESEND: Duration = Duration::from_secs(2);
/// Names of URLs with variables that are kept in mind.
const MOST_NAMES: usize = 256;

/// Why nothing is known of a name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error("there is no such name")]
    NotFound,
    #[error("nobody answered within {0:?}")]
    Late(Duration),
    #[error("the name servers cannot tell")]
    Servers(#[source] NetError),
    #[error("the system cannot tell")]
    System(#[source] io::Error),
}

/// Somebody to ask. All that it does is done on the runtime of the caller.
pub(crate) struct Asker {
    servers: Option<(TokioResolver, Arc<NameRules>)>,
}

impl Asker {
    /// `None` asks the system.
    pub(crate) fn new(rules: Option<&Arc<NameRules>>) -> Result<Self, NameError> {
        let Some(rules) = rules else {
            return Ok(Self { servers: None });
        };
        let servers = rules.servers.iter().map(|addr| {
            let mut server = NameServerConfig::udp_and_tcp(addr.ip());
            for connection in &mut server.connections {
                connection.port = addr.port();
            }
            server
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let options = builder.options_mut();
        options.timeout = RESEND.min(rules.timeout);
        let attempts = rules.timeout.as_secs() / RESEND.as_secs();
        options.attempts = usize::try_from(attempts).unwrap_or(1).clamp(1, 30);
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = match (rules.ipv4, rules.ipv6) {
            (true, false) => LookupIpStrategy::Ipv4Only,
            (false, true) => LookupIpStrategy::Ipv6Only,
            _ => LookupIpStrategy::Ipv4AndIpv6,
        };
        let resolver = builder.build().map_err(NameError::Servers)?;
        Ok(Self {
            servers: Some((resolver, Arc::clone(rules))),
        })
    }

    /// Asks once.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, NameError> {
        let Some((resolver, rules)) = &self.servers else {
            return system(&question.name).await;
        };
        let work = async {
            match &question.service {
                Some(service) => services(resolver, service, &question.name).await,
                None => addresses(resolver, &full(&question.name)).await,
            }
        };
        let (mut found, ttl) = match tokio::time::timeout(rules.timeout, work).await {
            Ok(done) => done.map_err(|error| match error {
                error if error.is_no_records_found() => NameError::NotFound,
                NetError::Timeout => NameError::Late(rules.timeout),
                error => NameError::Servers(error),
            })?,
            Err(_) => return Err(NameError::Late(rules.timeout)),
        };
        if found.is_empty() {
            return Err(NameError::NotFound);
        }
        found.sort_unstable();
        found.dedup();
        Ok(Answer {
            addresses: found,
            valid: rules.valid.unwrap_or(Duration::from_secs(ttl.into())),
        })
    }
}

async fn system(name: &str) -> Result<Answer, NameError> {
    let found = tokio::net::lookup_host((name, 0)).await;
    let found = found.map_err(NameError::System)?;
    let mut addresses: Vec<_> = found.map(|addr| plain(addr.ip())).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(NameError::NotFound);
    }
    Ok(Answer {
        addresses,
        valid: SYSTEM_VALID,
    })
}

fn plain(ip: IpAddr) -> Address {
    Address {
        backup: false,
        ip,
        port: None,
        weight: None,
    }
}

/// Nothing is to be appended to it.
fn full(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// Addresses, and for how many seconds they hold.
async fn addresses(resolver: &TokioResolver, name: &str) -> Result<(Vec<Address>, u32), NetError> {
    let found = resolver.lookup_ip(name).await?;
    let ttl = found.as_lookup().answers().iter().map(|one| one.ttl).min();
    let all = found.iter().map(plain).collect();
    Ok((all, ttl.unwrap_or(0)))
}

/// The servers of a service, those of the lowest priority number first and the others as backups.
async fn services(
    resolver: &TokioResolver,
    service: &str,
    name: &str,
) -> Result<(Vec<Address>, u32), NetError> {
    // As in nginx: a service with a dot is already of the form _http._tcp.
    let wanted = if service.contains('.') {
        full(&format!("{service}.{name}"))
    } else {
        full(&format!("_{service}._tcp.{name}"))
    };
    let records = resolver.lookup(wanted, RecordType::SRV).await?;
    let mut ttl = u32::MAX;
    let mut targets = Vec::new();
    for record in records.answers() {
        if let RData::SRV(srv) = &record.data {
            ttl = ttl.min(record.ttl);
            targets.push((srv.priority, srv.weight, srv.port, srv.target.to_string()));
        }
    }
    let first = targets.iter().map(|target| target.0).min().unwrap_or(0);
    let (mut all, mut failed) = (Vec::new(), None);
    for (priority, weight, port, target) in targets {
        match addresses(resolver, &target).await {
            Ok((found, its)) => {
                ttl = ttl.min(its);
                all.extend(found.into_iter().map(|one| Address {
                    backup: priority > first,
                    port: Some(port),
                    weight: Some(weight.into()),
                    ..one
                }));
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if all.is_empty() => Err(error),
        _ => Ok((all, ttl)),
    }
}

/// Addresses, and until when they count.
type Known = (Vec<IpAddr>, Instant);

/// What one core knows of names in URLs with variables.
#[derive(Default)]
pub(crate) struct Names {
    askers: RefCell<HashMap<Arc<NameRules>, Rc<Asker>>>,
    known: RefCell<HashMap<(Arc<NameRules>, String), Known>>,
    turn: Cell<usize>,
}

impl Names {
    /// The addresses of a name, another one first each time. When nobody can tell, the last ones go on.
    pub(crate) async fn addresses(
        &self,
        rules: &Arc<NameRules>,
        name: &str,
    ) -> io::Result<Vec<IpAddr>> {
        let key = (Arc::clone(rules), name.to_ascii_lowercase());
        let known = self.known.borrow().get(&key).cloned();
        if let Some((found, until)) = &known
            && Instant::now() < *until
        {
            return Ok(self.in_turn(found));
        }
        let asker = self.asker(rules).map_err(io::Error::other)?;
        let question = Question {
            name: key.1.clone(),
            service: None,
            rules: Some(Arc::clone(rules)),
        };
        match (asker.ask(&question).await, known) {
            (Ok(answer), _) => {
                let found: Vec<_> = answer.addresses.iter().map(|one| one.ip).collect();
                let mut all = self.known.borrow_mut();
                if all.len() >= MOST_NAMES {
                    all.clear();
                }
                all.insert(key, (found.clone(), Instant::now() + answer.valid));
                Ok(self.in_turn(&found))
            }
            (Err(error), Some((found, _))) => {
                tracing::warn!(%name, "cannot be resolved again, its last addresses go on: {error}");
                Ok(self.in_turn(&found))
            }
            (Err(error), None) => {
                let error = format!("{name} cannot be resolved: {error}");
                Err(io::Error::new(io::ErrorKind::HostUnreachable, error))
            }
        }
    }

    fn asker(&self, rules: &Arc<NameRules>) -> Result<Rc<Asker>, NameError> {
        if let Some(asker) = self.askers.borrow().get(rules) {
            return Ok(Rc::clone(asker));
        }
        let asker = Rc::new(Asker::new(Some(rules))?);
        self.askers
            .borrow_mut()
            .insert(Arc::clone(rules), Rc::clone(&asker));
        Ok(asker)
    }

    fn in_turn(&self, found: &[IpAddr]) -> Vec<IpAddr> {
        let mut found = found.to_vec();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let count = found.len().max(1);
        found.rotate_left(turn % count);
        found
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}
