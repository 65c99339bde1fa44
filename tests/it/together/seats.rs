//! The proxy knows trine-wsgi's workers one by one: each gets what it has seats for, the rest waits in the proxy's line.

use std::thread;

use e2e::client::{self, Address, Request};
use e2e::control::Control;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::load::{Load, Mix};
use e2e::{port, tools, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// `/hold/N` writes the file `N.began` and answers once there is `N.go`; everything else is answered at once, with the pid.
const APP: &str = "import os, time
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path.startswith('/hold/'):
        name = path[6:]
        open(name + '.began', 'w').close()
        while not os.path.exists(name + '.go'):
            time.sleep(0.005)
    body = (environ.get('QUERY_STRING') or str(os.getpid())).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

struct Pair {
    wsgi: Daemon,
    proxy: Daemon,
    folder: Folder,
    front: Address,
}

impl Pair {
    fn start(arguments: &[&str]) -> Option<Self> {
        let venv = tools::venv()?;
        let (folder, front) = (Folder::new(), port::free());
        folder.write("held.py", APP);
        folder.write(
            "proxy.yaml",
            format!(
                "control: proxy.ctl\nservers:\n  - listen: [\"{front}\"]\n    locations: [{{ path: /, proxy: app }}]\n\
                 upstreams:\n  app: {{ servers: [\"unix:app.sock\"], capacity: wsgi.ctl }}\n"
            ),
        );
        let wsgi = wsgi(&folder, &venv, arguments);
        let launch = Launch::trine("trine-proxy").args(["-c", "proxy.yaml"]);
        let proxy = launch.notify().start(&folder).wait_ready();
        Some(Self {
            wsgi,
            proxy,
            folder,
            front: front.into(),
        })
    }

    /// What the proxy says of the upstream.
    fn upstream(&self) -> Value {
        let told = Control::new(self.folder.join("proxy.ctl")).get("/v1/upstreams");
        told["upstreams"][0].clone()
    }

    /// The sockets of the workers that the proxy knows, and how many requests each is at.
    fn workers(&self) -> Vec<(String, u64)> {
        let upstream = self.upstream();
        let servers = upstream["servers"].as_array().unwrap().iter();
        let workers = servers.filter(|one| one["address"].as_str().unwrap().contains(".workers/"));
        workers
            .map(|one| {
                let address = one["address"].as_str().unwrap().to_owned();
                (address, one["connections"].as_u64().unwrap())
            })
            .collect()
    }

    #[track_caller]
    fn wait_workers(&self, count: usize) -> Vec<String> {
        wait::until("the proxy to know the workers", || {
            let workers = self.workers();
            let sockets = workers.into_iter().map(|(socket, _)| socket);
            Some(sockets.collect::<Vec<_>>()).filter(|all| all.len() == count)
        })
    }

    /// A request that stays with the application until `go`.
    fn hold(&self, number: usize) -> thread::JoinHandle<String> {
        let front = self.front.clone();
        let asked =
            thread::spawn(move || client::get(front, &format!("/hold/{number}?{number}")).text());
        self.wait_file(&format!("{number}.began"));
        asked
    }

    fn wait_file(&self, name: &str) {
        wait::until("the application to be called", || {
            self.folder.join(name).exists().then_some(())
        });
    }

    fn go(&self, number: usize) {
        self.folder.write(&format!("{number}.go"), "");
    }

    fn stop(self) {
        self.proxy.stop();
        self.wsgi.stop();
    }
}

fn wsgi(folder: &Folder, venv: &std::path::Path, arguments: &[&str]) -> Daemon {
    Launch::trine("trine-wsgi")
        .args(["-b", "unix:app.sock", "--control", "wsgi.ctl"])
        .args(arguments)
        .arg("held:app")
        .env("VIRTUAL_ENV", venv)
        .notify()
        .start(folder)
        .wait_ready()
}

#[test]
fn no_worker_gets_more_than_it_has_seats_for() {
    let Some(pair) = Pair::start(&["-w", "2"]) else {
        return;
    };
    pair.wait_workers(2);
    let held: Vec<_> = (0..2).map(|number| pair.hold(number)).collect();
    let busy: Vec<u64> = pair.workers().iter().map(|(_, at)| *at).collect();
    assert_eq!(busy, [1, 1], "one request to each");
    // What comes now waits here and nowhere else: nobody is about to call the application for it.
    let waiting: Vec<_> = (2..5)
        .map(|number| {
            let front = pair.front.clone();
            thread::spawn(move || client::get(front, &format!("/hold/{number}?{number}")).text())
        })
        .collect();
    wait::until("three requests to wait in line", || {
        (pair.upstream()["waiting"] == 3).then_some(())
    });
    assert_eq!(pair.workers().iter().map(|(_, at)| at).sum::<u64>(), 2);
    assert!((2..5).all(|number| !pair.folder.join(format!("{number}.began")).exists()));
    // A worker more takes one of them as soon as it is there; one that is done takes the next.
    for number in 2..5 {
        pair.go(number);
    }
    pair.go(0);
    for (number, asked) in waiting.into_iter().enumerate() {
        assert_eq!(asked.join().unwrap(), (number + 2).to_string());
    }
    assert_eq!(pair.upstream()["waiting"], 0);
    pair.go(1);
    for (number, asked) in held.into_iter().enumerate() {
        assert_eq!(asked.join().unwrap(), number.to_string());
    }
    pair.stop();
}

#[test]
fn workers_that_come_and_go_are_followed() {
    let Some(mut pair) = Pair::start(&["-w", "2", "--threads", "3"]) else {
        return;
    };
    let first = pair.wait_workers(2);
    // As many as there are threads, shared out evenly.
    let held: Vec<_> = (0..6).map(|number| pair.hold(number)).collect();
    let busy: Vec<u64> = pair.workers().iter().map(|(_, at)| *at).collect();
    assert_eq!(busy, [3, 3]);
    // Who waits already is served by the worker that comes, though all others are as busy as before.
    let waiting: Vec<_> = (0..2)
        .map(|number| {
            let front = pair.front.clone();
            thread::spawn(move || client::get(front, &format!("/?waited{number}")).text())
        })
        .collect();
    wait::until("two requests to wait in line", || {
        (pair.upstream()["waiting"] == 2).then_some(())
    });
    pair.wsgi.signal(Signal::SIGTTIN);
    for (number, asked) in waiting.into_iter().enumerate() {
        assert_eq!(asked.join().unwrap(), format!("waited{number}"));
    }
    pair.wait_workers(3);
    assert_eq!(client::get(pair.front.clone(), "/?free").text(), "free");
    (0..6).for_each(|number| pair.go(number));
    for (number, asked) in held.into_iter().enumerate() {
        assert_eq!(asked.join().unwrap(), number.to_string());
    }
    pair.wsgi.signal(Signal::SIGTTOU);
    let two = pair.wait_workers(2);

    // A worker that is killed counts no more; another takes its place.
    let worker: i32 = client::get(pair.front.clone(), "/").text().parse().unwrap();
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    wait::until("another worker in its place", || {
        let now = pair.wait_workers(2);
        now.iter().any(|one| !two.contains(one)).then_some(())
    });

    // A reload of the application brings other workers, and fails nobody.
    let load = Load::start(
        pair.front.clone(),
        &Mix {
            connections: 4,
            gets: vec!["/?{id}"],
            post: None,
            pause: std::time::Duration::ZERO,
            close: false,
        },
    );
    load.wait_for_more(200);
    let before = pair.wait_workers(2);
    pair.wsgi.signal(Signal::SIGHUP);
    wait::until("the workers of the new generation", || {
        let now = pair.wait_workers(2);
        now.iter().all(|one| !before.contains(one)).then_some(())
    });
    load.wait_for_more(200);
    load.stop().assert_none_failed();
    assert!(first.iter().all(|one| !pair.wait_workers(2).contains(one)));
    pair.stop();
}

#[test]
fn without_the_feed_the_shared_socket_serves() {
    let Some(mut pair) = Pair::start(&["-w", "1"]) else {
        return;
    };
    pair.wait_workers(1);
    let held = pair.hold(0);
    // Nobody tells of the workers any more, and they serve until they have answered.
    kill(Pid::from_raw(pair.wsgi.pid()), Signal::SIGKILL).unwrap();
    pair.wsgi.wait_exit();
    pair.wait_workers(0);
    assert_eq!(
        pair.upstream()["servers"][0]["address"],
        format!("unix:{}", pair.folder.join("app.sock").display())
    );
    pair.go(0);
    assert_eq!(held.join().unwrap(), "0");
    // Another one is found by itself.
    let venv = tools::venv().unwrap();
    pair.wsgi = wsgi(&pair.folder, &venv, &["-w", "2"]);
    pair.wait_workers(2);
    let reply = client::ask(pair.front.clone(), &Request::get("/?again"));
    assert_eq!(reply.text(), "again");
    pair.stop();
}
