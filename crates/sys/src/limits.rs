//! Resource limits of this process. A child's are set by `spawn`.

use std::io;

pub use nix::sys::resource::Resource;
use nix::sys::resource::{getrlimit, setrlimit};

/// A resource by the name that `ulimit` documentation and `limits.conf` know it by.
#[must_use]
pub fn parse(name: &str) -> Option<Resource> {
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, resource)| *resource)
}

/// All names that [`parse`] knows.
pub const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// No limit, as [`get`] tells it and [`set`] takes it.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// The soft limit (in force) and the hard one (how far the soft one may go).
pub fn get(resource: Resource) -> io::Result<(u64, u64)> {
    Ok(getrlimit(resource)?)
}

pub fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    Ok(setrlimit(resource, soft, hard)?)
}

/// Raises the soft limit to `wanted`, or to the hard limit where that is lower, and returns what is in force now.
/// Never lowers it. Going above the hard limit is tried too: it succeeds for root.
pub fn raise(resource: Resource, wanted: u64) -> io::Result<u64> {
    let (soft, hard) = get(resource)?;
    if soft >= wanted {
        return Ok(soft);
    }
    if hard < wanted && set(resource, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let reachable = wanted.min(hard);
    set(resource, reachable, hard)?;
    Ok(reachable)
}
