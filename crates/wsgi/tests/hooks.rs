//! Server hooks of a real `gunicorn.conf.py`, which writes down what it sees.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::fs;
use std::io::{Read, Write};

use harness::{Server, apps, signal_pid, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

const KINDS: [&[&str]; 2] = [&[], &["--threads", "2"]];

fn with_hooks(more: &[&str]) -> Server {
    let conf = apps().join("hooks_conf.py");
    let args = [&["-c", conf.to_str().unwrap()], more, &["slow:app"]].concat();
    Server::spawn(&args)
}

fn ready(more: &[&str]) -> Server {
    let server = with_hooks(more);
    server.wait_notified("READY=1");
    server
}

impl Server {
    fn calls(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        let whole = text.lines().filter(|line| line.ends_with('}'));
        whole
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn called(&self, hook: &str) -> Vec<Value> {
        self.calls()
            .into_iter()
            .filter(|call| call["hook"] == hook)
            .collect()
    }

    #[track_caller]
    fn wait_called(&self, hook: &str, times: usize) -> Value {
        wait_for(hook, || {
            let calls = self.called(hook);
            (calls.len() >= times).then(|| calls[times - 1].clone())
        })
    }

    fn trouble(&self, text: &str) {
        fs::write(self.dir.path().join("trouble"), text).unwrap();
    }

    fn wait_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }
}

#[test]
fn the_life_of_a_server_in_order() {
    for kind in KINDS {
        let mut server = ready(kind);
        let arbiter = server.pid();
        let worker = server.workers()[0];
        server.get("/a?b=c");
        server.wait_called("post_request", 1);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), 0, "{}", server.log());
        let calls = server.calls();
        let order: Vec<&str> = calls
            .iter()
            .filter_map(|call| call["hook"].as_str())
            .collect();
        assert_eq!(
            order,
            [
                "nworkers_changed",
                "on_starting",
                "when_ready",
                "pre_fork",
                "post_fork",
                "post_worker_init",
                "pre_request",
                "post_request",
                "worker_exit",
                "child_exit",
                "on_exit"
            ]
        );
        let who = |pid: i32| move |call: &Value| call["in"] == pid;
        assert_eq!(calls.iter().filter(|call| who(worker)(call)).count(), 5);
        assert_eq!(calls.iter().filter(|call| who(arbiter)(call)).count(), 6);
        let of = |hook: &str| {
            calls
                .iter()
                .find(|call| call["hook"] == hook)
                .unwrap()
                .clone()
        };
        assert_eq!(
            (
                &of("nworkers_changed")["new"],
                &of("nworkers_changed")["old"]
            ),
            (&1.into(), &Value::Null)
        );
        let socket = format!("unix:{}", server.dir.path().join("app.sock").display());
        let when_ready = of("when_ready");
        assert_eq!(
            when_ready["listeners"],
            serde_json::json!([socket]),
            "{when_ready}"
        );
        assert_eq!(when_ready["server"], arbiter);
        assert_eq!(when_ready["kept"], "by the configuration");
        assert_eq!(of("pre_fork")["pid"], "[booting]");
        assert_eq!(
            (&of("pre_fork")["age"], &of("pre_fork")["ppid"]),
            (&1.into(), &arbiter.into())
        );
        let post_fork = of("post_fork");
        assert_eq!(
            (&post_fork["pid"], &post_fork["booted"]),
            (&worker.into(), &false.into())
        );
        assert_eq!(post_fork["timeout"], 15.0);
        assert_eq!(post_fork["sockets"][0], socket.trim_start_matches("unix:"));
        assert_eq!(of("post_worker_init")["app"], true);
        let before = of("pre_request");
        assert_eq!(
            (
                &before["method"],
                &before["uri"],
                &before["path"],
                &before["query"]
            ),
            (&"GET".into(), &"/a?b=c".into(), &"/a".into(), &"b=c".into())
        );
        assert_eq!(
            before["headers"],
            serde_json::json!([["HOST", "h"], ["CONNECTION", "close"]])
        );
        assert_eq!(
            (&before["close"], &before["scheme"], &before["nr"]),
            (&true.into(), &"http".into(), &0.into())
        );
        let after = of("post_request");
        assert_eq!(
            (&after["status"], &after["code"]),
            (&"200 OK".into(), &200.into())
        );
        assert_eq!(after["sent"], worker.to_string().len());
        assert_eq!(of("child_exit")["workers"], serde_json::json!([]));
        let log = server.log();
        for line in ["hello from on_starting, 1", "hello from the worker"] {
            assert!(log.contains(line), "{line}: {log}");
        }
    }
}

#[test]
fn hooks_around_requests_fail_for_their_request_only() {
    for kind in KINDS {
        let server = ready(kind);
        let refused = server.ask(b"GET /refused HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(
            refused.starts_with(b"HTTP/1.1 500 "),
            "{}",
            refused.escape_ascii()
        );
        server.wait_log("boom in pre_request");
        assert!(!server.get("/boom").is_empty());
        server.wait_log("Exception in post_request hook");
        assert!(server.get("/header/HTTP_X_MARK").contains("by a hook"));
        server.stop();
    }
}

#[test]
fn a_hook_can_ask_for_another_worker() {
    for kind in KINDS {
        let server = ready(kind);
        let before = server.workers();
        assert!(!server.get("/enough").is_empty());
        wait_for("another worker alone", || {
            let now = server.workers();
            (now.len() == 1 && now != before).then_some(())
        });
        server.wait_log("a hook has set worker.alive to False");
        server.stop();
    }
}

#[test]
fn int_and_abort_call_their_hooks_in_the_middle_of_a_request() {
    for (signal, hook) in [
        (Signal::SIGQUIT, "worker_int"),
        (Signal::SIGINT, "worker_int"),
        (Signal::SIGABRT, "worker_abort"),
    ] {
        let server = ready(&["--timeout", "60"]);
        let worker = server.workers()[0];
        let mut stuck = server.connect();
        stuck
            .write_all(b"GET /spin HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        wait_for("the request to be inside", || {
            server.dir.path().join("inside").exists().then_some(())
        });
        signal_pid(worker, signal);
        server.wait_called(hook, 1);
        server.wait_called("child_exit", 1);
        let mut answer = Vec::new();
        stuck.read_to_end(&mut answer).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 500 "),
            "{signal}: {}",
            answer.escape_ascii()
        );
        assert!(!server.get("/").is_empty());
        assert_eq!(server.called("worker_exit")[0]["pid"], worker);
        server.stop();
    }
}

#[test]
fn more_fewer_and_reload_are_told() {
    let server = ready(&["-w", "2"]);
    server.wait_called("post_worker_init", 2);
    server.signal(Signal::SIGTTIN);
    server.wait_called("nworkers_changed", 2);
    server.wait_called("post_worker_init", 3);
    server.signal(Signal::SIGTTOU);
    server.wait_called("child_exit", 1);
    server.signal(Signal::SIGHUP);
    server.wait_called("on_reload", 1);
    server.wait_called("child_exit", 3);
    let told: Vec<(i64, i64)> = server.called("nworkers_changed")[1..]
        .iter()
        .map(|call| (call["new"].as_i64().unwrap(), call["old"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, [(3, 2), (2, 3), (2, 2)]);
    assert_eq!(server.called("pre_fork").last().unwrap()["age"], 5);
    server.stop();
}

#[test]
fn a_hook_that_fails_at_the_start_ends_it_with_gunicorns_code() {
    for (trouble, code) in [
        ("on_starting", 1),
        ("on_starting 7", 7),
        ("when_ready", 1),
        ("nworkers_changed", 1),
        ("pre_fork", 255),
        ("post_fork", 3),
        ("post_worker_init", 3),
    ] {
        let mut server = Server::spawn_in(|dir| {
            fs::write(dir.join("trouble"), trouble).unwrap();
            vec![
                "-c".to_owned(),
                apps().join("hooks_conf.py").display().to_string(),
                "slow:app".to_owned(),
            ]
        });
        assert_eq!(server.exit_code(), code, "{trouble}: {}", server.log());
        let hook = trouble.split(' ').next().unwrap();
        assert!(
            trouble.contains(' ') || server.log().contains(&format!("boom in {hook}")),
            "{}",
            server.log()
        );
    }
}

#[test]
fn a_hook_that_fails_later_loses_nothing() {
    let server = ready(&[]);
    let first = server.workers();
    server.trouble("on_reload");
    server.signal(Signal::SIGHUP);
    server.wait_log("the reload failed, the old workers serve on: the hook on_reload failed");
    assert_eq!(server.workers(), first);
    for hook in ["pre_fork", "post_fork", "post_worker_init"] {
        server.trouble(hook);
        server.signal(Signal::SIGHUP);
        wait_for("the reload's failure", || {
            let report = server.status()["last_reload"].clone();
            let text = report["problems"][0].as_str()?.to_owned();
            (report["ok"] == false && text.contains(hook)).then_some(())
        });
        assert_eq!(server.workers(), first, "{hook}");
        assert!(!server.get("/").is_empty());
    }
    for hook in ["child_exit", "worker_exit", "nworkers_changed"] {
        server.trouble(hook);
        let times = server.called("child_exit").len();
        server.signal(Signal::SIGHUP);
        server.wait_called("child_exit", times + 1);
        server.wait_log(&format!("boom in {hook}"));
        assert!(!server.get("/").is_empty());
    }
    server.trouble("on_exit");
    server.stop();
}
