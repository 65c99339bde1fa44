//! The names of gunicorn that configurations import, from the program alone: gunicorn is not installed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::fs;

use harness::Server;

/// A configuration as a test writes it, beside an application that answers with what it sees.
fn start(conf: &str, app: &str) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let (file, module) = (dir.path().join("conf.py"), dir.path().join("seen_app.py"));
    fs::write(&file, conf).unwrap();
    fs::write(&module, app).unwrap();
    let folder = dir.path().to_str().unwrap();
    let args = [
        "--chdir",
        folder,
        "-c",
        file.to_str().unwrap(),
        "seen_app:app",
    ];
    // It has imported both by the time it is ready.
    Server::start(&args)
}

#[test]
fn all_names_can_be_imported() {
    let conf = r#"
import gunicorn, gunicorn.util
from gunicorn.app.base import Application, BaseApplication
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config, NumWorkersChanged, Postfork, WorkerClass, make_settings
from gunicorn.errors import AppImportError, ConfigError, HaltServer
from gunicorn.glogging import CONFIG_DEFAULTS, Logger, SafeAtoms, loggers
from gunicorn.http import Request
from gunicorn.http.errors import InvalidHeader, LimitRequestLine, NoMoreData, ParseException
from gunicorn.http.wsgi import Response
from gunicorn.instrument.statsd import Statsd
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

assert gunicorn.version_info >= (27,) and gunicorn.SERVER_SOFTWARE == "gunicorn/" + gunicorn.__version__
assert issubclass(InvalidHeader, ParseException) and issubclass(NoMoreData, OSError)
assert Config().settings["workers"].get() == 1 and NumWorkersChanged.name == "nworkers_changed"
try:
    Config().set("workers", "many")
except ValueError:
    pass
else:
    raise AssertionError("many workers")
try:
    class Own(ThreadWorker):
        pass
except RuntimeError as refused:
    assert "post_fork" in str(refused)
else:
    raise AssertionError("a worker class of one's own")

def post_fork(server: Arbiter, worker: Worker) -> None:
    assert server.cfg.workers == 1 and isinstance(worker.log, Logger)
    assert isinstance(server.cfg, Config) and server.log is worker.log
"#;
    let app = "def app(e, s):\n    s('200 OK', [])\n    return [__import__('gunicorn').__file__.encode()]\n";
    let server = start(conf, app);
    assert!(server.get("/").starts_with("<trine-wsgi>/gunicorn"));
    server.stop();
}

#[test]
fn a_configuration_names_the_server() {
    let conf =
        "import gunicorn\ngunicorn.SERVER = 'hidden'\ngunicorn.SERVER_SOFTWARE = 'hidden/1'\n";
    let app = "import os\ndef app(e, s):\n    s('200 OK', [])\n    return [(e['SERVER_SOFTWARE'] + ' ' + os.environ['SERVER_SOFTWARE']).encode()]\n";
    let server = start(conf, app);
    let answer = server.ask(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("\r\nServer: hidden\r\nDate: "), "{answer}");
    assert!(answer.ends_with("hidden/1 hidden/1"), "{answer}");
    server.stop();
}

#[test]
fn tracebacks_show_our_lines() {
    let conf = "import gunicorn.workers.base\ngunicorn.workers.base.Worker()\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conf.py");
    fs::write(&file, conf).unwrap();
    let mut server = Server::spawn(&["-c", file.to_str().unwrap(), "slow:app"]);
    assert_eq!(server.exit_code(), 1);
    let log = server.log();
    assert!(
        log.contains("File \"<trine-wsgi>/gunicorn/workers/base.py\", line "),
        "{log}"
    );
    assert!(log.contains("    raise RuntimeError("), "{log}");
}
