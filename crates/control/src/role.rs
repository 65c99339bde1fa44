//! Who may do what: the peer of a control connection by its user.
//!
//! Not here: who can connect at all; the socket's mode (0600 unless an operator widens it) decides that.

use std::io;
use std::os::fd::AsFd;

use nix::unistd::geteuid;
use trine_sys::net::peer_cred;

/// What the peer of a control connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May look: GET only.
    Observer,
    /// May do everything.
    Admin,
}

impl Role {
    /// Root and the daemon's own user may do everything, others may look.
    #[must_use]
    pub const fn of_user(peer_uid: u32, our_euid: u32) -> Self {
        if peer_uid == 0 || peer_uid == our_euid {
            Self::Admin
        } else {
            Self::Observer
        }
    }

    /// The role of whoever connected `stream`, as of that moment (SO_PEERCRED, `unix(7)`).
    ///
    /// # Errors
    /// When it is no connected Unix socket.
    pub fn of_peer(stream: impl AsFd) -> io::Result<Self> {
        Ok(Self::of_user(peer_cred(stream)?.uid, geteuid().as_raw()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        assert_eq!(Role::of_user(0, 1000), Role::Admin, "root");
        assert_eq!(Role::of_user(1000, 1000), Role::Admin, "the daemon's own");
        assert_eq!(Role::of_user(1001, 1000), Role::Observer);
        assert_eq!(
            Role::of_user(1000, 0),
            Role::Observer,
            "a daemon run by root"
        );
    }

    #[test]
    fn peers() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(Role::of_peer(&ours).unwrap(), Role::Admin);
        assert!(Role::of_peer(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
