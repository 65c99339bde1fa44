//! Faults under load, every answer counted: reloads, kills, a configuration broken and mended, a stop with connections
//! in the queue, a leak, clients that go away. What must not be lost is not lost, and nothing grows.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::client::{Address, get};
use e2e::control::Control;
use e2e::daemon::Daemon;
use e2e::folder::Folder;
use e2e::load::{Load, Mix};
use e2e::{process, tools, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::start;

pub(super) const KINDS: [&[&str]; 2] = [&["-w", "2"], &["-w", "2", "--threads", "4"]];

pub(super) fn server(
    venv: &PathBuf,
    folder: &Folder,
    kind: &[&str],
    more: &[&str],
) -> (Daemon, Address, Control) {
    let args = [kind, more, &["faults:app"]].concat();
    let (server, address) = start(venv, folder, &args);
    let control = Control::new(folder.join("wsgi.sock"));
    wait_settled(&control);
    (server, address, control)
}

/// New connections all the time: those of kept ones that a worker closes while a request is on its way are refused by
/// the kernel, for the client to send again, and this client never does.
pub(super) fn mix() -> Mix {
    Mix {
        connections: 4,
        gets: vec!["/a?{id}", "/b?{id}", "/large?{id}"],
        post: Some("/post"),
        pause: Duration::from_millis(1),
        close: true,
    }
}

pub(super) fn workers(status: &Value) -> Vec<i32> {
    let list = status["detail"]["workers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.iter()
        .filter_map(|worker| worker["pid"].as_i64())
        .map(|pid| pid as i32)
        .collect()
}

/// As many workers as there should be, all of them ready, and nobody on the way out.
pub(super) fn wait_settled(control: &Control) -> Vec<i32> {
    wait::until("all workers to be ready and alone", || {
        let status = control.status();
        let wanted = status["detail"]["workers_wanted"].as_u64()? as usize;
        let list = status["detail"]["workers"].as_array()?;
        let ready = list.iter().all(|worker| worker["state"] == "ready");
        (ready && list.len() == wanted).then(|| workers(&status))
    })
}

/// Descriptors, threads and resident KiB.
pub(super) fn size(pid: i32) -> (usize, usize, u64) {
    let count =
        |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let rss = rss.trim().trim_end_matches(" kB").parse().unwrap();
    (count("fd"), count("task"), rss)
}

#[track_caller]
pub(super) fn assert_flat(
    what: &str,
    before: (usize, usize, u64),
    after: (usize, usize, u64),
    more_kib: u64,
) {
    assert!(
        after.0 <= before.0 + 2 && after.1 == before.1 && after.2 <= before.2 + more_kib,
        "{what}: descriptors, threads and KiB were {before:?} and are {after:?}"
    );
}

#[test]
fn two_hundred_reloads_under_load_lose_nothing() {
    let Some(venv) = tools::venv() else { return };
    // Two hundred together. One worker each, so that every single one is replaced with nobody beside it.
    for kind in [&["-w", "1"][..], &["-w", "1", "--threads", "4"]] {
        let folder = Folder::new();
        let (mut daemon, address, control) = server(&venv, &folder, kind, &[]);
        let gentle = Mix {
            connections: 3,
            pause: Duration::from_millis(5),
            ..mix()
        };
        let load = Load::start(address, &gentle);
        // The first ones fill caches.
        let mut before = None;
        for round in 0..100 {
            daemon.signal(Signal::SIGHUP);
            wait::until("the next generation", || {
                // This reads on, so that the server never finds its manager's ear full.
                daemon.wait_notified("READY=1");
                let said = daemon.notified().iter().filter(|line| *line == "READY=1");
                (said.count() == round + 2).then_some(())
            });
            if round == 9 {
                before = Some(size(daemon.pid()));
            }
        }
        wait_settled(&control);
        assert_eq!(control.status()["generation"], 101);
        let report = load.stop();
        report.assert_none_failed();
        assert!(
            report.answers.len() > 200,
            "{} requests",
            report.answers.len()
        );
        assert_flat("the arbiter", before.unwrap(), size(daemon.pid()), 4096);
        eprintln!(
            "100 reloads, {} requests, none failed",
            report.answers.len()
        );
        daemon.stop();
    }
}

#[test]
fn killed_workers_take_only_their_own_requests_with_them() {
    let Some(venv) = tools::venv() else { return };
    for kind in KINDS {
        let folder = Folder::new();
        let (daemon, address, control) = server(&venv, &folder, kind, &[]);
        let load = Load::start(address, &mix());
        load.wait_for_more(50);
        let mut kills = Vec::new();
        for _ in 0..10 {
            let victim = wait_settled(&control)[0];
            let from = Instant::now();
            process::signal(victim, Signal::SIGKILL);
            process::wait_gone(victim);
            kills.push((from, Instant::now()));
            load.wait_for_more(20);
        }
        let report = load.stop();
        for failed in report.failed() {
            let inside = kills
                .iter()
                .any(|(from, to)| failed.started <= *to && failed.ended >= *from);
            assert!(
                inside,
                "request {} failed and no worker was killed then: {:?}",
                failed.id, failed.failure
            );
        }
        // One worker with one thread has one request, and its loop may hold one more that was accepted with it.
        assert!(
            report.failed().len() <= kills.len() * 4,
            "{} failed",
            report.failed().len()
        );
        assert!(
            daemon
                .output()
                .contains("was sent SIGKILL! Not by its arbiter"),
            "{}",
            daemon.output()
        );
        daemon.stop();
    }
}

#[test]
fn an_application_broken_and_mended_under_load_is_never_noticed() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (mut daemon, address, control) = server(&venv, &folder, KINDS[0], &[]);
    let old: BTreeSet<i32> = wait_settled(&control).into_iter().collect();
    let load = Load::start(address, &mix());
    let mut reload = |ok: bool, last: &Value| {
        daemon.signal(Signal::SIGHUP);
        wait::until("the reload's end", || {
            let report = control.status()["last_reload"].clone();
            (!report.is_null() && report["time"] != *last && report["ok"] == ok)
                .then(|| report["time"].clone())
        })
    };
    folder.write("broken", "");
    let mut last = Value::Null;
    for _ in 0..5 {
        last = reload(false, &last);
    }
    // A worker that dies meanwhile cannot be replaced; the other one serves on.
    process::signal(*old.first().unwrap(), Signal::SIGTERM);
    load.wait_for_more(100);
    fs::remove_file(folder.join("broken")).unwrap();
    reload(true, &last);
    let new: BTreeSet<i32> = wait_settled(&control).into_iter().collect();
    assert!(new.is_disjoint(&old), "{new:?} {old:?}");
    load.wait_for_more(50);
    load.stop().assert_none_failed();
    daemon.stop();
}

#[test]
fn a_stop_answers_everything_in_the_queue() {
    let Some(venv) = tools::venv() else { return };
    for kind in [KINDS[0], &["-w", "1", "--threads", "2"]] {
        let folder = Folder::new();
        let (mut daemon, _, control) = server(&venv, &folder, kind, &[]);
        let pids = wait_settled(&control);
        // Nobody accepts while the workers stand still, so all of them wait in the kernel.
        pids.iter()
            .for_each(|pid| process::signal(*pid, Signal::SIGSTOP));
        let mut waiting: Vec<UnixStream> = (0..500)
            .map(|number| {
                let mut stream = UnixStream::connect(folder.join("app.sock")).unwrap();
                write!(stream, "GET /{number}? HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                stream
            })
            .collect();
        daemon.signal(Signal::SIGTERM);
        daemon.wait_notified("STOPPING=1");
        pids.iter()
            .for_each(|pid| process::signal(*pid, Signal::SIGCONT));
        for (number, stream) in waiting.iter_mut().enumerate() {
            let mut answer = String::new();
            stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            let end = format!("/{number}?");
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&end),
                "{number}: {answer}"
            );
        }
        assert_eq!(daemon.exit_code(), 0, "{}", daemon.output());
    }
}

#[test]
fn ten_thousand_aborted_requests_leave_nothing_behind() {
    let Some(venv) = tools::venv() else { return };
    for kind in [&["-w", "1"][..], &["-w", "1", "--threads", "4"]] {
        let folder = Folder::new();
        let (daemon, address, control) = server(&venv, &folder, kind, &[]);
        let worker = wait_settled(&control)[0];
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut dice = |sides: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % sides as u64) as usize
        };
        let body = "x".repeat(3000);
        let requests = [
            "GET /large HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            format!(
                "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            format!(
                "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n{body}\r\n0\r\n\r\n"
            ),
            "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /large HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        ];
        let mut abort = || {
            let mut stream = UnixStream::connect(folder.join("app.sock")).unwrap();
            let request = requests[dice(requests.len())].as_bytes();
            let cut = dice(request.len() + 1);
            let _ = stream.write_all(&request[..cut]);
            match dice(4) {
                0 => drop(stream.shutdown(Shutdown::Write)),
                1 => drop(stream.shutdown(Shutdown::Both)),
                // A part of the answer, where there is one.
                2 if cut == request.len() => {
                    let _ = stream.read(&mut vec![0; 1 + dice(2000)]);
                }
                _ => {}
            }
        };
        for _ in 0..1000 {
            abort();
        }
        let idle = || {
            wait::until("no connection to be left", || {
                let list = control.status()["detail"]["workers"].clone();
                (list[0]["connections"] == 0).then_some(())
            });
        };
        idle();
        let before = (size(worker), size(daemon.pid()));
        for _ in 0..4000 {
            abort();
        }
        idle();
        assert_eq!(wait_settled(&control), [worker], "the same worker");
        assert_flat("the worker", before.0, size(worker), 8192);
        assert_flat("the arbiter", before.1, size(daemon.pid()), 1024);
        assert_eq!(get(address, "/still").text(), "/still");
        daemon.stop();
    }
}

#[test]
fn nobody_wakes_while_there_is_nothing_to_do() {
    let Some(venv) = tools::venv() else { return };
    for kind in KINDS {
        let folder = Folder::new();
        let (daemon, address, control) = server(&venv, &folder, kind, &[]);
        for _ in 0..20 {
            get(address.clone(), "/");
        }
        let mut pids = wait_settled(&control);
        pids.push(daemon.pid());
        let switches = || -> Vec<u64> {
            let of = |path: PathBuf| {
                let status = fs::read_to_string(path.join("status")).unwrap_or_default();
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                line.and_then(|count| count.trim().parse::<u64>().ok())
                    .unwrap_or(0)
            };
            let tasks = |pid: &i32| -> u64 {
                let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
                tasks.map(|task| of(task.unwrap().path())).sum()
            };
            pids.iter().map(tasks).collect()
        };
        // What the last request left behind (a kept connection's end) passes; then three seconds must be still.
        wait::until("three quiet seconds", || {
            let before = switches();
            std::thread::sleep(Duration::from_secs(3));
            (switches() == before).then_some(())
        });
        daemon.stop();
    }
}
