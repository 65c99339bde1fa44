//! The life of arbiter and workers: start, stop, reload, death. Real processes; stories wait for what is said, never
//! for time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use harness::{Server, shown, signal_pid, wait_for};
use nix::sys::signal::Signal;

const KINDS: [&[&str]; 2] = [&[], &["--threads", "3"]];

#[track_caller]
fn start(kind: &[&str], more: &[&str]) -> Server {
    Server::start(&[kind, more].concat())
}

impl Server {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// A request that is inside the application when this returns.
    fn ask_and_be_inside(&self, path: &str) -> UnixStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        wait_for("the request to be inside", || {
            self.dir.path().join("inside").exists().then_some(())
        });
        stream
    }

    fn wait_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    fn wait_reload(&self) -> serde_json::Value {
        wait_for("the reload to end", || {
            let report = self.status()["last_reload"].clone();
            (!report.is_null()).then_some(report)
        })
    }
}

fn is_alive(pid: i32) -> bool {
    // A zombie is dead; so is what init has collected.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// An idle kept connection: one request was answered on it.
fn kept(server: &Server) -> UnixStream {
    let mut stream = server.connect();
    ask_on(&mut stream);
    stream
}

fn ask_on(stream: &mut UnixStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    shown(&answer)
}

#[test]
fn a_stop_finishes_requests_inside_and_closes_idle_connections() {
    for kind in KINDS {
        let mut server = start(kind, &["-w", "1", "--keep-alive", "60", "slow:app"]);
        let mut idle = kept(&server);
        let mut inside = server.ask_and_be_inside("/wait");
        server.signal(Signal::SIGTERM);
        server.wait_notified("STOPPING=1");
        server.write("go", "");
        let mut answer = Vec::new();
        inside.read_to_end(&mut answer).unwrap();
        assert!(
            shown(&answer).starts_with("HTTP/1.1 200 OK|"),
            "{}",
            shown(&answer)
        );
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(server.exit_code(), 0, "{}", server.log());
        assert!(
            !server.dir.path().join("app.sock").exists(),
            "its own socket is gone"
        );
    }
}

#[test]
fn a_draining_worker_serves_what_was_sent_before_it_closed_and_refuses_what_comes_after() {
    // One worker is busy, so that both kept connections are looked at only after the stop has begun.
    let mut server = start(&[], &["-w", "1", "--keep-alive", "60", "slow:app"]);
    let (mut sent_before, idle) = (kept(&server), kept(&server));
    let mut inside = server.ask_and_be_inside("/wait");
    sent_before
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    server.signal(Signal::SIGTERM);
    server.wait_notified("STOPPING=1");
    server.write("go", "");
    let mut answer = Vec::new();
    sent_before.read_to_end(&mut answer).unwrap();
    let answer = shown(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK|") && answer.contains("|Connection: close|"),
        "{answer}"
    );
    // The peer learns by the failing write that nothing of its request was seen.
    let refused = wait_for("EPIPE", || (&idle).write_all(b"POST / HTTP/1.1\r\n").err());
    assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
    inside.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn connections_that_wait_in_the_queue_are_served_before_the_end() {
    for kind in KINDS {
        let mut server = start(kind, &["-w", "1", "slow:app"]);
        let mut inside = Vec::new();
        for _ in 0..if kind.is_empty() { 1 } else { 3 } {
            inside.push(server.ask_and_be_inside("/wait"));
        }
        let mut waiting: Vec<UnixStream> = (0..20)
            .map(|_| {
                let mut stream = server.connect();
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    .unwrap();
                stream
            })
            .collect();
        server.signal(Signal::SIGTERM);
        server.wait_notified("STOPPING=1");
        server.write("go", "");
        for stream in inside.iter_mut().chain(&mut waiting) {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(
                shown(&answer).starts_with("HTTP/1.1 200 OK|"),
                "{}",
                server.log()
            );
        }
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_quick_stop_does_not_wait_for_requests() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = start(&[], &["slow:app"]);
        let _inside = server.ask_and_be_inside("/wait");
        server.signal(signal);
        assert_eq!(server.exit_code(), 0, "{}", server.log());
    }
}

#[test]
fn a_worker_that_does_not_finish_is_killed_at_the_deadline() {
    let mut server = start(&[], &["--graceful-timeout", "300ms", "slow:app"]);
    let mut inside = server.ask_and_be_inside("/wait");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0);
    let mut answer = Vec::new();
    let _ = inside.read_to_end(&mut answer);
    assert!(answer.is_empty());
    let log = server.log();
    assert!(
        log.contains("By its arbiter: it had not ended within graceful_timeout")
            && log.contains("GET /wait"),
        "{log}"
    );
}

#[test]
fn a_reload_brings_new_code_and_loses_nothing() {
    for kind in KINDS {
        let server = start(kind, &["-w", "2", "changing:app"]);
        server.wait_ready(2);
        assert_eq!(server.get("/"), "1");
        let before = server.workers();
        server.write("version", "2");
        server.signal(Signal::SIGHUP);
        server.wait_notified("RELOADING=1");
        assert_eq!(server.wait_reload()["ok"], true);
        wait_for("the new generation alone", || {
            let now = server.workers();
            (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
        assert_eq!(server.get("/"), "2");
        assert_eq!(server.status()["generation"], 2);
        server.stop();
    }
}

#[test]
fn a_reload_that_fails_leaves_the_old_generation_serving_and_is_told() {
    for (version, why) in [
        ("broken", "broken on purpose"),
        ("none", "Failed to find application object"),
        ("dies", "did not boot"),
    ] {
        let server = start(&[], &["-w", "2", "changing:app"]);
        server.wait_ready(2);
        let before = server.workers();
        server.write("version", version);
        server.control("POST", "/v1/reload");
        let report = server.wait_reload();
        assert_eq!(report["ok"], false, "{version}: {report}");
        assert!(
            report["problems"][0].as_str().unwrap().contains(why),
            "{version}: {report}"
        );
        wait_for("the failure in STATUS", || {
            let text = server.wait_notified("STATUS=");
            text.contains("the last reload failed").then_some(())
        });
        assert!(
            server.log().contains("the old workers serve on"),
            "{}",
            server.log()
        );
        assert_eq!(server.workers(), before);
        assert_eq!(
            (
                server.get("/").as_str(),
                server.status()["generation"].as_u64()
            ),
            ("1", Some(1))
        );
        // Mended, the next one succeeds.
        server.write("version", "3");
        server.signal(Signal::SIGHUP);
        wait_for("the mended version", || {
            (server.get("/") == "3").then_some(())
        });
        server.stop();
    }
}

#[test]
fn an_import_that_hangs_ends_the_reload_not_the_service() {
    let server = start(&[], &["--timeout", "500ms", "changing:app"]);
    server.write("version", "hangs");
    server.signal(Signal::SIGHUP);
    assert_eq!(server.wait_reload()["ok"], false);
    assert_eq!(server.get("/"), "1");
    server.stop();
}

#[test]
fn a_bad_configuration_on_reload_is_refused_with_all_its_problems() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wsgi.yaml");
    let apps = harness::apps();
    let text = format!(
        "wsgi_app: changing:app\nchdir: '{}'\nbind: unix:app.sock\ncontrol: control.sock\n",
        apps.display()
    );
    fs::write(&file, &text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-wsgi"));
    command.arg("-c").arg(&file);
    let server = Server::launch(command, dir);
    server.wait_notified("READY=1");
    server.write("wsgi.yaml", &format!("{text}workers: many\nworkesr: 3\n"));
    let rehearsal = server.control("POST", "/v1/reload?dry_run=true");
    assert!(
        rehearsal.contains("workers") && rehearsal.contains(":6:"),
        "{rehearsal}"
    );
    server.signal(Signal::SIGHUP);
    let report = server.wait_reload();
    assert_eq!(report["ok"], false);
    assert!(
        report["problems"][0]
            .as_str()
            .unwrap()
            .contains("wsgi.yaml:5:"),
        "{report}"
    );
    assert_eq!(server.get("/"), "1");
    server.write("wsgi.yaml", &format!("{text}workers: 3\n"));
    server.signal(Signal::SIGHUP);
    wait_for("three workers", || {
        (server.workers().len() == 3).then_some(())
    });
    server.stop();
}

#[test]
fn a_killed_worker_is_explained_and_replaced() {
    let server = start(&[], &["-w", "2", "slow:app"]);
    let _inside = server.ask_and_be_inside("/wait");
    let victim = server.workers();
    victim
        .iter()
        .for_each(|pid| signal_pid(*pid, Signal::SIGKILL));
    server.wait_log("was sent SIGKILL! Not by its arbiter");
    wait_for("new workers", || {
        let now = server.workers();
        (now.len() == 2 && now.iter().all(|pid| !victim.contains(pid))).then_some(())
    });
    assert!(
        server.log().contains("It was at GET /wait"),
        "{}",
        server.log()
    );
    assert!(!server.get("/").is_empty());
    server.stop();
}

#[test]
fn who_told_a_worker_to_end_is_told() {
    let us = format!("came from process {} (", std::process::id());
    for (signal, text) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGQUIT, "SIGQUIT")] {
        let server = start(&[], &["-w", "1", "slow:app"]);
        server.get("/told");
        let victim = server.workers()[0];
        signal_pid(victim, signal);
        server.wait_log(&format!("Worker (pid:{victim}) has ended. {text} {us}"));
        server.wait_log("Its last request was GET /told");
        wait_for("another worker", || {
            (server.workers().first()? != &victim).then_some(())
        });
        server.stop();
    }
}

#[test]
fn a_crash_is_told_with_its_request() {
    let server = start(&[], &["-w", "1", "slow:app"]);
    let victim = server.workers()[0];
    assert_eq!(server.get("/crash"), "");
    server.wait_log(&format!(
        "Worker (pid:{victim}) was sent SIGSEGV! It crashed"
    ));
    server.wait_log("It was at GET /crash");
    server.wait_log("in application");
    assert!(!server.get("/").is_empty());
    server.stop();
}

#[test]
fn a_hang_up_of_a_worker_replaces_it_first() {
    let server = start(&[], &["-w", "1", "slow:app"]);
    let victim = server.workers()[0];
    signal_pid(victim, Signal::SIGHUP);
    wait_for("another worker alone", || {
        let now = server.workers();
        (now.len() == 1 && now[0] != victim).then_some(())
    });
    let log = server.log();
    let ready = log.find("worker.ready").unwrap_or(0);
    assert!(
        log[ready..].contains(&format!("Worker (pid:{victim}) has ended after")),
        "{log}"
    );
    server.stop();
}

#[test]
fn with_threads_a_stuck_request_alone_ends_nothing() {
    let server = start(&["--threads", "2"], &["--timeout", "300ms", "slow:app"]);
    let mut stuck = server.ask_and_be_inside("/wait");
    server.wait_log("a request takes longer than the timeout: GET /wait");
    assert!(!server.get("/").is_empty());
    server.write("go", "");
    let mut answer = [0; 15];
    stuck.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    server.stop();
}

#[test]
fn workers_outlive_their_arbiter_only_for_what_they_have() {
    for kind in KINDS {
        let server = start(kind, &["-w", "2", "slow:app"]);
        let workers = server.workers();
        let mut inside = server.ask_and_be_inside("/wait");
        server.signal(Signal::SIGKILL);
        server.wait_log("the arbiter is gone");
        server.write("go", "");
        let mut answer = Vec::new();
        inside.read_to_end(&mut answer).unwrap();
        assert!(
            shown(&answer).starts_with("HTTP/1.1 200 OK|"),
            "{}",
            server.log()
        );
        wait_for("the workers' end", || {
            (!workers.iter().any(|pid| is_alive(*pid))).then_some(())
        });
    }
}

#[test]
fn more_and_fewer_workers_by_signal() {
    let server = start(&[], &["-w", "1", "slow:app"]);
    server.signal(Signal::SIGTTIN);
    wait_for("a second worker", || {
        (server.workers().len() == 2).then_some(())
    });
    server.signal(Signal::SIGTTOU);
    wait_for("one worker", || (server.workers().len() == 1).then_some(()));
    server.signal(Signal::SIGTTOU);
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn a_thousand_half_open_clients_hold_nobody_up() {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let soft = limit.1.min(4096);
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft, limit.1)
        .unwrap();
    for kind in KINDS {
        let server = start(
            kind,
            &["-w", "1", "--worker-connections", "2000", "slow:app"],
        );
        let mut half = Vec::new();
        for number in 0..1000 {
            let mut stream = server.connect();
            let part: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\nHo",
                _ => b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf",
            };
            stream.write_all(part).unwrap();
            half.push(stream);
        }
        for _ in 0..50 {
            assert!(!server.get("/").is_empty());
        }
        assert_eq!(
            server.status()["detail"]["workers"][0]["connections"]
                .as_u64()
                .map(|count| count >= 1000),
            Some(true)
        );
        drop(half);
        server.stop();
    }
}

#[test]
fn an_idle_server_sleeps() {
    for kind in KINDS {
        let server = start(kind, &["-w", "1", "slow:app"]);
        server.get("/");
        let pids = [server.pid(), server.workers()[0]];
        let switches = || -> Vec<u64> {
            let of = |pid: &i32| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                line.unwrap().trim().parse().unwrap()
            };
            pids.iter().map(of).collect()
        };
        // Let what the last request left behind pass, then nothing may happen for a while.
        wait_for("a quiet second", || {
            let before = switches();
            std::thread::sleep(std::time::Duration::from_secs(1));
            (switches() == before).then_some(())
        });
        server.stop();
    }
}
