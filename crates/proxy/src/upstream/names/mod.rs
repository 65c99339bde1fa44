//! Names of servers: what is asked about them, what is known, and what an upstream's servers are by that. Pure.
//!
//! `ask` asks. Not here: when (see `monitor` and `reload`).

pub(crate) mod ask;
pub(crate) mod start;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::capacity::Worker;
use crate::config::{NameRules, PeerAddr, Upstream, UpstreamServer};

/// A server's weight by its SRV record is brought below this: only the proportions count.
const MOST_WEIGHT: u32 = 100;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) name: String,
    /// The service whose SRV records are asked for.
    pub(crate) service: Option<String>,
    /// Who is asked; `None`: the system.
    pub(crate) rules: Option<Arc<NameRules>>,
}

/// One address of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) backup: bool,
    pub(crate) ip: IpAddr,
    /// By the SRV record.
    pub(crate) port: Option<u16>,
    pub(crate) weight: Option<u32>,
}

/// The addresses of a name, and for how long they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In order, and each once.
    pub(crate) addresses: Vec<Address>,
    pub(crate) valid: Duration,
}

/// The last answer to each question, and the workers last seen behind each control socket. It outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Book {
    names: Mutex<HashMap<Question, Vec<Address>>>,
    workers: Mutex<HashMap<PathBuf, Vec<Worker>>>,
}

impl Book {
    pub(crate) fn get(&self, question: &Question) -> Option<Vec<Address>> {
        self.lock().get(question).cloned()
    }

    /// Returns whether that is news.
    pub(crate) fn put(&self, question: Question, addresses: Vec<Address>) -> bool {
        let mut known = self.lock();
        let news = known.get(&question) != Some(&addresses);
        known.insert(question, addresses);
        news
    }

    /// The workers behind a control socket.
    pub(crate) fn workers(&self, control: &Path) -> Option<Vec<Worker>> {
        let known = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(control).cloned()
    }

    /// Returns whether that is news.
    pub(crate) fn put_workers(&self, control: &Path, workers: Vec<Worker>) -> bool {
        let mut known = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(control.to_owned(), workers.clone());
        before.unwrap_or_default() != workers
    }

    /// Forgets what nobody asks any more.
    pub(crate) fn keep(&self, wanted: &[Question]) {
        self.lock().retain(|question, _| wanted.contains(question));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Question, Vec<Address>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// What is asked about a server, if it has a name.
    pub(crate) fn about(server: &UpstreamServer, upstream: &Upstream) -> Option<Self> {
        let PeerAddr::Name(name, _) = &server.addr else {
            return None;
        };
        Some(Self {
            name: name.clone(),
            service: server.service.clone(),
            rules: upstream.names.clone().filter(|_| server.resolve),
        })
    }
}

/// The upstream with addresses in the place of names. A name that nothing is known of has none.
pub(crate) fn expand(upstream: &Arc<Upstream>, book: &Book) -> Arc<Upstream> {
    let is_name = |server: &UpstreamServer| matches!(server.addr, PeerAddr::Name(..));
    if !upstream.servers.iter().any(is_name) {
        return Arc::clone(upstream);
    }
    let (mut primaries, mut backups) = (Vec::new(), Vec::new());
    for (index, server) in upstream.servers.iter().enumerate() {
        let is_backup = index >= upstream.primaries;
        let mut put = |server, backup| {
            let list = if is_backup || backup {
                &mut backups
            } else {
                &mut primaries
            };
            list.push(server);
        };
        let (Some(question), PeerAddr::Name(_, port)) =
            (Question::about(server, upstream), &server.addr)
        else {
            put(server.clone(), false);
            continue;
        };
        let addresses = book.get(&question).unwrap_or_default();
        let heaviest = addresses.iter().filter_map(|one| one.weight).max();
        for address in &addresses {
            let addr = SocketAddr::new(address.ip, address.port.unwrap_or(*port));
            let scaled = |weight: u32| match heaviest {
                Some(heaviest) if heaviest > MOST_WEIGHT => {
                    (weight * MOST_WEIGHT / heaviest).max(1)
                }
                _ => weight.max(1),
            };
            let one = UpstreamServer {
                addr: PeerAddr::Ip(addr),
                weight: address.weight.map_or(server.weight, scaled),
                text: match addresses.len() {
                    1 => server.text.clone(),
                    // Each has points of its own on a ring.
                    _ => addr.to_string(),
                },
                ..server.clone()
            };
            put(one, address.backup);
        }
    }
    let count = primaries.len();
    primaries.extend(backups);
    Arc::new(Upstream {
        servers: primaries,
        primaries: count,
        ..Upstream::clone(upstream)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, weight: Option<u32>, backup: bool) -> Address {
        let addr: SocketAddr = text.parse().unwrap();
        Address {
            backup,
            ip: addr.ip(),
            port: (addr.port() > 0).then_some(addr.port()),
            weight,
        }
    }

    #[track_caller]
    fn check(known: Vec<Address>, want: &str) {
        let named = UpstreamServer {
            resolve: true,
            weight: 3,
            ..UpstreamServer::new(PeerAddr::Name("app".to_owned(), 8000))
        };
        let fixed = UpstreamServer::new(PeerAddr::Ip(([10, 9, 9, 9], 1).into()));
        let upstream = Arc::new(Upstream {
            servers: vec![named, fixed.clone(), fixed],
            primaries: 2,
            ..Upstream::single("u", PeerAddr::Name("x".to_owned(), 80), Default::default())
        });
        let book = Book::default();
        let question = Question::about(&upstream.servers[0], &upstream).unwrap();
        if !known.is_empty() {
            assert!(book.put(question.clone(), known.clone()));
            assert!(!book.put(question, known));
        }
        let got = expand(&upstream, &book);
        let servers: Vec<_> = got
            .servers
            .iter()
            .map(|one| format!("{}*{}", one.addr, one.weight))
            .collect();
        let (front, back) = servers.split_at(got.primaries);
        assert_eq!(format!("{} | {}", front.join(" "), back.join(" ")), want);
    }

    #[test]
    fn servers_by_what_is_known() {
        check(vec![], "10.9.9.9:1*1 | 10.9.9.9:1*1");
        check(
            vec![
                address("10.0.0.1:0", None, false),
                address("[::1]:0", None, false),
            ],
            "10.0.0.1:8000*3 [::1]:8000*3 10.9.9.9:1*1 | 10.9.9.9:1*1",
        );
        check(
            vec![
                address("10.0.0.1:81", Some(0), false),
                address("10.0.0.2:82", Some(5), false),
                address("10.0.0.3:83", Some(7), true),
            ],
            "10.0.0.1:81*1 10.0.0.2:82*5 10.9.9.9:1*1 | 10.0.0.3:83*7 10.9.9.9:1*1",
        );
        check(
            vec![
                address("10.0.0.1:81", Some(65535), false),
                address("10.0.0.2:82", Some(6554), false),
            ],
            "10.0.0.1:81*100 10.0.0.2:82*10 10.9.9.9:1*1 | 10.9.9.9:1*1",
        );
    }
}
