//! The command by itself, without any daemon: what it prints, refuses and writes. Sites that run are
//! in the end-to-end tests.

mod installed;

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use installed::Installed;

const HELLO: &str = "def app(environ, start_response):\n    pass\n";

#[test]
fn the_three_configurations() {
    let trine = Installed::new();
    trine.write("hello.py", HELLO);
    trine.write("static/a.txt", "");
    trine.write(".venv/pyvenv.cfg", "");
    let told = trine.run(&[
        "up",
        "hello:app",
        "--listen",
        "127.0.0.1:8080",
        "--static",
        "/static=./static",
        "--workers",
        "3",
        "--threads",
        "4",
        "--print-config",
    ]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/print-config.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, &told.out).unwrap();
    }
    assert_eq!(
        told.out,
        fs::read_to_string(golden).unwrap(),
        "UPDATE_GOLDEN=1 writes it anew"
    );
    assert!(!trine.path(".trine").exists(), "printing writes nothing");
}

#[test]
fn addresses_and_defaults_in_the_configurations() {
    let trine = Installed::new();
    trine.write("app.py", "from flask import Flask\napp = Flask(__name__)\n");
    let told = trine.run(&["up", "--listen", "unix:site.sock", "--print-config"]);
    assert_eq!(told.code, 0, "{}", told.err);
    for line in [
        "unix:HERE/site.sock",
        "wsgi_app: app:app",
        "workers: 2",
        "threads: 1",
    ] {
        assert!(told.out.contains(line), "{line}:\n{}", told.out);
    }
    assert!(
        !told.out.contains("python:"),
        "there is no environment:\n{}",
        told.out
    );
}

/// `trine ARGS` ends with `code` and says `what`, then `way_out`, in two lines.
#[track_caller]
fn refused(trine: &Installed, args: &[&str], code: i32, what: &str, way_out: &str) {
    let told = trine.run(args);
    assert_eq!(told.code, code, "{args:?}: {}", told.err);
    let lines: Vec<&str> = told.err.lines().rev().take(2).collect();
    assert!(
        lines[1].starts_with("trine: ") && lines[1].contains(what),
        "{what:?} in {}",
        told.err
    );
    assert!(
        lines[0].starts_with("       ") && lines[0].contains(way_out),
        "{way_out:?} in {}",
        told.err
    );
    assert!(
        !trine.path(".trine/supervisor.yaml").exists(),
        "nothing is written"
    );
}

#[test]
fn what_cannot_work_is_told_before_anything_is_written() {
    let trine = Installed::new();
    refused(
        &trine,
        &["up"],
        64,
        "no application was named",
        "trine up app:app",
    );
    trine.write("hello.py", HELLO);
    refused(
        &trine,
        &["up", "hello.py"],
        64,
        "is a file",
        "trine up hello:app",
    );
    refused(
        &trine,
        &["up", "hello:app", "--python", "none"],
        64,
        "HERE/none is neither",
        "python3 -m venv none",
    );
    refused(
        &trine,
        &["up", "hello:app", "--static", "/s=none"],
        78,
        "HERE/none is not a folder",
        "--static URL=DIR",
    );
    refused(
        &trine,
        &["up", "hello:app", "--listen", "fd:http"],
        64,
        "fd:http",
        "--listen 127.0.0.1:8000",
    );
    let long = "d".repeat(120);
    refused(
        &trine,
        &["up", "hello:app", "--run-dir", &long],
        64,
        "too long for Unix sockets",
        "--run-dir /tmp/",
    );
}

#[test]
fn an_address_that_is_taken() {
    let trine = Installed::new();
    trine.write("hello.py", HELLO);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let owner = format!("{addr} is in use by process {} (", std::process::id());
    refused(
        &trine,
        &["up", "hello:app", "--listen", &addr.to_string()],
        75,
        &owner,
        "--listen 127.0.0.1:",
    );
    let _taken = UnixListener::bind(trine.path("site.sock")).unwrap();
    refused(
        &trine,
        &["up", "hello:app", "--listen", "unix:site.sock"],
        75,
        "already listens on HERE/site.sock",
        "--listen unix:PATH",
    );
}

#[test]
fn a_site_that_runs_already() {
    let trine = Installed::new();
    trine.write("hello.py", HELLO);
    fs::create_dir_all(trine.path(".trine/run")).unwrap();
    let _other = UnixListener::bind(trine.path(".trine/run/supervisor.sock")).unwrap();
    refused(
        &trine,
        &["up", "hello:app"],
        75,
        "already runs in HERE/.trine",
        "`trine down`",
    );
    fs::create_dir_all(trine.path("a b/run")).unwrap();
    let _third = UnixListener::bind(trine.path("a b/run/supervisor.sock")).unwrap();
    refused(
        &trine,
        &["up", "hello:app", "--run-dir", "a b"],
        75,
        "already runs",
        "`trine down --run-dir 'HERE/a b'`",
    );
}

#[test]
fn daemons_that_are_not_installed() {
    let trine = Installed::alone();
    trine.write("hello.py", HELLO);
    refused(
        &trine,
        &["up", "hello:app"],
        78,
        "cannot find trine-supervisor, trine-proxy, trine-wsgi",
        "cargo build --release",
    );
}

#[test]
fn a_supervisor_that_cannot_be_executed_leaves_nothing() {
    let trine = Installed::new();
    trine.write("hello.py", HELLO);
    trine.write("bin/trine-supervisor", "#!/no/such/interpreter\n");
    let told = trine.run(&["up", "hello:app", "--listen", "127.0.0.1:0"]);
    assert_ne!(told.code, 0);
    assert!(
        told.err.contains("cannot start HERE/bin/trine-supervisor"),
        "{}",
        told.err
    );

    // One that ends at once is told with what it said.
    trine.write(
        "bin/trine-supervisor",
        "#!/bin/sh\necho 'supervisor.yaml:3:1: bad'\nexit 78\n",
    );
    let told = trine.run(&["up", "hello:app", "--listen", "127.0.0.1:0"]);
    assert_eq!(told.code, 78, "{}", told.err);
    for part in [
        "supervisor.yaml:3:1: bad",
        "trine: trine-supervisor has ended",
        "HERE/.trine/logs/supervisor.log",
    ] {
        assert!(told.err.contains(part), "{part}: {}", told.err);
    }
    assert!(
        fs::read_to_string(trine.path(".trine/wsgi.yaml"))
            .unwrap()
            .contains("hello:app")
    );
}

#[test]
fn commands_when_nothing_runs() {
    let trine = Installed::new();
    for args in [
        &["status"][..],
        &["down"],
        &["start", "wsgi"],
        &["stop", "wsgi"],
        &["restart", "wsgi"],
        &["reload"],
    ] {
        refused(&trine, args, 4, "nothing runs in HERE/.trine", "trine up");
    }
    refused(&trine, &["logs", "wsgi"], 1, "no log of `wsgi`", "trine up");
    refused(
        &trine,
        &["reload", "nginx"],
        64,
        "`nginx` cannot be reloaded",
        "wsgi, proxy, supervisor",
    );
}

#[test]
fn logs_of_a_site_that_is_down() {
    let trine = Installed::new();
    trine.write(".trine/logs/wsgi.log", "one\ntwo\nthree\n");
    assert_eq!(trine.run(&["logs", "wsgi", "-n", "2"]).out, "two\nthree\n");
    assert_eq!(trine.run(&["logs", "wsgi"]).out, "one\ntwo\nthree\n");
    refused(&trine, &["logs", "proxy"], 1, "no log of `proxy`", "wsgi");
    refused(
        &trine,
        &["logs", "wsgi", "--since", "never"],
        64,
        "`never` is no time",
        "10m",
    );
}

#[test]
fn logs_of_several_programs_are_merged_by_time() {
    let trine = Installed::new();
    trine.write(
        ".trine/logs/wsgi.log",
        "2026-11-25T20:00:01Z a\n2026-11-25T20:00:03Z b\n  more of b\n",
    );
    trine.write(".trine/logs/wsgi.log.1", "2026-11-25T19:59:00Z before\n");
    trine.write(
        ".trine/logs/access.log",
        "1.2.3.4 - - [25/Nov/2026:20:00:02 +0000] \"GET / HTTP/1.1\" 200 5\n",
    );
    let merged = "wsgi   | 2026-11-25T20:00:01Z a
access | 1.2.3.4 - - [25/Nov/2026:20:00:02 +0000] \"GET / HTTP/1.1\" 200 5
wsgi   | 2026-11-25T20:00:03Z b
wsgi   |   more of b
";
    let all = trine.run(&["logs", "wsgi", "access"]);
    assert_eq!(
        all.out,
        format!("wsgi   | 2026-11-25T19:59:00Z before\n{merged}")
    );
    let since = trine.run(&["logs", "--since", "2026-11-25T20:00:00Z", "wsgi", "access"]);
    assert_eq!(since.out, merged);
    let one = trine.run(&["logs", "--since", "2026-11-25T20:00:03Z", "wsgi"]);
    assert_eq!(one.out, "2026-11-25T20:00:03Z b\n  more of b\n");
    let last = trine.run(&["logs", "-n", "1", "wsgi", "access"]);
    assert_eq!(last.out.lines().count(), 2, "{}", last.out);
}

#[test]
fn usage_errors_are_64_and_help_is_0() {
    let trine = Installed::new();
    for args in [
        &["upp"][..],
        &["up", "a:b", "--workers", "0"],
        &["up", "a:b", "--listen", "nowhere"],
        &["up", "a:b", "--static", "/static"],
        &["up", "a:b", "--detach", "--print-config"],
        &["restart"],
        &[],
    ] {
        let told = trine.run(args);
        assert_eq!(told.code, 64, "{args:?}: {}", told.err);
        assert_eq!(told.out, "", "{args:?}");
    }
    let help = trine.run(&["--help"]);
    assert_eq!(help.code, 0);
    for command in [
        "up",
        "status",
        "logs",
        "start",
        "stop",
        "restart",
        "reload",
        "down",
        "Exit codes",
    ] {
        assert!(help.out.contains(command), "{command}: {}", help.out);
    }
    assert_eq!(trine.run(&["up", "--version"]).code, 0);
}
