//! The servers: how each is started with an application, and what keeps it from running here.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::super::server::{Field, SERVER_CPU, Server};
use super::super::setup::venv;
use super::scenarios::{Kind, Scenario, Way};

const FILES: [(&str, &str); 3] = [
    ("apps.py", include_str!("apps.py")),
    ("flask_app.py", include_str!("flask_app.py")),
    ("run_bjoern.py", include_str!("run_bjoern.py")),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Peer {
    Trine,
    GunicornSync,
    GunicornThreads,
    Granian,
    Bjoern,
    /// uWSGI without its router: no keep-alive.
    UwsgiSocket,
    /// uWSGI with its router process, which keeps connections.
    UwsgiHttp,
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trine => "trine-wsgi",
            Self::GunicornSync => "gunicorn sync",
            Self::GunicornThreads => "gunicorn gthread",
            Self::Granian => "granian",
            Self::Bjoern => "bjoern",
            Self::UwsgiSocket => "uWSGI http-socket",
            Self::UwsgiHttp => "uWSGI http",
        }
    }

    /// Why it cannot run here.
    pub(super) fn missing(self) -> Option<&'static str> {
        let bin = venv().join("bin");
        let there = match self {
            // Ours runs the applications with the same packages.
            Self::Trine => bin.join("flask").exists(),
            Self::GunicornSync | Self::GunicornThreads => bin.join("gunicorn").exists(),
            Self::Granian => bin.join("granian").exists(),
            Self::UwsgiSocket | Self::UwsgiHttp => bin.join("uwsgi").exists(),
            Self::Bjoern => Command::new(bin.join("python"))
                .args(["-c", "import bjoern"])
                .output()
                .is_ok_and(|out| out.status.success()),
        };
        (!there).then_some("not installed; see --setup")
    }

    /// Starts it; it need not accept connections yet.
    pub(super) fn start(
        self,
        scenario: &Scenario,
        field: &Field,
    ) -> anyhow::Result<(Server, Place)> {
        for (name, text) in FILES {
            field.write(name, text)?;
        }
        let place = if scenario.kind == Kind::Load(Way::Unix) {
            let path = field.path("app.sock");
            let _not_there = std::fs::remove_file(&path);
            Place::Unix(path)
        } else {
            Place::Tcp(Field::free_address()?)
        };
        let mut command = self.command(scenario, &place, field);
        command
            .current_dir(field.path(""))
            .env("VIRTUAL_ENV", venv())
            .env("PYTHONPATH", field.path(""));
        let server = Server::start(&command, SERVER_CPU, field)?;
        Ok((server, place))
    }

    fn command(self, scenario: &Scenario, place: &Place, field: &Field) -> Command {
        let bin = venv().join("bin");
        let (workers, threads) = (scenario.workers.to_string(), scenario.threads.to_string());
        let mut command = match self {
            Self::Trine => Command::new(field.binaries.join("trine-wsgi")),
            Self::GunicornSync | Self::GunicornThreads => Command::new(bin.join("gunicorn")),
            Self::Granian => Command::new(bin.join("granian")),
            Self::Bjoern => Command::new(bin.join("python")),
            Self::UwsgiSocket | Self::UwsgiHttp => Command::new(bin.join("uwsgi")),
        };
        match self {
            Self::Trine | Self::GunicornSync | Self::GunicornThreads => {
                command.args(["-w", &workers, "-b", &place.to_string()]);
                match self {
                    Self::Trine if scenario.threads > 1 => {
                        command.args(["--threads", &threads]);
                    }
                    // With one thread it serves nobody while it parses: it is measured as people run it.
                    Self::GunicornThreads => {
                        let threads = scenario.threads.max(4).to_string();
                        command.args(["-k", "gthread", "--threads", &threads]);
                        command.args(["--keep-alive", "75"]);
                    }
                    _ => {}
                }
                if scenario.preload {
                    command.arg("--preload");
                }
                command.arg(scenario.app);
            }
            Self::Granian => {
                command.args(["--interface", "wsgi", "--http", "1", "--no-ws"]);
                command.args(["--log-level", "warning", "--runtime-threads", "1"]);
                command.args(["--workers", &workers, "--blocking-threads", &threads]);
                match place {
                    Place::Tcp(addr) => command
                        .args(["--host", "127.0.0.1", "--port"])
                        .arg(addr.port().to_string()),
                    Place::Unix(path) => command.arg("--uds").arg(path),
                };
                command.arg(scenario.app);
            }
            Self::Bjoern => {
                let place = match place {
                    Place::Tcp(addr) => addr.port().to_string(),
                    Place::Unix(_) => place.to_string(),
                };
                command.args(["run_bjoern.py", scenario.app, &place]);
            }
            Self::UwsgiSocket | Self::UwsgiHttp => {
                if self == Self::UwsgiHttp {
                    command.args(["--http-keepalive", "--http"]);
                } else {
                    // It closes each connection, and would not say so.
                    command.args(["--add-header", "Connection: close", "--http-socket"]);
                }
                command.args([&place.to_string(), "--module", scenario.app, "--need-app"]);
                command.args(["--master", "--disable-logging", "--listen", "1024"]);
                command.args(["--processes", &workers, "--virtualenv"]);
                command.arg(venv());
                if scenario.threads > 1 {
                    command.args(["--enable-threads", "--threads", &threads]);
                }
            }
        }
        command
    }
}
