//! trine-wsgi alone: its two kinds of socket, both workers, draining, time limits, refusals.

mod access_log;
mod applications;
mod command_lines;
mod configuration;
mod differential;
mod faults;
mod gateway;
mod memory;
mod mended;
mod refusals;
mod ships;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use e2e::client::{Address, Client, Request, ask, get};
use e2e::control::Control;
use e2e::daemon::{self, Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, process, tools, wait};
use nix::sys::signal::Signal;

/// `trine-wsgi … MODULE:APP` in the test environment, with tests/apps as its folder.
fn wsgi(venv: &PathBuf, args: &[&str]) -> Launch {
    Launch::trine("trine-wsgi")
        .arg("--chdir")
        .arg(tools::apps())
        .args(args)
        .env("VIRTUAL_ENV", venv)
}

/// A ready server on the Unix socket `app.sock`.
#[track_caller]
fn start(venv: &PathBuf, folder: &Folder, args: &[&str]) -> (Daemon, Address) {
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let control = folder.join("wsgi.sock");
    let launch = wsgi(venv, &["-b", &bind])
        .arg("--control")
        .arg(&control)
        .args(args);
    let launch = launch.env("STORY", folder.path());
    (
        launch.notify().start(folder).wait_ready(),
        folder.join("app.sock").into(),
    )
}

#[test]
fn an_application_sees_a_correct_environ_on_both_kinds_of_socket_and_worker() {
    let Some(venv) = tools::venv() else { return };
    for threads in ["1", "3"] {
        let folder = Folder::new();
        let tcp = port::free();
        let (server, unix) = start(
            &venv,
            &folder,
            &[
                "-b",
                &tcp.to_string(),
                "-w",
                "2",
                "--threads",
                threads,
                "rooms:app",
            ],
        );
        for address in [Address::from(tcp), unix] {
            let request = Request::get("/environ?a=1&b=%20")
                .header("X-Thing", "one")
                .header("X-Thing", "two")
                .header("Cookie", "a=b")
                .header("Content-Type", "text/x");
            let seen = ask(address.clone(), &request).json();
            for (key, value) in [
                ("REQUEST_METHOD", "GET"),
                ("SCRIPT_NAME", ""),
                ("PATH_INFO", "/environ"),
                ("QUERY_STRING", "a=1&b=%20"),
                ("SERVER_PROTOCOL", "HTTP/1.1"),
                ("HTTP_X_THING", "one,two"),
                ("HTTP_COOKIE", "a=b"),
                ("HTTP_HOST", "test.example"),
                ("CONTENT_TYPE", "text/x"),
                ("wsgi.url_scheme", "http"),
            ] {
                assert_eq!(seen[key], value, "{key} on {address:?}: {seen}");
            }
            assert_eq!(seen["wsgi.multiprocess"], true);
            assert_eq!(seen["wsgi.multithread"], threads != "1");
            assert_eq!(seen["wsgi.run_once"], false);
            assert!(seen.get("HTTP_CONTENT_TYPE").is_none());

            let body = vec![b'a'; 300_000];
            let digest = ask(address.clone(), &Request::post("/digest", body)).text();
            assert_eq!(
                digest,
                "300000 12e1b9b179b29a4f7e5889b185d7ac71bff0ad1f49a7b391d0911b737a0f5381"
            );
            let pieces = get(address.clone(), "/pieces");
            assert_eq!(pieces.text(), "piece 0\npiece 1\npiece 2\n");
            assert!(pieces.pieces.len() >= 3, "{:?}", pieces.pieces);
            assert_eq!(get(address.clone(), "/broken").status, 500);
            assert_eq!(get(address, "/nothing").status, 404);
        }
        assert!(
            server.output().contains("broken on purpose"),
            "the traceback is in the log: {}",
            server.output()
        );
        server.stop();
        assert!(!folder.join("app.sock").exists(), "its own socket is gone");
    }
}

#[test]
fn requests_inside_are_answered_before_the_server_ends() {
    let Some(venv) = tools::venv() else { return };
    for threads in ["1", "4"] {
        let folder = Folder::new();
        let (mut server, app) = start(&venv, &folder, &["--threads", threads, "slow:app"]);
        let control = Control::new(folder.join("wsgi.sock"));
        let waiting = thread::spawn({
            let app = app.clone();
            move || get(app, "/wait")
        });
        wait::until("the request to be inside", || {
            folder.join("inside").exists().then_some(())
        });
        server.terminate();
        server.wait_notified("STOPPING=1");
        control.wait_phase("draining");
        folder.write("go", "");
        let reply = waiting.join().unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "went\n"));
        assert_eq!(server.exit_code(), 0, "{}", server.output());
        server.assert_nothing_left();
    }
}

#[test]
fn a_request_beyond_the_timeout_is_answered_and_its_worker_lives() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (server, app) = start(&venv, &folder, &["-w", "1", "--timeout", "1", "slow:app"]);
    let workers = server.family();
    assert_eq!(ask(app.clone(), &Request::post("/wait", "")).status, 504);
    assert_eq!(get(app, "/quick").text(), "quick\n");
    assert!(
        server.output().contains("REQUEST TIMEOUT: POST /wait"),
        "{}",
        server.output()
    );
    assert_eq!(server.family(), workers);
    server.stop();
}

#[test]
fn a_server_is_ready_only_once_a_worker_has_imported_the_application() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let launch = wsgi(&venv, &["-b", &bind, "slow_import:app"]).env("GATE", folder.join("gate"));
    let server = launch.notify().start(&folder);
    wait::until("the import to begin", || {
        folder.join("gate.waiting").exists().then_some(())
    });
    assert!(
        !server.notified().iter().any(|line| line == "READY=1"),
        "{:?}",
        server.notified()
    );
    folder.write("gate", "");
    let server = server.wait_ready();
    assert_eq!(get(folder.join("app.sock"), "/").text(), "imported\n");
    server.stop();
}

#[test]
fn a_preloaded_application_serves_from_every_worker() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (server, app) = start(&venv, &folder, &["-w", "2", "--preload", "rooms:app"]);
    let workers = process::children(server.pid());
    assert_eq!(workers.len(), 2);
    wait::until("an answer of each worker", || {
        let answered: Vec<i32> = (0..20)
            .map(|_| get(app.clone(), "/pid").text().parse().unwrap())
            .collect();
        workers
            .iter()
            .all(|worker| answered.contains(worker))
            .then_some(())
    });
    server.stop();
}

#[test]
fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (mut first, app) = start(&venv, &folder, &["rooms:app"]);
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let (code, output) = daemon::run(wsgi(&venv, &["-b", &bind, "rooms:app"]), &folder);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("app.sock"), "{output}");
    assert_eq!(
        get(app.clone(), "/pid").status,
        200,
        "the first one serves on"
    );

    first
        .family()
        .into_iter()
        .for_each(|pid| process::signal(pid, Signal::SIGKILL));
    first.wait_exit();
    first.assert_nothing_left();
    assert!(
        folder.join("app.sock").exists(),
        "killed, it left its socket"
    );
    let second = wsgi(&venv, &["-b", &bind, "rooms:app"])
        .notify()
        .start(&folder)
        .wait_ready();
    assert_eq!(get(app, "/pid").status, 200);
    second.stop();
}

#[test]
fn python_is_found_by_option_too_and_requests_are_logged() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let access = folder.join("access.log");
    let launch = Launch::trine("trine-wsgi")
        .arg("--python")
        .arg(&venv)
        .arg("--chdir")
        .arg(tools::apps());
    let launch = launch
        .arg("--access-logfile")
        .arg(&access)
        .args(["-b", &bind, "with_flask:app"]);
    let server = launch.notify().start(&folder).wait_ready();
    assert_eq!(
        get(folder.join("app.sock"), "/hello").text(),
        "hello from flask\n"
    );
    wait::until("a line in the access log", || {
        folder
            .read("access.log")
            .contains("\"GET /hello HTTP/1.1\" 200")
            .then_some(())
    });
    server.stop();
}

#[test]
fn a_slow_client_does_not_hold_up_the_others() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (server, app) = start(&venv, &folder, &["-w", "1", "--threads", "2", "rooms:app"]);
    let mut slow: Vec<Client> = (0..8).map(|_| Client::connect(app.clone())).collect();
    for client in &mut slow {
        client
            .write(b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            .unwrap();
    }
    let start = std::time::Instant::now();
    assert_eq!(get(app, "/pid").status, 200);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    for client in &mut slow {
        client.write(b"defghij").unwrap();
        assert!(client.read_reply("POST").unwrap().text().starts_with("10 "));
    }
    server.stop();
}
