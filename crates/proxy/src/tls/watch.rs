//! Notices that files of certificates and keys have changed, so that nobody has to send a signal after a renewal.
//!
//! Not here: reading them (`server`).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::Config;

/// How often it looks. A change counts once two looks have seen the same, so that both of a pair are there.
const EVERY: Duration = Duration::from_secs(1);

/// Which file lies at a path: its device, number, size, and the time of its last change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files of a configuration, as they were when it was read.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Only to tell it from others.
    config: Weak<Config>,
    files: Vec<(PathBuf, Stamp)>,
    /// What the last look saw, if that was a change.
    seen: Option<Vec<Stamp>>,
}

impl Watch {
    /// Watches the files of `config` from now on.
    pub(crate) fn new(config: &Arc<Config>) -> Self {
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
            config: Arc::downgrade(config),
            files: files.collect(),
            seen: None,
        }
    }

    /// Watches the files of `config` from now on, if it is another one than before.
    pub(crate) fn renew(&mut self, config: &Arc<Config>) {
        if self.config.as_ptr() != Arc::as_ptr(config) {
            *self = Self::new(config);
        }
    }

    /// Resolves when the files have changed.
    pub(crate) async fn changed(&mut self) {
        if self.files.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(EVERY).await;
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
