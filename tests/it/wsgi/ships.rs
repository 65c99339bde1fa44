//! trine-wsgi as people get it: wheels, installed with pip into fresh virtual environments of two versions of Python.
//!
//! One test builds and installs (`wheels::installed`); all of them use the same environments.

use std::path::Path;
use std::process::Command;

use e2e::client::{Address, Request, ask, get};
use e2e::daemon::{self, Daemon, Launch};
use e2e::folder::Folder;
use e2e::load::Load;
use e2e::wheels::{self, Installed};
use e2e::{port, process, tools, wait};
use nix::sys::signal::Signal;

use super::faults::mix;

/// Starts a program of the environment as it is called at a prompt, with tests/apps as its folder.
#[track_caller]
fn start(folder: &Folder, program: &Path, args: &[&str]) -> (Daemon, Address) {
    let bind = port::free();
    let launch = Launch::program(program).args(args).dir(tools::apps());
    let launch = launch.args(["-b", &bind.to_string()]);
    (launch.notify().start(folder).wait_ready(), bind.into())
}

#[track_caller]
fn greets(address: &Address) {
    let reply = get(address.clone(), "/hello");
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, "hello from flask\n")
    );
    let posted = ask(address.clone(), &Request::post("/echo", "a body"));
    assert_eq!(posted.text(), "a body");
}

#[test]
fn wheels_serve_flask_in_fresh_environments_of_two_pythons() {
    let Some(all) = wheels::installed() else {
        return;
    };
    for made in all {
        for (program, args) in [
            (made.bin("trine-wsgi"), &["-w", "2", "with_flask:app"][..]),
            (
                made.bin("python"),
                &[
                    "-X",
                    "utf8",
                    "-m",
                    "trine_wsgi",
                    "--threads",
                    "3",
                    "--preload",
                    "with_flask:app",
                ],
            ),
        ] {
            let folder = Folder::new();
            let (mut server, address) = start(&folder, &program, args);
            greets(&address);
            let seen = get(address.clone(), "/python").json();
            assert_eq!(seen["prefix"], made.dir.to_str().unwrap(), "{seen}");
            assert_eq!(seen["version"], made.version, "{seen}");
            let python = made.bin("python");
            let same = |path: &str| std::fs::canonicalize(path).unwrap();
            assert_eq!(
                same(seen["executable"].as_str().unwrap()),
                same(python.to_str().unwrap())
            );
            assert!(
                seen["argv"].to_string().contains("with_flask:app"),
                "{seen}"
            );
            // The interpreter's own answer to INT must not come in the server's way.
            server.signal(Signal::SIGINT);
            assert_eq!(server.exit_code(), 0, "{}", server.output());
            assert!(
                !server.output().contains("KeyboardInterrupt"),
                "{}",
                server.output()
            );
            server.assert_nothing_left();
        }
    }
}

#[test]
fn an_extension_module_links_no_libpython() {
    let Some(all) = wheels::installed() else {
        return;
    };
    for made in all {
        let file = made.python("import trine_wsgi._native as it; print(it.__file__)");
        let linked = Command::new("ldd").arg(&file).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        assert!(linked.contains("libc.so"), "{linked}");
        assert!(!linked.contains("libpython"), "{linked}");
    }
}

#[test]
fn a_server_in_an_environment_does_not_serve_with_another() {
    let Some([first, second]) = wheels::installed() else {
        return;
    };
    let folder = Folder::new();
    for (python, code, says) in [
        (&second.dir, 78, "belongs to Python"),
        (
            &tools::venv().unwrap(),
            78,
            "call the trine-wsgi of that virtualenv",
        ),
    ] {
        let launch = Launch::program(first.bin("trine-wsgi"))
            .arg("--python")
            .arg(python)
            .args(["--check-config", "with_flask:app"])
            .dir(tools::apps());
        let (found, output) = daemon::run(launch, &folder);
        assert_eq!(found, code, "{output}");
        assert!(output.contains(says), "{output}");
    }
}

/// The order in which things are installed is the story.
#[test]
fn the_command_and_package_gunicorn_are_there_only_without_the_real_one() {
    let Some(all) = wheels::installed() else {
        return;
    };
    let Some(made): Option<&Installed> = all.last() else {
        return;
    };
    let is_ours = "import gunicorn; print('standin' in gunicorn.__file__, gunicorn.__version__)";

    made.install_pinned(&["gunicorn", "packaging"]);
    made.install_ours("trine-gunicorn");
    assert!(made.python(is_ours).starts_with("False "));
    let refused = Command::new(made.bin("gunicorn"))
        .args(["with_flask:app"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("pip uninstall gunicorn"), "{said}");

    // There is one bin/gunicorn, and it goes with whichever is uninstalled.
    made.pip(&["uninstall", "-y", "gunicorn", "trine-gunicorn"]);
    made.install_ours("trine-gunicorn");
    assert!(made.python(is_ours).starts_with("True 27."));
    let unused = "import sys; print([name for name in sys.modules if name.startswith(('trine_wsgi', 'gunicorn'))])";
    assert_eq!(
        made.python(unused),
        "[]",
        "nothing is loaded before it is asked for"
    );
    let folder = Folder::new();
    let (server, address) = start(&folder, &made.bin("gunicorn"), &["with_flask:app"]);
    greets(&address);
    server.stop();

    // The real one again, after ours: whatever is ours stays out of its way.
    made.install_pinned(&["gunicorn", "packaging"]);
    assert!(made.python(is_ours).starts_with("False "));
    made.pip(&["uninstall", "-y", "trine-gunicorn"]);
    assert!(made.python(is_ours).starts_with("False "));
    made.pip(&["uninstall", "-y", "gunicorn"]);
    let gone = "import importlib.util; print(importlib.util.find_spec('gunicorn'))";
    assert_eq!(made.python(gone), "None");
}

const EMBEDDING: &str = r#"
import sys
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config, Postfork

def post_fork(server, worker):
    pass

class Standalone(BaseApplication):
    def __init__(self, options):
        self.options = options
        super().__init__()

    def load_config(self):
        known = {name: value for name, value in self.options.items() if name in self.cfg.settings}
        for name, value in known.items():
            self.cfg.set(name.lower(), value)
        self.cfg.set("post_fork", post_fork)
        assert isinstance(self.cfg, Config) and Postfork.name == "post_fork"

    def load(self):
        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "9")])
            return [b"embedded\n"]
        return app

if __name__ == "__main__":
    Standalone({"bind": sys.argv[1], "WORKERS": 2, "workers": sys.argv[2], "nonsense": 1}).run()
    print("run() came back")
"#;

#[test]
fn a_script_embeds_the_server() {
    let Some([made, ..]) = wheels::installed() else {
        return;
    };
    let folder = Folder::new();
    folder.write("serve.py", EMBEDDING);
    let bind = port::free();
    let launch = |workers: &str| {
        Launch::program(made.bin("python"))
            .args(["serve.py", &bind.to_string(), workers])
            .notify()
    };
    let (code, said) = daemon::run(launch("many"), &folder);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Error: "), "{said}");

    let mut server = launch("2").start(&folder).wait_ready();
    assert_eq!(get(bind, "/").text(), "embedded\n");
    let before = server.family();
    server.signal(Signal::SIGHUP);
    wait::until("new workers", || {
        let now = server.family();
        let all_new = now.iter().filter(|pid| before.contains(pid)).count() == 1;
        (all_new && now.len() == 3).then_some(())
    });
    assert_eq!(get(bind, "/").text(), "embedded\n");
    server.terminate();
    assert_eq!(server.exit_code(), 0, "{}", server.output());
    assert!(!server.output().contains("run() came back"));
    server.assert_nothing_left();
}

const COMMAND_LINE: &str = r#"
from gunicorn.app.wsgiapp import WSGIApplication

class Ours(WSGIApplication):
    def load_config(self):
        super().load_config()
        self.cfg.set("proc_name", "ours")

    def load(self):
        inner = super().load()
        def app(environ, start_response):
            environ["PATH_INFO"] = "/hello"
            return inner(environ, start_response)
        return app

Ours("%(prog)s [OPTIONS] [APP_MODULE]", prog="ours").run()
"#;

#[test]
fn a_script_extends_the_command_line() {
    let Some([made, ..]) = wheels::installed() else {
        return;
    };
    let folder = Folder::new();
    let script = folder.write("ours.py", COMMAND_LINE);
    let args = [script.to_str().unwrap(), "with_flask:app"];
    let (server, address) = start(&folder, &made.bin("python"), &args);
    assert_eq!(get(address, "/anything").text(), "hello from flask\n");
    server.stop();
    let launch = Launch::program(made.bin("python"));
    let (code, said) = daemon::run(launch.arg(&script).arg("--no-such-flag"), &folder);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn an_installed_server_is_upgraded_in_place_under_load() {
    let Some(all) = wheels::installed() else {
        return;
    };
    for made in all {
        for words in [&["trine-wsgi"][..], &["python", "-m", "trine_wsgi"]] {
            let folder = Folder::new();
            let bind = format!("unix:{}", folder.join("app.sock").display());
            let launch = Launch::program(made.bin(words[0])).args(&words[1..]);
            let launch = launch.args(["-w", "2", "-p"]).arg(folder.join("pid"));
            let launch = launch.args(["-b", &bind, "faults:app"]).dir(tools::apps());
            let launch = launch.env("STORY", folder.path());
            let mut server = launch.notify().start(&folder).wait_ready();
            let load = Load::start(folder.join("app.sock"), &mix());
            load.wait_for_more(20);
            server.signal(Signal::SIGUSR2);
            let pid_in = |name: &str| folder.read(name).trim().parse::<i32>().ok();
            let new = wait::until("the other arbiter", || pid_in("pid.2"));
            server.wait_next_notified("READY=1", "");
            // Of the same environment, and called as the first one was.
            let (before, after) = (process::command(server.pid()), process::command(new));
            assert_eq!(before, after);
            server.terminate();
            assert_eq!(server.exit_code(), 0, "{}", server.output());
            wait::until("the new one in the old one's place", || {
                (pid_in("pid") == Some(new)).then_some(())
            });
            load.wait_for_more(20);
            load.stop().assert_none_failed();
            process::signal(new, Signal::SIGTERM);
            process::wait_gone(new);
            server.assert_nothing_left();
            assert!(!folder.join("app.sock").exists() && !folder.join("pid").exists());
        }
    }
}

#[test]
fn worker_classes_of_others_are_refused_in_words() {
    let Some([made, ..]) = wheels::installed() else {
        return;
    };
    let code = "class UvicornWorker(__import__('gunicorn.workers.base').workers.base.Worker): __module__ = 'uvicorn.workers'";
    let out = Command::new(made.bin("python"))
        .args(["-c", code])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("it is for ASGI applications"), "{said}");
}
