//! The three configurations of one deployment, written with the daemons' documented keys.
//!
//! Not here: what the keys do, or their defaults; only what differs from a default is written.
//! All paths are absolute, so that a daemon may also be started by hand from anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use trine_config::{ListenAddr, yaml};
use trine_service::exit::Exit;

use super::plan::Plan;
use crate::failure::Failure;

/// Names of the two programs, in the supervisor and in every command.
pub(crate) const WSGI: &str = "wsgi";
pub(crate) const PROXY: &str = "proxy";

/// How long requests in flight may take when a daemon is asked to stop.
const GRACE: &str = "30s";
/// When the supervisor stops waiting for that; a little more than `GRACE`.
const STOP_WAIT: &str = "35s";
/// A large Django project imports for a while.
const READY_TIMEOUT: &str = "120s";
const BACKLOG: u32 = 2048;

#[derive(Debug, Serialize)]
struct Supervisor {
    control: PathBuf,
    pidfile: PathBuf,
    programs: BTreeMap<&'static str, Program>,
}

#[derive(Debug, Serialize)]
struct Program {
    command: Vec<String>,
    directory: PathBuf,
    sockets: BTreeMap<&'static str, Socket>,
    ready: &'static str,
    ready_timeout: &'static str,
    stopwaitsecs: &'static str,
    stdout_logfile: PathBuf,
    redirect_stderr: bool,
    priority: u32,
}

#[derive(Debug, Serialize)]
struct Socket {
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    backlog: u32,
}

#[derive(Debug, Serialize)]
struct Proxy {
    control: PathBuf,
    access_log: AccessLog,
    timeouts: Timeouts,
    servers: Vec<Server>,
    upstreams: BTreeMap<&'static str, Upstream>,
}

#[derive(Debug, Serialize)]
struct AccessLog {
    path: PathBuf,
    format: &'static str,
}

#[derive(Debug, Serialize)]
struct Timeouts {
    shutdown: &'static str,
}

#[derive(Debug, Serialize)]
struct Server {
    listen: Vec<&'static str>,
    locations: Vec<Location>,
}

#[derive(Debug, Serialize)]
struct Location {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Upstream {
    servers: Vec<String>,
    capacity: PathBuf,
}

#[derive(Debug, Serialize)]
struct Wsgi {
    wsgi_app: String,
    chdir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    python: Option<PathBuf>,
    bind: Vec<&'static str>,
    workers: u32,
    threads: u32,
    graceful_timeout: u32,
    control: PathBuf,
}

/// A configuration file: where it goes, and its text.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The three files, the supervisor's first.
pub(crate) fn files(plan: &Plan) -> anyhow::Result<Vec<File>> {
    let file = |daemon: &str, body: String| File {
        path: plan.run_dir.config(daemon),
        text: headed(daemon, &body),
    };
    Ok(vec![
        file("supervisor", yaml::write(&supervisor(plan))?),
        file(PROXY, yaml::write(&proxy(plan))?),
        file(WSGI, yaml::write(&wsgi(plan))?),
    ])
}

/// Writes a file whole or not at all.
pub(crate) fn write(file: &File) -> Result<(), Failure> {
    let refused = |error: io::Error| {
        let what = format!("cannot write {}: {error}", file.path.display());
        Failure::new(
            Exit::Config,
            what,
            "name a run directory that can be written: --run-dir DIR",
        )
    };
    let fresh = file.path.with_extension("yaml.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&fresh)
        .and_then(|mut out| out.write_all(file.text.as_bytes()))
        .map_err(refused)?;
    fs::rename(&fresh, &file.path).map_err(refused)
}

fn headed(daemon: &str, body: &str) -> String {
    format!(
        "# trine-{daemon} -c this file. Written by `trine up`, which writes it anew each time: to keep changes,\n\
         # copy the file and start the daemon with the copy.\n{body}"
    )
}

fn supervisor(plan: &Plan) -> Supervisor {
    let app = Socket {
        listen: unix(&plan.run_dir.socket("app")),
        mode: Some("0660"),
        backlog: BACKLOG,
    };
    let public = Socket {
        listen: plan.listen.to_string(),
        mode: public_mode(&plan.listen),
        backlog: BACKLOG,
    };
    let program = |name: &str, binary: &Path, socket, priority| Program {
        command: [
            binary.to_string_lossy().as_ref(),
            "-c",
            &plan.run_dir.config(name).to_string_lossy(),
        ]
        .map(str::to_owned)
        .to_vec(),
        directory: plan.folder.clone(),
        sockets: BTreeMap::from([socket]),
        ready: "notify",
        ready_timeout: READY_TIMEOUT,
        stopwaitsecs: STOP_WAIT,
        stdout_logfile: plan.run_dir.log(name),
        redirect_stderr: true,
        priority,
    };
    Supervisor {
        control: plan.run_dir.socket("supervisor"),
        pidfile: plan.run_dir.pid_file(),
        // The application starts first and stops last: the proxy can let its requests finish.
        programs: BTreeMap::from([
            (WSGI, program(WSGI, &plan.programs.wsgi, ("app", app), 100)),
            (
                PROXY,
                program(PROXY, &plan.programs.proxy, ("http", public), 200),
            ),
        ]),
    }
}

fn proxy(plan: &Plan) -> Proxy {
    let files = plan.statics.iter().map(|one| Location {
        path: one.url.clone(),
        files: Some(one.folder.clone()),
        proxy: None,
    });
    let rest = Location {
        path: "/".to_owned(),
        files: None,
        proxy: Some("app"),
    };
    Proxy {
        control: plan.run_dir.socket(PROXY),
        access_log: AccessLog {
            path: plan.run_dir.log("access"),
            format: "combined",
        },
        timeouts: Timeouts { shutdown: GRACE },
        servers: vec![Server {
            listen: vec!["fd:http"],
            locations: files.chain([rest]).collect(),
        }],
        upstreams: BTreeMap::from([(
            "app",
            Upstream {
                servers: vec![unix(&plan.run_dir.socket("app"))],
                capacity: plan.run_dir.socket(WSGI),
            },
        )]),
    }
}

fn wsgi(plan: &Plan) -> Wsgi {
    Wsgi {
        wsgi_app: plan.app.to_string(),
        chdir: plan.folder.clone(),
        python: plan.python.as_ref().map(|python| python.path.clone()),
        bind: vec!["fd:app"],
        workers: plan.workers,
        threads: plan.threads,
        graceful_timeout: 30, // GRACE, in gunicorn's unit
        control: plan.run_dir.socket(WSGI),
    }
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// A public Unix socket is for whoever stands in front, such as nginx under its own user.
fn public_mode(listen: &ListenAddr) -> Option<&'static str> {
    matches!(listen, ListenAddr::Unix(_)).then_some("0666")
}
