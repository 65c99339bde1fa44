//! One look at a program: connect, ask over HTTP, or run a command. Used for readiness and for liveness.
//! Not here: when and how often to look (`probe`, `health`).

use crate::config::{HttpPeer, Ready};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use trine_sys::process::{self, Pid, Signal};
use trine_sys::spawn::Spawn;

/// How a command that looks at a program is run: as the program would be.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    pub env: Vec<CString>,
    pub cwd: Option<CString>,
    pub user: Option<(u32, u32, Vec<u32>)>,
}

/// Whether all is well. `Err` says what is not, for people.
pub(super) async fn look(check: &Ready, manner: &Manner, within: Duration) -> Result<(), String> {
    let looked = match check {
        Ready::Exec { command } => return run(command.clone(), manner.clone(), within).await,
        _ => tokio::time::timeout(within, ask(check)).await,
    };
    looked.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
}

async fn ask(check: &Ready) -> Result<(), String> {
    let unreachable = |err: std::io::Error| format!("cannot connect: {err}");
    match check {
        Ready::Tcp { address } => TcpStream::connect(address)
            .await
            .map(drop)
            .map_err(unreachable),
        Ready::Http {
            peer: HttpPeer::Tcp(address),
            path,
        } => {
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            get(stream, address, path).await
        }
        Ready::Http {
            peer: HttpPeer::Unix(socket),
            path,
        } => {
            let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
            get(stream, "localhost", path).await
        }
        Ready::Age
        | Ready::Notify
        | Ready::Exec { .. }
        | Ready::Log { .. }
        | Ready::Descriptor { .. } => Err("there is nothing to ask".to_owned()),
    }
}

/// Whether a GET is answered with 2xx or 3xx.
async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> Result<(), String> {
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(
            http::header::USER_AGENT,
            concat!("trine-supervisor/", env!("CARGO_PKG_VERSION")),
        )
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|err| err.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|err| err.to_string())?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = answer.as_mut() => answer,
        _ = connection.as_mut() => answer.await,
    };
    let status = answer.map_err(|err| err.to_string())?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("answered {status}"))
    }
}

/// Runs a command to its end, on a thread that waits for it.
async fn run(command: Vec<String>, manner: Manner, within: Duration) -> Result<(), String> {
    let ran = tokio::task::spawn_blocking(move || run_waiting(&command, manner, within)).await;
    ran.unwrap_or_else(|err| Err(err.to_string()))
}

fn run_waiting(command: &[String], manner: Manner, within: Duration) -> Result<(), String> {
    let text = |err: &dyn std::fmt::Display| err.to_string();
    let name = command.first().map_or("", String::as_str);
    let path = manner.env.iter().find_map(|entry| {
        let entry = entry.to_str().ok()?;
        entry.strip_prefix("PATH=").map(str::to_owned)
    });
    let program = trine_sys::spawn::find_program(name.as_ref(), path.unwrap_or_default().as_ref())
        .ok_or_else(|| format!("can't find command '{name}'"))?;
    let args = command.iter().map(|arg| CString::new(arg.as_str()));
    let args: Vec<CString> = args.collect::<Result<_, _>>().map_err(|err| text(&err))?;
    let program = program.to_str().unwrap_or(name);
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|err| text(&err))?;
    let mut plan = Spawn::new(CString::new(program).map_err(|err| text(&err))?);
    plan.argv = args;
    plan.env = manner.env;
    plan.cwd = manner.cwd;
    if let Some((uid, gid, groups)) = manner.user {
        (plan.uid, plan.gid, plan.groups) = (Some(uid), Some(gid), Some(groups));
    }
    plan.process_group = Some(0);
    plan.fds.extend((0..3).map(|number| (null.as_fd(), number)));
    let child = plan
        .spawn()
        .map_err(|err| format!("{err}: {}", err.source))?;
    let wait = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut fds, wait), Ok(1..)) {
        let _ = process::signal_group(Pid::from_raw(child.pid.as_raw()), Signal::SIGKILL);
        let _ = process::wait_pidfd(&child.pidfd);
        return Err(format!("'{name}' did not end within {within:?}"));
    }
    match process::wait_pidfd(&child.pidfd) {
        Ok((_, status)) if status.success() => Ok(()),
        Ok((_, status)) => Err(format!("'{name}' ended with {status}")),
        Err(err) => Err(text(&err)),
    }
}
