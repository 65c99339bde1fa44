//! Notices that files of certificates and keys have changed, so that nobody has to send a signal after a renewal.
//!
//! Not here: reading them (`server`).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::Config;

/// How often it looks. A change counts once two looks have seen the same, so that both of a pair are there.
const EVERY: Duration = Duration::from_secs(1);

/// Which file lies at a path: its device, number, size, and the time of its last change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files of a configuration, as they were just before they were read.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<(PathBuf, Stamp)>,
    /// When it looks again.
    next: Instant,
    /// What the last look saw, if that was a change.
    seen: Option<Vec<Stamp>>,
}

impl Watch {
    /// Watches the files of `config` from now on. They are to be read after this, so that no change is missed.
    pub(crate) fn new(config: &Config) -> Self {
        let mut paths: Vec<&PathBuf> = Vec::new();
        for tls in config.tls_rules() {
            paths.extend(
                tls.certificates
                    .iter()
                    .filter(|files| !files.by_name())
                    .flat_map(|files| [&files.certificate, &files.key]),
            );
            paths.extend(&tls.ticket_keys);
            if let Some(clients) = &tls.clients {
                paths.extend(clients.authorities.iter().chain(&clients.trusted));
                paths.extend(&clients.revoked);
            }
        }
        paths.sort_unstable();
        paths.dedup();
        let files = paths.into_iter().map(|path| (path.clone(), stamp(path)));
        Self {
            files: files.collect(),
            next: Instant::now() + EVERY,
            seen: None,
        }
    }

    /// Resolves when the files have changed. Whoever stops waiting and waits again later makes it look no less often.
    pub(crate) async fn changed(&mut self) {
        if self.files.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep_until(self.next.into()).await;
            self.next = Instant::now() + EVERY;
            let now: Vec<_> = self.files.iter().map(|(path, _)| stamp(path)).collect();
            let is_old = self
                .files
                .iter()
                .zip(&now)
                .all(|((_, old), now)| old == now);
            if is_old {
                self.seen = None;
            } else if self.seen.as_ref() == Some(&now) {
                for ((_, old), now) in self.files.iter_mut().zip(now) {
                    *old = now;
                }
                self.seen = None;
                return;
            } else {
                self.seen = Some(now);
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = path.metadata().ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}
