//! Binding an address at start, as patiently as gunicorn, and with its complaints.
//!
//! Not here: which addresses, and what was handed down (`arbiter::listeners`).

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use trine_config::ListenAddr;
use trine_service::listeners::{BindOptions, Inherited, Listener, bind};

use crate::error::Error;

/// How often an address is tried before it is given up, and the time in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Tries as often as gunicorn does, and complains in its words: a predecessor may be about to let go.
pub(crate) fn bind_patiently(addr: &ListenAddr, options: &BindOptions) -> Result<Listener, Error> {
    let named = match addr {
        ListenAddr::Tcp(addr) => format!("('{}', {})", addr.ip(), addr.port()),
        ListenAddr::Unix(path) => path.display().to_string(),
        named => named.to_string(),
    };
    for attempt in 1..=ATTEMPTS {
        let source = match bind(addr, options, &mut Inherited::default()) {
            Err(trine_service::Error::Listen { source, .. }) => source,
            other => return Ok(other?),
        };
        match source.kind() {
            ErrorKind::AddrInUse => tracing::error!("Connection in use: {named}"),
            ErrorKind::AddrNotAvailable => tracing::error!("Invalid address: {named}"),
            _ => {}
        }
        let why = match source.raw_os_error() {
            Some(number) => format!("[Errno {number}] {}", Errno::from_raw(number).desc()),
            None => source.to_string(),
        };
        tracing::error!("connection to {named} failed: {why}");
        if attempt < ATTEMPTS {
            tracing::debug!("Retrying in 1 second.");
            thread::sleep(PAUSE);
        }
    }
    tracing::error!("Can't connect to {named}");
    Err(Error::Bind)
}
