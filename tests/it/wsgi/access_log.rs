//! The access log beside gunicorn's own: the same requests, the same lines. And JSON, reopening, slow requests.

use std::path::PathBuf;

use e2e::client::{Client, Request};
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{tools, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::start;

/// Every atom, each in brackets.
const FORMAT: &str = concat!(
    r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" m=[%(m)s] U=[%(U)s] q=[%(q)s] H=[%(H)s]"#,
    r#" B=[%(B)s] T=[%(T)s] M=[%(M)s] D=[%(D)s] L=[%(L)s] p=[%(p)s] x=[%({X-Thing}i)s] X=[%({x-thing}i)s]"#,
    r#" n=[%({nothing}i)s] ct=[%({Content-Type}o)s] cl=[%({content-length}o)s] no=[%({x}o)s]"#,
    r#" e=[%({SERVER_PROTOCOL}e)s] w=[%({wsgi.url_scheme}e)s] v=[%({wsgi.version}e)s] S=[%({story}e)s]"#,
    r#" un=[%(zz)s] %% w5=[%(m)8s] l8=[%(m)-8s]"#,
);

fn requests() -> Vec<Request> {
    vec![
        Request::get("/fixed?a=1&b=%22x%22"),
        Request::get("/fixed"),
        Request::get("/fixed?"),
        Request::get("/%C3%A9%20b//c"),
        Request::new("HEAD", "/fixed"),
        Request::post("/digest", vec![b'x'; 5000]).header("Content-Type", "text/x"),
        Request::get("/nothing").header("Referer", "http://a/\"quoted\""),
        Request::get("/fixed")
            .header("User-Agent", "agent \"007\"")
            .header("X-Thing", "one")
            .header("X-Thing", "two"),
        Request::get("/fixed").header("Authorization", "Basic dXNlcjpwYSR3OnJk"),
        Request::get("/fixed").header("Authorization", "Basic !!!"),
        Request::get("/fixed").header("Authorization", "Bearer abc"),
    ]
    // Not an application that fails: gunicorn forgets the environ then, and writes U=[None].
}

/// A line without what differs from run to run and from server to server.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    // The time in brackets at the front; the other brackets are ours.
    if let Some((before, after)) = rest.split_once(" [")
        && let Some((_, after)) = after.split_once("] ")
    {
        out += before;
        out += " TIME ";
        rest = after;
    }
    for part in rest.split(" ") {
        let timed = ["T=[", "M=[", "D=[", "L=[", "p=["]
            .iter()
            .find(|front| part.starts_with(**front));
        match timed {
            Some(front) => {
                let inside = &part[front.len()..part.len() - 1];
                let shape = |letter: char| if letter.is_ascii_digit() { '9' } else { letter };
                let mut shape: Vec<char> = inside.chars().map(shape).collect();
                shape.dedup();
                out += &format!("{front}{}] ", shape.into_iter().collect::<String>());
            }
            None => {
                out += part;
                out += " ";
            }
        }
    }
    out
}

/// The log after all requests were sent to a server, one line for each.
fn lines(server: Daemon, folder: &Folder, log: &str) -> Vec<String> {
    let socket: PathBuf = folder.join("app.sock");
    for request in requests() {
        let mut client = Client::connect(socket.clone());
        let request = request.header("Connection", "close");
        let _reply = client.ask(&request);
    }
    let lines = wait::until("a line for each request", || {
        let text = folder.read(log);
        let lines: Vec<String> = text.lines().map(plain).collect();
        (lines.len() == requests().len()).then_some(lines)
    });
    server.stop();
    lines
}

#[test]
fn lines_are_those_of_gunicorn() {
    let Some(venv) = tools::venv() else { return };
    let theirs = Folder::new();
    theirs.write("access.log", "");
    let bind = format!("unix:{}", theirs.join("app.sock").display());
    let gunicorn = Launch::program(venv.join("bin/gunicorn"))
        .args([
            "-b",
            &bind,
            "--access-logfile",
            "access.log",
            "--access-logformat",
            FORMAT,
        ])
        .args(["-e", "TZ=UTC"])
        .arg("--pythonpath")
        .arg(tools::apps())
        .arg("rooms:logged")
        .notify()
        .start(&theirs)
        .wait_ready();
    let theirs = lines(gunicorn, &theirs, "access.log");
    for threads in ["1", "3"] {
        let ours = Folder::new();
        ours.write("access.log", "");
        let log = ours.join("access.log");
        let args = [
            "--threads",
            threads,
            "--access-logfile",
            log.to_str().unwrap(),
            "--access-logformat",
            FORMAT,
            "rooms:logged",
        ];
        let (server, _) = start(&venv, &ours, &args);
        let ours = lines(server, &ours, "access.log");
        for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "line {index}, {threads} threads");
        }
    }
}

#[test]
fn json_reopening_and_slow_requests() {
    let Some(venv) = tools::venv() else { return };
    for threads in ["1", "3"] {
        let folder = Folder::new();
        let (log, slow) = (folder.join("access.log"), folder.join("slow.log"));
        let args = [
            "--threads",
            threads,
            "--access-logfile",
            log.to_str().unwrap(),
            "--access-log-json",
            "--slow-request-time",
            "0.3",
            "--slow-request-log",
            slow.to_str().unwrap(),
            "rooms:application",
        ];
        let (mut server, address) = start(&venv, &folder, &args);
        let ask = |target: &str| Client::connect(address.clone()).ask(&Request::get(target));
        ask("/pid?a=%0a\"x\"");
        let line = wait::until("a line", || {
            folder.read("access.log").lines().next().map(str::to_owned)
        });
        let line: Value = serde_json::from_str(&line).unwrap();
        for (key, value) in [
            ("method", Value::from("GET")),
            ("path", "/pid".into()),
            ("query", "a=%0a\"x\"".into()),
            ("status", 200.into()),
            ("protocol", "HTTP/1.1".into()),
            ("host", "test.example".into()),
        ] {
            assert_eq!(line[key], value, "{key}: {line}");
        }
        assert!(
            line["duration_us"].as_u64().is_some() && line["bytes"].as_u64() > Some(0),
            "{line}"
        );
        // Moved away by logrotate, and opened again.
        std::fs::rename(&log, folder.join("access.log.1")).unwrap();
        server.signal(Signal::SIGUSR1);
        wait::until("the new file", || log.exists().then_some(()));
        // The file may be there before the worker has it.
        wait::until("a line in the new file", || {
            ask("/pid?later");
            folder.read("access.log").contains("later").then_some(())
        });
        assert!(!slow.exists() || folder.read("slow.log").is_empty());
        ask("/pieces?slow");
        let text = wait::until("the slow request", || {
            Some(folder.read("slow.log")).filter(|text| text.contains("slow"))
        });
        assert!(
            text.contains("slow request: GET /pieces?slow answered 200 in 0."),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        server.stop();
    }
}
