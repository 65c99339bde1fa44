//! Fairness: requests on kept connections never wait for a slow one while another worker could take them. Nothing here
//! is measured: the slow request ends only after all fast ones were answered.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use harness::{Server, wait_for};

/// Sends a request on a kept connection.
fn send(stream: &mut UnixStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
}

/// Reads one answer: the pid of the worker that gave it.
#[track_caller]
fn pid(stream: &mut UnixStream) -> i32 {
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    loop {
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "closed after {}", answer.escape_ascii());
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return body.parse().unwrap();
        }
    }
}

/// Kept connections by the worker that has them; at least `each` for both workers.
fn kept(server: &Server, each: usize) -> BTreeMap<i32, Vec<UnixStream>> {
    let mut by_pid: BTreeMap<i32, Vec<UnixStream>> = BTreeMap::new();
    wait_for("both workers to have connections", || {
        let mut stream = server.connect();
        send(&mut stream, "/");
        let worker = pid(&mut stream);
        by_pid.entry(worker).or_default().push(stream);
        (by_pid.len() == 2 && by_pid.values().all(|kept| kept.len() >= each)).then_some(())
    });
    by_pid
}

/// What a worker is at.
fn running(server: &Server, worker: i32) -> usize {
    let status = server.status();
    let workers = status["detail"]["workers"].as_array().unwrap().clone();
    let found = workers.iter().find(|one| one["pid"] == worker);
    let found = found.unwrap_or_else(|| panic!("no {worker} in {status}\n{}", server.log()));
    found["running"].as_array().unwrap().len()
}

/// All seats of one worker are taken by requests that do not end; all connections it has kept are asked.
fn check(threads: usize, rounds: usize) {
    let count = threads.to_string();
    let args = [
        "-w",
        "2",
        "--threads",
        &count,
        "--keep-alive",
        "60",
        "slow:application",
    ];
    let server = Server::start(&args);
    server.wait_ready(2);
    check_on(server, threads, rounds);
}

fn check_on(server: Server, threads: usize, rounds: usize) {
    let go = server.dir.path().join("go");
    for _ in 0..rounds {
        let mut by_pid = kept(&server, threads + 6);
        let (&busy, _) = by_pid.first_key_value().unwrap();
        let mut mine = by_pid.remove(&busy).unwrap();
        let mut slow: Vec<_> = mine.drain(..threads).collect();
        slow.iter_mut().for_each(|stream| send(stream, "/wait"));
        wait_for("the slow requests to be inside", || {
            (running(&server, busy) == threads).then_some(())
        });
        // Several times over, all at once: the first of each connection moves it.
        for _ in 0..3 {
            mine.iter_mut().for_each(|stream| send(stream, "/"));
            for stream in &mut mine {
                assert_ne!(pid(stream), busy);
            }
        }
        // New connections are none of the busy worker's either.
        for _ in 0..10 {
            let mut stream = server.connect();
            send(&mut stream, "/");
            assert_ne!(pid(&mut stream), busy);
        }
        assert_eq!(running(&server, busy), threads, "{}", server.log());
        fs::write(&go, "").unwrap();
        for stream in &mut slow {
            assert_eq!(pid(stream), busy);
        }
        fs::remove_file(&go).unwrap();
        // Their own connections are of use to both afterwards.
        for stream in slow.iter_mut().chain(&mut mine) {
            send(stream, "/");
            pid(stream);
        }
    }
    server.stop();
}

#[test]
fn no_request_waits_for_a_slow_one_with_one_thread() {
    check(1, 5);
}

#[test]
fn no_request_waits_for_slow_ones_with_threads() {
    check(2, 5);
}

#[test]
fn another_thread_is_woken_when_short_calls_turn_long() {
    let args = ["--threads", "2", "--keep-alive", "60", "slow:application"];
    let server = Server::start(&args);
    let go = server.dir.path().join("go");
    let (mut slow, mut fast) = (server.connect(), server.connect());
    let worker = server.workers()[0];
    for _ in 0..10 {
        // Many short calls, so that nobody is woken for each of them.
        for _ in 0..50 {
            send(&mut fast, "/");
            pid(&mut fast);
        }
        // The slow one at once with a short one, in the line of the same thread.
        send(&mut slow, "/wait");
        send(&mut fast, "/");
        pid(&mut fast);
        wait_for("the slow request to be inside", || {
            (running(&server, worker) == 1).then_some(())
        });
        send(&mut fast, "/");
        pid(&mut fast);
        fs::write(&go, "").unwrap();
        pid(&mut slow);
        fs::remove_file(&go).unwrap();
    }
    server.stop();
}

#[test]
fn a_worker_that_gets_a_sibling_shares_with_it() {
    for threads in [1, 2] {
        let count = threads.to_string();
        let args = ["--threads", &count, "--keep-alive", "60"];
        let server = Server::start(&[&args[..], &["slow:application"]].concat());
        let first = server.workers();
        server.signal(nix::sys::signal::Signal::SIGTTIN);
        wait_for("two workers that know of each other", || {
            let now = server.workers();
            (now.len() == 2 && !now.contains(&first[0])).then_some(())
        });
        server.wait_ready(2);
        check_on(server, threads, 2);
    }
}

#[test]
fn a_worker_that_leaves_still_answers_what_it_was_given() {
    let server = Server::start(&["-w", "2", "--keep-alive", "60", "slow:application"]);
    server.wait_ready(2);
    let mut by_pid = kept(&server, 6);
    let (&busy, _) = by_pid.first_key_value().unwrap();
    let mut mine = by_pid.remove(&busy).unwrap();
    let mut slow = mine.pop().unwrap();
    send(&mut slow, "/wait");
    wait_for("the slow request to be inside", || {
        (running(&server, busy) == 1).then_some(())
    });
    mine.iter_mut().for_each(|stream| send(stream, "/"));
    // Everybody is told to leave while they travel.
    server.signal(nix::sys::signal::Signal::SIGTERM);
    fs::write(server.dir.path().join("go"), "").unwrap();
    for stream in mine.iter_mut().chain([&mut slow]) {
        pid(stream);
    }
    let mut server = server;
    assert_eq!(server.exit_code(), 0, "{}", server.log());
}

/// The value of a sample of `/metrics`.
#[track_caller]
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn metrics_and_status_tell_what_there_is_and_what_is_taken() {
    for threads in [1_usize, 3] {
        let count = threads.to_string();
        let args = [
            "-w",
            "2",
            "--threads",
            &count,
            "--keep-alive",
            "60",
            "slow:application",
        ];
        let server = Server::start(&args);
        server.wait_ready(2);
        let mut stream = server.connect();
        for _ in 0..9 {
            send(&mut stream, "/");
            pid(&mut stream);
        }
        // A web server in front says that it had this request for two minutes.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let start = now.unwrap().as_millis() as u64 - 120_000;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Start: t={start}\r\n\r\n"
        )
        .unwrap();
        pid(&mut stream);
        send(&mut stream, "/wait");
        let metrics = wait_for("the counts", || {
            let metrics = server.control("GET", "/metrics");
            (sample(&metrics, "trine_wsgi_seats_busy") == 1.0
                && sample(&metrics, "trine_wsgi_requests_total") == 10.0)
                .then_some(metrics)
        });
        for (name, value) in [
            ("trine_wsgi_responses_total{class=\"2xx\"}", 10.0),
            ("trine_wsgi_request_duration_seconds_count", 10.0),
            ("trine_wsgi_queue_duration_seconds_count", 10.0),
            ("trine_wsgi_seats", 2.0 * threads as f64),
        ] {
            assert_eq!(sample(&metrics, name), value, "{name}\n{metrics}");
        }
        let waited = sample(&metrics, "trine_wsgi_queue_duration_seconds_sum");
        assert!((120.0..240.0).contains(&waited), "{waited}");
        assert_eq!(
            metrics
                .matches("trine_wsgi_resident_memory_bytes{worker=")
                .count(),
            2
        );
        let status = server.status();
        let workers = status["detail"]["workers"].as_array().unwrap();
        let free: u64 = workers
            .iter()
            .map(|one| one["free"].as_u64().unwrap())
            .sum();
        assert_eq!(free, 2 * threads as u64 - 1, "{status}");
        fs::write(server.dir.path().join("go"), "").unwrap();
        pid(&mut stream);
        server.stop();
    }
}

/// The socket of each worker, by its pid.
fn sockets(server: &Server) -> BTreeMap<i32, String> {
    let status = server.status();
    let workers = status["detail"]["workers"].as_array().unwrap();
    let of = |worker: &serde_json::Value| {
        let path = worker["socket"].as_str()?.strip_prefix("unix:")?.to_owned();
        Some((worker["pid"].as_i64()? as i32, path))
    };
    workers.iter().filter_map(of).collect()
}

#[test]
fn each_worker_has_a_socket_of_its_own() {
    for threads in ["1", "3"] {
        let args = ["-w", "3", "--threads", threads, "slow:application"];
        let server = Server::start(&args);
        server.wait_ready(3);
        let before = sockets(&server);
        assert_eq!(before.len(), 3, "{}", server.status());
        for (worker, path) in &before {
            let mut stream = UnixStream::connect(path).unwrap();
            send(&mut stream, "/");
            assert_eq!(pid(&mut stream), *worker);
        }
        // New workers have others; those of the old ones are gone before they are.
        server.signal(nix::sys::signal::Signal::SIGHUP);
        let after = wait_for("new workers alone", || {
            let after = sockets(&server);
            let renewed = after.keys().all(|worker| !before.contains_key(worker));
            (after.len() == 3 && renewed).then_some(after)
        });
        assert!(before.values().all(|path| !fs::exists(path).unwrap()));
        for (worker, path) in &after {
            let mut stream = UnixStream::connect(path).unwrap();
            send(&mut stream, "/");
            assert_eq!(pid(&mut stream), *worker);
        }
        let folder = server.dir.path().join("control.sock.workers");
        // Each with its lock.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 6);
        let mut server = server;
        server.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(server.exit_code(), 0, "{}", server.log());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
