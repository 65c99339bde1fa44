//! An upstream whose workers are known one by one: each takes what it has seats for, and the rest waits in line.
//!
//! trine-wsgi tells of its workers on its control socket. Pure. Not here: asking it (see `monitor::capacity`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::names::Book;
use crate::config::{Method, PeerAddr, Queue, Upstream, UpstreamServer};

/// The line, where the configuration does not say: as many as a listen queue would take, for as long as a connection
/// may take to be made.
const LINE: Queue = Queue {
    most: 2048,
    timeout: Duration::from_secs(60),
};

/// A worker process that takes requests on a socket of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) socket: PathBuf,
    /// Requests that it can be at at the same time.
    pub(crate) seats: u32,
}

/// The upstream with its workers in the place of the sockets that they share, which are for when no worker is left.
/// Where nothing is known of them it stays as it is.
pub(crate) fn seat(upstream: Arc<Upstream>, book: &Book) -> Arc<Upstream> {
    let workers = upstream
        .capacity
        .as_deref()
        .and_then(|path| book.workers(path));
    let Some(workers) = workers.filter(|workers| !workers.is_empty()) else {
        return upstream;
    };
    let shared = &upstream.servers;
    let seated = workers.iter().map(|worker| UpstreamServer {
        weight: worker.seats,
        max_conns: worker.seats,
        ..UpstreamServer::new(PeerAddr::Unix(worker.socket.clone()))
    });
    let servers: Vec<_> = seated.chain(shared.iter().cloned()).collect();
    let method = match &upstream.method {
        Method::RoundRobin => Method::LeastConn,
        chosen => chosen.clone(),
    };
    Arc::new(Upstream {
        servers,
        primaries: workers.len(),
        method,
        queue: Some(upstream.queue.unwrap_or(LINE)),
        ..Upstream::clone(&upstream)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_take_the_place_of_what_they_share() {
        let shared = PeerAddr::Unix("/run/app.sock".into());
        let control = PathBuf::from("/run/app.ctl");
        let upstream = Arc::new(Upstream {
            capacity: Some(control.clone()),
            ..Upstream::single("app", shared, Default::default())
        });
        let book = Book::default();
        let shown = |book: &Book| {
            let seated = seat(Arc::clone(&upstream), book);
            let servers = seated.servers.iter();
            let servers: Vec<_> = servers
                .map(|one| format!("{} {}/{}", one.addr, one.weight, one.max_conns))
                .collect();
            let (front, back) = servers.split_at(seated.primaries);
            let queue = seated.queue.map_or(0, |queue| queue.most);
            format!("{} | {} | {queue}", front.join(", "), back.join(", "))
        };
        let unknown = "unix:/run/app.sock 1/0 |  | 0";
        assert_eq!(shown(&book), unknown);
        let worker = |name: &str, seats| Worker {
            socket: name.into(),
            seats,
        };
        let workers = vec![worker("/w/0.sock", 1), worker("/w/1.sock", 8)];
        assert!(book.put_workers(&control, workers.clone()));
        assert!(!book.put_workers(&control, workers));
        assert_eq!(
            shown(&book),
            "unix:/w/0.sock 1/1, unix:/w/1.sock 8/8 | unix:/run/app.sock 1/0 | 2048"
        );
        assert!(book.put_workers(&control, Vec::new()));
        assert_eq!(shown(&book), unknown);
    }
}
