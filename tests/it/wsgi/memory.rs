//! Memory: a leak that reaches the limit, a kernel that is out of it, and what is left after every kind of fault.
//! Not here: the faults one by one (`faults`).

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::client::{Address, Client, Request, get};
use e2e::control::Control;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::load::{Load, Mix};
use e2e::{process, tools, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::faults::{KINDS, assert_flat, mix, server, size, wait_settled, workers};

const LIMIT: u64 = 96 * 1024 * 1024;

fn leaking() -> Mix {
    Mix {
        gets: vec!["/leak?{id}"],
        post: None,
        pause: Duration::from_millis(3),
        ..mix()
    }
}

/// Leaks until every worker is another one.
fn leak_until_replaced(address: &Address, control: &Control) {
    let first: BTreeSet<i32> = wait_settled(control).into_iter().collect();
    let load = Load::start(address.clone(), &leaking());
    wait::until_within(
        "every worker to be another",
        Duration::from_secs(60),
        || {
            let now: BTreeSet<i32> = workers(&control.status()).into_iter().collect();
            now.is_disjoint(&first).then_some(())
        },
    );
    load.stop().assert_none_failed();
}

/// All that happened up to the end of a reload, as `/v1/events` tells it: kind and process.
fn events_until_reload(control: &Control) -> Vec<(String, i64)> {
    let mut stream = UnixStream::connect(control.socket()).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    write!(stream, "GET /v1/events?since=0 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut found: Vec<(String, i64)> = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(data).unwrap();
        let kind = event["kind"].as_str().unwrap().to_owned();
        if kind == "reload" {
            return found;
        }
        found.push((kind, event["data"]["pid"].as_i64().unwrap_or(0)));
    }
    panic!("the events have ended: {found:?}");
}

#[test]
fn a_leak_is_stopped_by_recycling_before_anything_fails() {
    let Some(venv) = tools::venv() else { return };
    for kind in KINDS {
        let folder = Folder::new();
        let limit = LIMIT.to_string();
        let (mut daemon, address, control) =
            server(&venv, &folder, kind, &["--max-worker-memory", &limit]);
        leak_until_replaced(&address, &control);
        let log = daemon.output();
        assert!(
            log.contains("Autorestarting worker after current request.")
                && log.contains("is beyond the limit"),
            "{log}"
        );
        // The replacement first: whoever asked for it left only after another was ready in its place.
        daemon.signal(Signal::SIGHUP);
        let events = events_until_reload(&control);
        let at = |kind: &str, pid: i64, after: usize| {
            let rest = events.iter().enumerate().skip(after);
            let mut found =
                rest.filter(|(_, event)| event.0 == kind && (pid == 0 || event.1 == pid));
            found.next().map(|(index, _)| index)
        };
        let asked: Vec<(usize, i64)> = (0..events.len())
            .filter(|&index| events[index].0 == "worker.recycled")
            .map(|index| (index, events[index].1))
            .collect();
        assert!(asked.len() >= 2, "{events:?}");
        let mut checked = 0;
        for (index, pid) in asked {
            let Some(left) = at("worker.leaving", pid, index) else {
                continue; // The load was over first.
            };
            let ready = at("worker.ready", 0, index);
            assert!(ready.is_some_and(|ready| ready < left), "{pid}: {events:?}");
            checked += 1;
        }
        assert!(checked >= 2, "{events:?}");
        daemon.stop();
    }
}

/// Cut off in the middle of the request, of the answer, or before it.
fn abort(socket: &Path, number: usize) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let body = "x".repeat(3000);
    let length = body.len();
    let request = [
        "GET /large HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        format!("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"),
    ][number % 2]
        .clone();
    let cut = number * 977 % (request.len() + 1);
    let _ = stream.write_all(&request.as_bytes()[..cut]);
    if cut == request.len() {
        let _ = stream.read(&mut [0; 100]);
    }
}

fn reload(daemon: &mut Daemon, control: &Control) {
    let before = control.status()["generation"].as_u64().unwrap();
    daemon.signal(Signal::SIGHUP);
    wait::until("the next generation", || {
        (control.status()["generation"].as_u64()? > before).then_some(())
    });
    wait_settled(control);
}

/// A round of every fault there is.
fn faults(
    daemon: &mut Daemon,
    address: &Address,
    control: &Control,
    folder: &Folder,
    times: usize,
) {
    let load = Load::start(address.clone(), &mix());
    for _ in 0..times {
        let victim = wait_settled(control)[0];
        process::signal(victim, Signal::SIGKILL);
        process::wait_gone(victim);
        wait_settled(control);
        reload(daemon, control);
    }
    drop(load.stop());
    (0..times * 100).for_each(|number| abort(&folder.join("app.sock"), number));
    leak_until_replaced(address, control);
    // Workers that have served, and nothing under way.
    reload(daemon, control);
    for worker in control.status()["detail"]["workers"].as_array().unwrap() {
        let socket = worker["socket"].as_str().unwrap();
        let mut client = Client::connect(PathBuf::from(socket.trim_start_matches("unix:")));
        for _ in 0..20 {
            assert_eq!(client.ask(&Request::get("/large")).status, 200);
        }
    }
    wait::until("no connection to be left", || {
        let status = control.status();
        let list = status["detail"]["workers"].as_array()?;
        let idle = |worker: &Value| worker["connections"] == 0;
        (list.len() == 2 && list.iter().all(idle)).then_some(())
    });
}

#[test]
fn descriptors_threads_and_memory_are_flat_after_every_kind_of_fault() {
    let Some(venv) = tools::venv() else { return };
    for kind in KINDS {
        let folder = Folder::new();
        let limit = LIMIT.to_string();
        let (mut daemon, address, control) =
            server(&venv, &folder, kind, &["--max-worker-memory", &limit]);
        // The first round fills caches.
        let mut sizes = Vec::new();
        for times in [1, 4] {
            faults(&mut daemon, &address, &control, &folder, times);
            let workers = wait_settled(&control);
            sizes.push((size(daemon.pid()), size(workers[0]), size(workers[1])));
        }
        assert_flat("the arbiter", sizes[0].0, sizes[1].0, 2048);
        assert_flat("a worker", sizes[0].1, sizes[1].1, 8192);
        assert_flat("a worker", sizes[0].2, sizes[1].2, 8192);
        assert_eq!(get(address, "/still").text(), "/still");
        daemon.stop();
    }
}

/// A memory cgroup below the one that the tests are in, gone at the end.
struct Group {
    folder: PathBuf,
}

impl Group {
    /// `None` after saying that the machine has none for us: its kernel, or who runs us, may not let us make one.
    fn new(limit: u64) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = |wanted: &str| {
            let line = groups.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers
                    .split(',')
                    .any(|name| name == wanted)
                    .then_some(path)
            });
            line.map(|path| path.trim_start_matches('/').to_owned())
        };
        // Version 1 has a tree for memory alone, version 2 one tree for all.
        let version_1 = path("memory").map(|path| Path::new("/sys/fs/cgroup/memory").join(path));
        let version_2 = path("").map(|path| Path::new("/sys/fs/cgroup").join(path));
        let made = [version_1, version_2]
            .into_iter()
            .flatten()
            .find_map(|parent| {
                let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
                let folder = parent.join(format!("trine-test-{}", std::process::id()));
                fs::create_dir(&folder).ok()?;
                let group = Self { folder };
                let set =
                    |name: &str, value: &str| fs::write(group.folder.join(name), value).is_ok();
                // Without swap, where there is any.
                let limited = if set("memory.max", &limit.to_string()) {
                    set("memory.swap.max", "0");
                    true
                } else {
                    let limited = set("memory.limit_in_bytes", &limit.to_string());
                    set("memory.memsw.limit_in_bytes", &limit.to_string());
                    limited
                };
                limited.then_some(group)
            });
        if made.is_none() {
            tools::skip_where_impossible("no memory cgroup can be made below that of the tests");
        }
        made
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process may still be on its way out.
        for _ in 0..200 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_worker_that_the_kernel_kills_for_want_of_memory_is_explained_and_replaced() {
    let Some(venv) = tools::venv() else { return };
    let limit = 160 * 1024 * 1024;
    let Some(group) = Group::new(limit) else {
        return;
    };
    for kind in KINDS {
        let folder = Folder::new();
        let bind = format!("unix:{}", folder.join("app.sock").display());
        let launch = Launch::program("/bin/sh")
            .args([
                "-c",
                "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"",
                "sh",
            ])
            .arg(&group.folder)
            .arg(tools::binary("trine-wsgi"))
            .arg("--chdir")
            .arg(tools::apps())
            .args(["-b", &bind, "--control"])
            .arg(folder.join("wsgi.sock"))
            .args(kind)
            .arg("faults:app")
            .env("VIRTUAL_ENV", &venv)
            .env("STORY", folder.path());
        let mut daemon = launch.notify().start(&folder).wait_ready();
        let control = Control::new(folder.join("wsgi.sock"));
        wait_settled(&control);
        let load = Load::start(folder.join("app.sock"), &leaking());
        let name = group.folder.file_name().unwrap().to_str().unwrap();
        daemon.wait_output("The kernel's OOM killer ended it, as cgroup /");
        let log = daemon.output();
        let line = log
            .lines()
            .find(|line| line.contains("OOM killer"))
            .unwrap();
        let told = format!("/{name} was out of memory (limit 160.0 MiB");
        assert!(
            line.contains("was sent SIGKILL!")
                && line.contains(&told)
                && line.contains("GET /leak?"),
            "{line}"
        );
        load.wait_for_more(1);
        // Only what was inside a worker that died can have failed.
        let report = load.stop();
        let deaths = daemon.output().matches("was sent SIGKILL!").count();
        assert!(
            report.failed().len() <= deaths * 5,
            "{deaths} deaths: {report:?}"
        );
        let metrics = control.call(Request::get("/metrics")).unwrap().text();
        let count = metrics
            .lines()
            .find(|line| line.contains("cause=\"oom\""))
            .unwrap();
        assert!(!count.ends_with(" 0"), "{count}");
        wait_settled(&control);
        assert_eq!(get(folder.join("app.sock"), "/still").text(), "/still");
        daemon.stop();
    }
}
