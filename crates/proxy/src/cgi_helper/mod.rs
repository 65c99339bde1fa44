//! `trine-proxy cgi-helper`: a FastCGI server that runs CGI scripts (RFC 3875), so that the proxy itself never makes a
//! process. Any web server that speaks FastCGI can use it.
//!
//! As many threads as scripts may run at once, each with one connection; further connections wait in the socket's
//! queue. `request` is what a script is given, `script` runs it, `answer` makes what it writes an answer, `serve` has
//! the connection. Not here: which requests are for scripts, which is the web server's affair.

mod answer;
mod request;
mod script;
mod serve;

use std::ffi::OsString;
use std::fmt;
use std::fs::canonicalize;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use trine_config::ListenAddr;
use trine_service::listeners::{self, BindOptions, Listener};
use trine_service::readiness::Notifier;
use trine_service::signals::{Signal, SignalPipe};
use trine_sys::limits::{self, Resource};

use crate::error::Error;

/// The command line of the helper.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where to listen: unix:/PATH, HOST:PORT or fd:NAME; several times if need be [default: what was handed down by
    /// LISTEN_FDS or as standard input]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<ListenAddr>,
    /// Mode of a Unix socket, in octal
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = parse_mode)]
    mode: u32,
    /// Folder that scripts have to be in; several times if need be
    #[arg(long = "scripts", value_name = "FOLDER", required = true)]
    roots: Vec<PathBuf>,
    /// How many scripts may run at once
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_scripts: u16,
    /// How long a script may take; then it and all that it has started is ended
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: trine_config::Duration,
    /// How long scripts that run may go on after a signal to stop
    #[arg(long, value_name = "TIME", default_value = "30s")]
    grace: trine_config::Duration,
    /// A limit of scripts as `ulimit` has it, such as cpu=10, as=512MiB, nofile=64; several times if need be
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = parse_limit)]
    limits: Vec<Limit>,
    /// A variable that all scripts get; several times if need be
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<OsString>,
}

/// A resource and how much of it a script may have.
#[derive(Clone)]
struct Limit {
    resource: Resource,
    most: u64,
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}={}", self.resource, self.most)
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "it is an octal number up to 777".to_owned())
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let resource = limits::parse(name).ok_or_else(|| {
        let known: Vec<_> = limits::NAMES.iter().map(|(name, _)| *name).collect();
        format!(
            "there is no limit \"{name}\"; it is one of {}",
            known.join(", ")
        )
    })?;
    let size = value.parse::<trine_config::ByteSize>();
    let most = match (value, size) {
        ("unlimited", _) => limits::UNLIMITED,
        (_, Ok(size)) => size.0,
        (_, Err(error)) => return Err(error.to_string()),
    };
    Ok(Limit { resource, most })
}

/// What all threads share.
struct Helper {
    options: Options,
    /// The folders of `--scripts`, without links in their paths.
    roots: Vec<PathBuf>,
    listeners: Vec<Listener>,
    /// Readable once the helper is to stop.
    stop: OwnedFd,
    /// When whatever still runs is ended.
    until: OnceLock<Instant>,
}

/// Serves until told to stop.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let mut signals = SignalPipe::new(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT])?;
    let mut roots = Vec::new();
    for root in &options.roots {
        let found = canonicalize(root).map_err(|source| Error::Scripts {
            path: root.clone(),
            source,
        })?;
        roots.push(found);
    }
    let listeners = listen(options)?;
    let (stopped, stop) = UnixStream::pair().map_err(Error::Runtime)?;
    let helper = Helper {
        options: options.clone(),
        roots,
        listeners,
        stop: stop.into(),
        until: OnceLock::new(),
    };
    let addresses: Vec<_> = helper.listeners.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    let notifier = Notifier::from_env();
    thread::scope(|scope| {
        for number in 0..options.max_scripts {
            thread::Builder::new()
                .name(format!("cgi-{number}"))
                .spawn_scoped(scope, || serve::serve(&helper))
                .map_err(Error::Runtime)?;
        }
        tracing::info!(
            scripts = options.max_scripts,
            "runs CGI scripts for {addresses}"
        );
        // Nobody may be listening.
        let _ = notifier.ready_with(&format!("serving on {addresses}"));
        while signals.drain().is_empty() {
            wait(&[(signals.as_fd(), PollFlags::POLLIN)], None).map_err(Error::Runtime)?;
        }
        let _ = notifier.stopping();
        let _ = helper.until.set(Instant::now() + options.grace.0);
        // Wakes everybody: its other end is at an end.
        drop(stopped);
        Ok(())
    })
}

fn listen(options: &Options) -> Result<Vec<Listener>, Error> {
    let mut inherited = listeners::inherited()?;
    let bind = BindOptions {
        unix_mode: options.mode,
        ..BindOptions::default()
    };
    let mut addresses = options.listen.clone();
    if addresses.is_empty() {
        addresses = inherited
            .names()
            .map(|name| ListenAddr::Fd(name.to_owned()))
            .collect();
    }
    if addresses.is_empty() {
        return standard_input().map(|listener| vec![listener]);
    }
    addresses
        .iter()
        .map(|addr| Ok(listeners::bind(addr, &bind, &mut inherited)?))
        .collect()
}

/// The socket that FastCGI applications find as their standard input (specification, section 2.2).
fn standard_input() -> Result<Listener, Error> {
    let stdin = io::stdin();
    let listens = getsockopt(&stdin, sockopt::AcceptConn).unwrap_or(false);
    let is_stream =
        getsockopt(&stdin, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    if !listens || !is_stream {
        return Err(Error::NoListener);
    }
    let fd = stdin.as_fd().try_clone_to_owned().map_err(Error::Runtime)?;
    listeners::adopt(fd).map_err(Error::Runtime)
}

/// Waits until one of these is ready, or for so long: what each is ready for.
fn wait(
    fds: &[(std::os::fd::BorrowedFd<'_>, PollFlags)],
    until: Option<Instant>,
) -> io::Result<Vec<PollFlags>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|(fd, events)| PollFd::new(*fd, *events))
        .collect();
    let timeout = match until {
        None => PollTimeout::NONE,
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, so that the time has come when it is over.
            let millis = (left + Duration::from_micros(999)).as_millis().min(1 << 30);
            PollTimeout::try_from(millis as i32).unwrap_or(PollTimeout::ZERO)
        }
    };
    match poll(&mut polled, timeout) {
        Ok(_) => {}
        Err(nix::errno::Errno::EINTR) => return Ok(vec![PollFlags::empty(); fds.len()]),
        Err(error) => return Err(error.into()),
    }
    Ok(polled
        .iter()
        .map(|one| one.revents().unwrap_or(PollFlags::empty()))
        .collect())
}
