//! `trine up` and the commands beside it: a whole site by one line, and what is told when it cannot be.

use std::path::{Path, PathBuf};

use e2e::client::{Client, Request, get};
use e2e::control::Control;
use e2e::daemon::{self, Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, process, site, tools, wait};
use nix::sys::signal::Signal;

const HELLO: &str = "def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello from ' + environ['PATH_INFO'].encode() + b'\\n']
";

/// `trine --run-dir .trine …` in the folder.
fn trine(venv: &Path, folder: &Folder, args: &[&str]) -> Launch {
    Launch::trine("trine")
        .args(args)
        .dir(folder.path())
        .env("VIRTUAL_ENV", venv)
}

/// Runs it to its end.
#[track_caller]
fn run(venv: &Path, folder: &Folder, args: &[&str]) -> (i32, String) {
    daemon::run(trine(venv, folder, args), folder)
}

#[track_caller]
fn run_well(venv: &Path, folder: &Folder, args: &[&str]) -> String {
    let (code, output) = run(venv, folder, args);
    assert_eq!(code, 0, "trine {args:?}: {output}");
    output
}

#[test]
fn up_serves_until_interrupted() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    site::copy_folder(&tools::repository().join("examples/flask"), folder.path());
    let address = port::free();
    let listen = address.to_string();
    let args = [
        "up",
        "app:app",
        "--listen",
        &listen,
        "--static",
        "/static=./static",
        "--workers",
        "2",
    ];
    let mut up = trine(&venv, &folder, &args).start(&folder);
    up.wait_output(&format!("http://{address}"));
    wait::until("the site", || {
        Client::try_connect(&address.into())
            .ok()?
            .try_ask(&Request::get("/healthz"))
            .ok()
    });
    assert_eq!(get(address, "/healthz").text(), "ok\n");
    assert_eq!(get(address, "/static/site.css").status, 200);

    let status = run_well(&venv, &folder, &["status"]);
    for text in ["wsgi", "proxy", "RUNNING"] {
        assert!(status.contains(text), "{text}: {status}");
    }
    let before = Control::new(folder.join(".trine/run/supervisor.sock")).wait_running("wsgi");
    run_well(&venv, &folder, &["restart", "wsgi"]);
    assert_eq!(get(address, "/healthz").text(), "ok\n");
    let after = Control::new(folder.join(".trine/run/supervisor.sock")).wait_running("wsgi");
    assert_ne!(before, after);
    assert!(!run_well(&venv, &folder, &["logs", "wsgi"]).is_empty());

    let everything = up.family();
    assert!(
        everything.len() >= 6,
        "trine, supervisor, its brain, proxy, arbiter, workers: {everything:?}"
    );
    up.signal(Signal::SIGINT);
    let code = up.exit_code();
    assert!(matches!(code, 0 | 130), "{code}: {}", up.output());
    up.assert_nothing_left();
    assert!(
        Client::try_connect(&address.into()).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn up_detached_stays_until_it_is_taken_down() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write("hello.py", HELLO);
    let address = port::free();
    let listen = address.to_string();
    let launch = trine(
        &venv,
        &folder,
        &["up", "hello:app", "--listen", &listen, "--detach"],
    );
    let mut up: Daemon = launch.start(&folder);
    assert_eq!(up.exit_code(), 0, "{}", up.output());
    assert!(
        up.output().contains(&format!("http://{address}")),
        "{}",
        up.output()
    );
    assert_eq!(get(address, "/there").text(), "hello from /there\n");

    // A second one in the same folder is told so, and does no harm.
    let (code, output) = run(
        &venv,
        &folder,
        &["up", "hello:app", "--listen", &listen, "--detach"],
    );
    assert_ne!(code, 0, "{output}");
    assert_eq!(get(address, "/still").text(), "hello from /still\n");

    let mut follow = trine(&venv, &folder, &["logs", "-f", "wsgi"]).start(&folder);
    wait::until("something in the log", || {
        (!follow.output().is_empty()).then_some(())
    });
    follow.signal(Signal::SIGINT);
    let _any = follow.wait_exit();

    run_well(&venv, &folder, &["down"]);
    up.assert_nothing_left();
    let (code, output) = run(&venv, &folder, &["status"]);
    assert_eq!(code, 4, "nothing runs: {output}");
}

#[test]
fn print_config_prints_three_files_that_the_daemons_accept() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write("hello.py", HELLO);
    folder.write("static/a.txt", "a\n");
    let args = [
        "up",
        "hello:app",
        "--static",
        "/static=./static",
        "--print-config",
    ];
    let printed = run_well(&venv, &folder, &args);
    for text in [
        "supervisor.yaml",
        "proxy.yaml",
        "wsgi.yaml",
        "hello:app",
        "/static",
    ] {
        assert!(printed.contains(text), "{text}: {printed}");
    }
    assert!(!folder.join(".trine").exists(), "printing writes nothing");
}

/// Runs `trine up` on something that cannot work: told in two lines after the evidence, and nothing is left.
#[track_caller]
fn refused(folder: &Folder, venv: &Path, args: &[&str], code: i32, says: &[&str]) {
    let (found, output) = run(venv, folder, args);
    assert_eq!(found, code, "{output}");
    for text in says {
        assert!(output.contains(text), "{text:?} is not in:\n{output}");
    }
    let (_, told) = output
        .rsplit_once("trine: ")
        .expect("a line that starts with the program's name");
    assert_eq!(
        told.trim_end().lines().count(),
        2,
        "what is wrong, and what to do:\n{output}"
    );
    let sockets: Vec<PathBuf> = ["supervisor", "proxy", "wsgi", "app"]
        .map(|name| folder.join(format!(".trine/run/{name}.sock")))
        .into();
    let left: Vec<&PathBuf> = sockets.iter().filter(|socket| socket.exists()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn an_occupied_port_is_told() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write("hello.py", HELLO);
    let (address, _holder) = port::listening();
    let listen = address.to_string();
    refused(
        &folder,
        &venv,
        &["up", "hello:app", "--listen", &listen],
        75,
        &[&listen, "--listen"],
    );
}

#[test]
fn a_missing_module_is_told() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let listen = port::free().to_string();
    refused(
        &folder,
        &venv,
        &["up", "no_such_thing:app", "--listen", &listen],
        78,
        &["no_such_thing"],
    );

    // The module is there, but what it imports is not: the worker's traceback is shown.
    folder.write("needs.py", "import a_package_nobody_has\n");
    let says = ["Traceback", "needs.py", "a_package_nobody_has"];
    refused(
        &folder,
        &venv,
        &["up", "needs:app", "--listen", &listen],
        78,
        &says,
    );
}

#[test]
fn a_syntax_error_is_told_with_its_place() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write(
        "broken.py",
        "import os\n\ndef app(environ, start_response:\n    pass\n",
    );
    let listen = port::free().to_string();
    refused(
        &folder,
        &venv,
        &["up", "broken:app", "--listen", &listen],
        78,
        &["SyntaxError", "broken.py", "line 3"],
    );
    folder.write("other.py", "application = None\n");
    refused(
        &folder,
        &venv,
        &["up", "other:app", "--listen", &listen],
        78,
        &["app", "other"],
    );
}

#[test]
fn a_static_folder_that_is_not_there_is_told() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write("hello.py", HELLO);
    let listen = port::free().to_string();
    let args = [
        "up",
        "hello:app",
        "--listen",
        &listen,
        "--static",
        "/static=./none",
    ];
    refused(&folder, &venv, &args, 78, &["none"]);
}

#[test]
fn a_supervisor_that_is_killed_is_noticed() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write("hello.py", HELLO);
    let address = port::free();
    let mut up = trine(
        &venv,
        &folder,
        &["up", "hello:app", "--listen", &address.to_string()],
    )
    .start(&folder);
    up.wait_output(&format!("http://{address}"));
    let supervisor = process::children(up.pid());
    assert_eq!(supervisor.len(), 1, "trine has one child: {supervisor:?}");
    process::signal(supervisor[0], Signal::SIGTERM);
    let _code = up.exit_code();
    up.assert_nothing_left();
}
