//! What would go wrong anyway, found out before anything is written or started.
//!
//! The answer may be out of date a moment later; then the supervisor refuses, and its log is shown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

use trine_config::ListenAddr;
use trine_service::exit::Exit;

use super::plan::Plan;
use super::port_owner;
use crate::failure::Failure;
use crate::run_dir::RunDir;

pub(crate) fn check(plan: &Plan) -> Result<(), Failure> {
    nothing_runs(&plan.run_dir)?;
    match &plan.listen {
        ListenAddr::Tcp(addr) => can_bind(*addr),
        ListenAddr::Unix(path) => unix_is_free(path),
        ListenAddr::Fd(_) | ListenAddr::FdNumber(_) => Ok(()), // refused by the plan
    }
}

fn nothing_runs(run_dir: &RunDir) -> Result<(), Failure> {
    if UnixStream::connect(run_dir.socket("supervisor")).is_err() {
        return Ok(());
    }
    let what = format!("a site already runs in {}", run_dir.path().display());
    let flag = run_dir.flag();
    Err(Failure::new(
        Exit::TryAgain,
        what,
        format!(
            "look at it by `trine status{flag}`, stop it by `trine down{flag}`, or use another --run-dir"
        ),
    ))
}

fn can_bind(addr: SocketAddr) -> Result<(), Failure> {
    TcpListener::bind(addr)
        .map(drop)
        .map_err(|error| refused(addr, &error))
}

fn refused(addr: SocketAddr, error: &io::Error) -> Failure {
    let (exit, what, way_out) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = port_owner::of(addr);
            let by = owner.map(|owner| format!("process {} ({})", owner.pid, owner.command));
            let by = by.as_deref().unwrap_or("a process that we may not look at");
            let next = SocketAddr::new(addr.ip(), addr.port().checked_add(1).unwrap_or(8000));
            (
                Exit::TryAgain,
                format!("{addr} is in use by {by}"),
                format!("stop that one, or choose another address: --listen {next}"),
            )
        }
        io::ErrorKind::PermissionDenied => {
            let (port, free) = (addr.port(), SocketAddr::new(addr.ip(), 8000));
            let allow = format!("sudo sysctl net.ipv4.ip_unprivileged_port_start={port}");
            (
                Exit::Config,
                format!("port {port} is reserved: listening on {addr} is not permitted"),
                format!("use a port from 1024 up, as --listen {free}, or allow it: {allow}"),
            )
        }
        io::ErrorKind::AddrNotAvailable => (
            Exit::Config,
            format!(
                "this machine has no interface with the address {}",
                addr.ip()
            ),
            format!("to listen on every address: --listen {}", addr.port()),
        ),
        _ => (
            Exit::TryAgain,
            format!("cannot listen on {addr}: {error}"),
            "choose another address: --listen HOST:PORT".to_owned(),
        ),
    };
    Failure::new(exit, what, way_out)
}

fn unix_is_free(path: &Path) -> Result<(), Failure> {
    if UnixStream::connect(path).is_err() {
        return Ok(());
    }
    let what = format!("somebody already listens on {}", path.display());
    Err(Failure::new(
        Exit::TryAgain,
        what,
        "stop that one, or choose another path: --listen unix:PATH",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occupied_port_names_its_process() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let failure = can_bind(addr).unwrap_err();
        let start = format!("{addr} is in use by process {} (", std::process::id());
        assert!(failure.what.starts_with(&start), "{}", failure.what);
        assert_eq!(failure.exit, Exit::TryAgain);
        drop(taken);
        assert!(can_bind(addr).is_ok());
    }

    #[test]
    fn an_address_of_somebody_else() {
        let failure = can_bind("192.0.2.1:8000".parse().unwrap()).unwrap_err();
        assert_eq!(
            failure.what,
            "this machine has no interface with the address 192.0.2.1"
        );
        assert_eq!(failure.way_out, "to listen on every address: --listen 8000");
    }

    #[test]
    fn a_port_that_is_reserved() {
        let failure = refused(
            "127.0.0.1:80".parse().unwrap(),
            &io::ErrorKind::PermissionDenied.into(),
        );
        assert_eq!(
            failure.what,
            "port 80 is reserved: listening on 127.0.0.1:80 is not permitted"
        );
        assert!(
            failure.way_out.contains("--listen 127.0.0.1:8000"),
            "{}",
            failure.way_out
        );
    }
}
