//! The control socket of a daemon.
//!
//! Not here: serving it.

use std::path::Path;

use trine_service::listeners::{BindOptions, Inherited, Listener, bind as bind_listener};

/// Permission bits of a control socket: its owner only. Who widens them lets others look, see `role`.
pub const MODE: u32 = 0o600;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// Listens on `path` with mode 0600. A socket left by a dead daemon is replaced. The file goes away when
/// the listener is dropped.
///
/// # Errors
/// [`trine_service::Error::Listen`] naming the path; AddrInUse when another daemon answers there.
pub fn bind(path: &Path) -> Result<Listener, trine_service::Error> {
    let options = BindOptions {
        backlog: BACKLOG,
        unix_mode: MODE,
        reuse_port: false,
    };
    bind_listener(
        &trine_config::ListenAddr::Unix(path.to_owned()),
        &options,
        &mut Inherited::default(),
    )
}
