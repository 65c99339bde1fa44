//! Who may ask: addresses (`allow`, `deny`) and passwords (`auth_basic`), one of them or all (`satisfy`).
//!
//! `password` checks one, `users` reads the files they are in, `proven` remembers what was right. Not here: waiting for a
//! slow check (`conn::pause`), or how many may ask (`limit`).

pub(crate) mod password;
pub(crate) mod proven;
pub(crate) mod referer;
mod users;

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::rc::Rc;

use base64::Engine as _;
use trine_http1::Request;

use crate::config::{Access, BasicAuth, Rules, Who};
use crate::conn::told::tell;
use crate::template::Scene;
use proven::Proven;

/// What one core remembers for this.
#[derive(Debug)]
pub(crate) struct Guard {
    users: users::Book,
    pub(crate) proven: Rc<Proven>,
    /// How many slow passwords are checked at once: more would only take the time from requests.
    pub(crate) checking: tokio::sync::Semaphore,
}

/// What there is to say to a request.
#[derive(Debug)]
pub(crate) enum Admission {
    Granted,
    /// With this status; 401 comes with the realm that the client has to give a password for.
    Refused(u16, Option<Vec<u8>>),
    /// A password has to be checked first.
    Check(Check),
}

/// A password that has to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
    pub(crate) stored: Vec<u8>,
    pub(crate) realm: Vec<u8>,
}

/// What a list of addresses says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByAddress {
    Allowed,
    Denied,
    Silent,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            users: users::Book::default(),
            proven: Rc::new(Proven::new()),
            checking: tokio::sync::Semaphore::new(1),
        }
    }

    /// Whether the request may go on.
    pub(crate) fn admit(&self, rules: &Rules, scene: &Scene<'_>) -> Admission {
        let addr = scene.record.real_ip.or(scene.conn.peer.ip());
        let by_address = by_address(&rules.access, addr);
        let denied = match (by_address, rules.satisfy_any) {
            (ByAddress::Denied, false) => return forbidden(scene),
            (ByAddress::Allowed, true) => return Admission::Granted,
            (ByAddress::Denied, true) => true,
            (ByAddress::Allowed | ByAddress::Silent, _) => false,
        };
        let by_password = rules
            .auth
            .as_ref()
            .and_then(|auth| self.by_password(auth, scene));
        match by_password {
            None if denied => forbidden(scene),
            None => Admission::Granted,
            Some(admission) => admission,
        }
    }

    /// `None` if no password is asked for.
    fn by_password(&self, auth: &BasicAuth, scene: &Scene<'_>) -> Option<Admission> {
        let realm = auth.realm.value(scene);
        if realm == b"off" {
            return None;
        }
        let client = scene.conn.peer_text.as_str();
        let Some((user, password)) = scene.request.and_then(|request| credentials(&request)) else {
            tracing::info!(%client, "no user/password was provided for basic authentication");
            return Some(Admission::Refused(401, Some(realm)));
        };
        let path = PathBuf::from(OsString::from_vec(auth.file.value(scene)));
        let users = match self.users.read(&path) {
            Ok(users) => users,
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                tracing::error!(%client, "open() \"{}\" failed: {error}", path.display());
                return Some(Admission::Refused(if missing { 403 } else { 500 }, None));
            }
        };
        let Some(stored) = users.get(&user) else {
            tracing::error!(%client, "user \"{}\" was not found in \"{}\"", user.escape_ascii(), path.display());
            return Some(Admission::Refused(401, Some(realm)));
        };
        let check = Check {
            user,
            password,
            stored: stored.clone(),
            realm,
        };
        if self.proven.knows(&check) {
            return Some(Admission::Granted);
        }
        if password::is_quick(stored) {
            let outcome = password::verify(&check.stored, &check.password);
            return Some(judge(check, outcome, client));
        }
        Some(Admission::Check(check))
    }
}

/// What a checked password leads to.
pub(crate) fn judge(
    check: Check,
    outcome: Result<bool, password::UnknownKind>,
    client: &str,
) -> Admission {
    let user = check.user.escape_ascii();
    match outcome {
        Ok(true) => Admission::Granted,
        Ok(false) => {
            tracing::error!(%client, "user \"{user}\": password mismatch");
            Admission::Refused(401, Some(check.realm))
        }
        Err(error) => {
            tracing::error!(%client, "user \"{user}\": {error}");
            Admission::Refused(401, Some(check.realm))
        }
    }
}

fn forbidden(scene: &Scene<'_>) -> Admission {
    let path = scene.record.visit.path.escape_ascii();
    tell!(error, scene.told(), %path, "access forbidden by rule");
    Admission::Refused(403, None)
}

/// Whether a client is shut out by its address, which one on a Unix socket has not.
pub(crate) fn is_denied(access: &[Access], addr: Option<IpAddr>) -> bool {
    by_address(access, addr) == ByAddress::Denied
}

/// The first rule that fits decides.
fn by_address(access: &[Access], addr: Option<IpAddr>) -> ByAddress {
    let rule = access.iter().find(|rule| match rule.who {
        Who::All => true,
        Who::Unix => addr.is_none(),
        Who::Network(network) => addr.is_some_and(|addr| network.contains(addr)),
    });
    match rule {
        None => ByAddress::Silent,
        Some(rule) if rule.allow => ByAddress::Allowed,
        Some(_) => ByAddress::Denied,
    }
}

/// User and password of `Authorization: Basic` (RFC 7617).
pub(crate) fn credentials(request: &Request<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = request.get("authorization")?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut pair = base64::engine::general_purpose::STANDARD
        .decode(rest.trim_ascii())
        .ok()?;
    let colon = memchr::memchr(b':', &pair).filter(|colon| *colon > 0)?;
    let password = pair.split_off(colon + 1);
    pair.pop();
    Some((pair, password))
}
