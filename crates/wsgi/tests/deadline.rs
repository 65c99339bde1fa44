//! Requests that never end: the stack in the log, 504 for the client, the exception in the application, and the worker
//! lives. Only one that does not react is ended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::io::{Read as _, Write as _};

use harness::{Server, signal_pid, wait_for};
use nix::sys::signal::Signal;

/// One thread, then several.
const KINDS: [&[&str]; 2] = [
    &["--timeout", "300ms"],
    &["--threads", "3", "--request-timeout", "300ms"],
];

fn start(kind: &[&str]) -> Server {
    Server::start(&[kind, &["stuck:app"]].concat())
}

#[track_caller]
fn ask(server: &Server, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = server.ask(request.as_bytes());
    String::from_utf8_lossy(&answer).into_owned()
}

#[track_caller]
fn wait_log(server: &Server, text: &str) {
    wait_for(text, || server.log().contains(text).then_some(()));
}

const TIMED_OUT: &str = "HTTP/1.1 504 Gateway Timeout\r\n";

#[test]
fn a_stuck_request_is_told_with_its_stack_and_answered_504() {
    for kind in KINDS {
        let server = start(kind);
        let pid = server.get("/pid");
        for _ in 0..3 {
            let answer = ask(&server, "/spin?a=1");
            assert!(answer.starts_with(TIMED_OUT), "{answer}\n{}", server.log());
        }
        let log = server.log();
        for told in [
            "REQUEST TIMEOUT: GET /spin?a=1 takes longer than 300ms",
            "at this request (most recent call last)",
            "in spin_here",
        ] {
            assert!(log.contains(told), "{told} is not in {log}");
        }
        assert_eq!(server.get("/pid"), pid);
        // The application's finally ran, its `except Exception` did not.
        assert_eq!(
            server.get("/story"),
            "spin finally spin finally spin finally"
        );
        server.stop();
    }
}

#[test]
fn the_stacks_of_the_other_threads_are_told_too() {
    let server = start(KINDS[1]);
    let mut other = server.connect();
    other
        .write_all(b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    assert!(ask(&server, "/spin").starts_with(TIMED_OUT));
    wait_log(&server, "in wait_here");
    server.stop();
}

#[test]
fn with_one_thread_waits_in_system_calls_and_locks_end_as_well() {
    let server = start(KINDS[0]);
    let pid = server.get("/pid");
    for path in ["/sleep", "/lock", "/receive", "/regex"] {
        let answer = ask(&server, path);
        assert!(
            answer.starts_with(TIMED_OUT),
            "{path}: {answer}\n{}",
            server.log()
        );
    }
    assert_eq!(server.get("/pid"), pid);
    server.stop();
}

#[test]
fn an_answer_that_has_begun_is_cut() {
    for kind in KINDS {
        let server = start(kind);
        let answer = ask(&server, "/midway");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("5\r\nbegun\r\n"),
            "{answer}"
        );
        assert_eq!(server.get("/story"), "closed");
        server.stop();
    }
}

#[test]
fn an_application_that_goes_on_has_the_last_word() {
    for kind in KINDS {
        let server = start(kind);
        let answer = ask(&server, "/swallows");
        assert!(
            answer.ends_with("\r\n\r\nswallowed RequestTimeout"),
            "{answer}"
        );
        assert_eq!(server.get("/pid").len(), server.get("/pid").len());
        server.stop();
    }
}

#[test]
fn one_thread_that_does_not_react_gets_504_for_its_client_and_the_others_serve_on() {
    let server = start(&[KINDS[1], &["--graceful-timeout", "1"]].concat());
    let pid = server.get("/pid");
    let answer = ask(&server, "/deaf");
    assert!(answer.starts_with(TIMED_OUT), "{answer}\n{}", server.log());
    // The others serve on, until another worker is there for the place that is lost.
    wait_for("another worker", || {
        (server.get("/pid") != pid).then_some(())
    });
    let log = server.log();
    assert!(
        log.contains("a thread of its does not react, at GET /deaf"),
        "{log}"
    );
    assert!(log.contains("another worker takes its place"), "{log}");
    // It cannot end by itself.
    wait_log(&server, "By its arbiter: it did not end when told to.");
    assert_eq!(server.workers().len(), 1);
    server.stop();
}

#[test]
fn a_worker_that_does_not_react_is_ended_and_replaced() {
    for kind in [KINDS[0], &["--threads", "2", "--request-timeout", "300ms"]] {
        let server = start(kind);
        let pid = server.get("/pid");
        let mut stuck: Vec<_> = (0..2).map(|_| server.connect()).collect();
        for stream in &mut stuck {
            stream
                .write_all(b"GET /deaf HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
        }
        wait_log(&server, "WORKER TIMEOUT (pid:");
        let next = server.get("/pid");
        assert_ne!(next, pid);
        // Python's own dump, by the signal.
        wait_log(&server, "in deaf_here");
        let mut answer = String::new();
        let _ = stuck[0].read_to_string(&mut answer);
        assert!(answer.starts_with(TIMED_OUT), "{answer}\n{}", server.log());
        server.stop();
    }
}

#[test]
fn a_client_that_does_not_read_costs_its_connection_only() {
    for kind in KINDS {
        let server = start(kind);
        let pid = server.get("/pid");
        let mut slow = server.connect();
        slow.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        wait_for("the end of the iterable", || {
            (server.get("/story") == "closed").then_some(())
        });
        assert_eq!(server.get("/pid"), pid);
        assert!(
            !server.log().contains("REQUEST TIMEOUT"),
            "{}",
            server.log()
        );
        server.stop();
    }
}

#[test]
fn without_a_limit_nothing_is_interrupted() {
    for kind in [
        &["--timeout", "0"][..],
        &["--threads", "2", "--timeout", "200ms"],
    ] {
        let server = start(kind);
        assert_eq!(server.get("/long"), "done");
        assert!(
            !server.log().contains("REQUEST TIMEOUT"),
            "{}",
            server.log()
        );
        server.stop();
    }
}

#[test]
fn signals_of_the_application_still_reach_it() {
    let server = start(KINDS[0]);
    let pid: i32 = server.get("/pid").parse().unwrap();
    assert_eq!(server.get("/handles"), "ready");
    signal_pid(pid, Signal::SIGUSR2);
    wait_for("the application's handler", || {
        (server.get("/story") == "handled").then_some(())
    });
    server.stop();
}
