//! `wsgi-hello`: the smallest application, one worker, straight over TCP.

use std::net::SocketAddr;
use std::process::Command;

use super::super::server::{Field, SERVER_CPU, Server};
use super::super::setup::venv;
use super::{Running, Scenario, Subject};

const APP: &str = "BODY = b'Hello, world!'
HEADERS = [('Content-Type', 'text/plain'), ('Content-Length', str(len(BODY)))]


def app(environ, start_response):
    start_response('200 OK', HEADERS)
    return [BODY]
";
const BJOERN: &str = "import sys, bjoern, hello
bjoern.run(hello.app, '127.0.0.1', int(sys.argv[1]))
";

pub(super) fn hello() -> Scenario {
    let subject = |name, missing, start| Subject {
        name,
        ours: false,
        missing,
        start,
    };
    Scenario {
        name: "wsgi-hello",
        what: "Hello world, one worker with one thread (gthread: four), TCP, 64 keep-alive connections",
        target: "/",
        body: "Hello, world!",
        behind: None,
        subjects: vec![
            Subject {
                ours: true,
                ..subject("trine-wsgi", without_venv, trine)
            },
            subject("gunicorn gthread", without_venv, gunicorn),
            subject("granian", without_granian, granian),
            subject("bjoern", without_bjoern, bjoern),
        ],
    }
}

fn without_venv() -> Option<String> {
    let python = venv().join("bin/python");
    (!python.exists()).then(|| "no virtual environment with the peers; see --setup".to_owned())
}

fn without_granian() -> Option<String> {
    (!venv().join("bin/granian").exists()).then(|| "not installed; see --setup".to_owned())
}

fn without_bjoern() -> Option<String> {
    let imports = Command::new(venv().join("bin/python"))
        .args(["-c", "import bjoern"])
        .output();
    let installed = imports.is_ok_and(|out| out.status.success());
    (!installed).then(|| "not installed; see --setup".to_owned())
}

/// Writes the application and runs `command` in its folder.
fn start(field: &Field, addr: SocketAddr, command: &mut Command) -> anyhow::Result<Running> {
    field.write("hello.py", APP)?;
    command
        .current_dir(field.path(""))
        .env("VIRTUAL_ENV", venv())
        .env("PYTHONPATH", field.path(""));
    let mut server = Server::start(command, SERVER_CPU, field)?;
    server.wait_tcp(addr)?;
    Ok(Running { server, addr })
}

fn trine(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let mut command = Command::new(field.binaries.join("trine-wsgi"));
    start(
        field,
        addr,
        command.args(["-w", "1", "-b", &addr.to_string(), "hello:app"]),
    )
}

fn gunicorn(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let mut command = Command::new(venv().join("bin/gunicorn"));
    command.args([
        "-k",
        "gthread",
        "--threads",
        "4",
        "-w",
        "1",
        "--keep-alive",
        "75",
        "-b",
        &addr.to_string(),
        "hello:app",
    ]);
    start(field, addr, &mut command)
}

fn granian(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let mut command = Command::new(venv().join("bin/granian"));
    command.args([
        "--interface",
        "wsgi",
        "--host",
        "127.0.0.1",
        "--port",
        &addr.port().to_string(),
    ]);
    command.args([
        "--workers",
        "1",
        "--runtime-threads",
        "1",
        "--blocking-threads",
        "1",
        "--http",
        "1",
        "--no-ws",
    ]);
    start(
        field,
        addr,
        command.args(["--log-level", "warning", "hello:app"]),
    )
}

fn bjoern(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let script = field.write("run_bjoern.py", BJOERN)?;
    let mut command = Command::new(venv().join("bin/python"));
    start(
        field,
        addr,
        command.arg(script).arg(addr.port().to_string()),
    )
}
