//! Upgrades in place (USR2, WINCH, QUIT), the background, users, and what a reload may change besides the code.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use harness::{Server, apps, shown, signal_pid, wait_for};
use nix::sys::signal::Signal;

impl Server {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn wait_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    /// Waits for a pid file that names another process than `not`.
    fn wait_pid(&self, name: &str, not: i32) -> i32 {
        wait_for(name, || pid_in(&self.path(name)).filter(|pid| *pid != not))
    }
}

fn pid_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_gone(pid: i32) {
    wait_for("its end", || (!is_alive(pid)).then_some(()));
}

fn parent_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

/// Asks until the worker that answers is a child of `arbiter`.
fn wait_served_by(server: &Server, arbiter: i32) {
    wait_for("an answer of the other arbiter's", || {
        let worker: i32 = server.get("/").parse().ok()?;
        (is_alive(worker) && parent_of(worker) == arbiter).then_some(())
    });
}

fn with_pidfile(more: &[&str]) -> Server {
    Server::spawn_in(|dir| {
        let pid = dir.join("pid").display().to_string();
        let more = more.iter().map(|word| (*word).to_owned());
        let own = ["-p", &pid, "slow:application"].map(str::to_owned);
        more.chain(own).collect()
    })
}

/// Asks all the time, one connection each; every answer counts.
struct Asking(
    std::sync::Arc<std::sync::atomic::AtomicBool>,
    std::thread::JoinHandle<usize>,
);

impl Asking {
    fn start(server: &Server) -> Self {
        let (path, stop) = (server.path("app.sock"), std::sync::Arc::default());
        let seen = std::sync::Arc::clone(&stop);
        let asking = std::thread::spawn(move || {
            let (mut count, stop): (usize, std::sync::Arc<std::sync::atomic::AtomicBool>) =
                (0, seen);
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let mut stream = UnixStream::connect(&path).expect("connecting");
                stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    .expect("asking");
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).expect("an answer");
                assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", shown(&answer));
                count += 1;
            }
            count
        });
        Self(stop, asking)
    }

    fn stop(self) -> usize {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        self.1.join().expect("every request is answered")
    }
}

#[test]
fn an_upgrade_loses_nothing() {
    let mut server = with_pidfile(&[]);
    server.wait_notified("READY=1");
    let asking = Asking::start(&server);
    let old = server.pid();
    assert_eq!(pid_in(&server.path("pid")), Some(old));
    server.signal(Signal::SIGUSR2);
    let new = server.wait_pid("pid.2", old);
    assert_eq!(parent_of(new), old);
    server.wait_notified("READY=1");
    server.signal(Signal::SIGUSR2);
    server.wait_log("USR2 signal ignored. Child exists.");
    signal_pid(new, Signal::SIGUSR2);
    server.wait_log("USR2 signal ignored. Parent exists.");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0, "{}", server.log());
    server.wait_log("Master has been promoted.");
    assert_eq!(server.wait_pid("pid", old), new);
    wait_for("the second pid file to go", || {
        (!server.path("pid.2").exists()).then_some(())
    });
    wait_served_by(&server, new);
    assert!(asking.stop() > 10);
    // The new one can be upgraded in its turn, and its end is the socket's.
    signal_pid(new, Signal::SIGUSR2);
    let newest = server.wait_pid("pid.2", new);
    server.wait_notified("READY=1");
    signal_pid(new, Signal::SIGQUIT);
    wait_gone(new);
    assert_eq!(server.wait_pid("pid", new), newest);
    wait_served_by(&server, newest);
    signal_pid(newest, Signal::SIGTERM);
    wait_gone(newest);
    assert!(!server.path("app.sock").exists(), "{}", server.log());
    assert!(!server.path("pid").exists());
}

#[test]
fn an_upgrade_in_the_background_can_be_backed_out() {
    let mut server = Server::spawn_in(|dir| {
        let dir = dir.display();
        let text = format!("-D -p {dir}/pid --error-logfile {dir}/error.log slow:application");
        text.split(' ').map(str::to_owned).collect()
    });
    assert_eq!(server.exit_code(), 0, "the caller does not wait");
    let old = server.wait_pid("pid", 0);
    server.wait_notified("READY=1");
    wait_served_by(&server, old);
    let log = || fs::read_to_string(server.path("error.log")).unwrap();
    assert_eq!(
        fs::read_link(format!("/proc/{old}/fd/0")).unwrap(),
        Path::new("/dev/null")
    );
    assert_eq!(
        fs::read_link(format!("/proc/{old}/fd/2")).unwrap(),
        Path::new("/dev/null")
    );
    let asking = Asking::start(&server);
    signal_pid(old, Signal::SIGUSR2);
    let new = server.wait_pid("pid.2", old);
    server.wait_notified("READY=1");
    signal_pid(old, Signal::SIGWINCH);
    wait_for("the old workers' end", || {
        log().contains("has ended after").then_some(())
    });
    assert!(log().contains("graceful stop of workers"));
    for _ in 0..20 {
        let worker: i32 = server.get("/").parse().unwrap();
        assert_eq!(parent_of(worker), new);
    }
    // Back out.
    signal_pid(old, Signal::SIGHUP);
    server.wait_notified("READY=1");
    // QUIT would do, and end the requests that it is at.
    signal_pid(new, Signal::SIGTERM);
    wait_gone(new);
    wait_served_by(&server, old);
    assert!(asking.stop() > 10);
    wait_for("the end of the new one to be told", || {
        log().contains("the other arbiter").then_some(())
    });
    signal_pid(old, Signal::SIGTERM);
    wait_gone(old);
    assert!(
        !server.path("app.sock").exists() && !server.path("pid").exists(),
        "{}",
        log()
    );
}

#[test]
fn a_pid_file_of_a_living_process_is_respected_and_a_stale_one_replaced() {
    let server = with_pidfile(&[]);
    server.wait_notified("READY=1");
    let pid = server.path("pid").display().to_string();
    let mut second =
        Server::spawn_in(|_| ["-p", &pid, "slow:application"].map(str::to_owned).to_vec());
    assert_eq!(second.exit_code(), 1, "{}", second.log());
    assert!(
        second.log().contains(&server.pid().to_string()),
        "{}",
        second.log()
    );
    server.stop();
    let third = Server::spawn_in(|dir| {
        fs::write(dir.join("pid"), "999999999\n").unwrap();
        vec![
            "-p".to_owned(),
            dir.join("pid").display().to_string(),
            "slow:application".to_owned(),
        ]
    });
    third.wait_notified("READY=1");
    assert_eq!(pid_in(&third.path("pid")), Some(third.pid()));
    third.stop();
}

#[test]
fn workers_change_their_user_and_the_arbiter_does_not() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: users cannot be changed");
        return;
    }
    let server = Server::spawn_in(|dir| {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        let log = dir.join("access.log").display().to_string();
        let words = [
            // Preloaded, as this Python may lie where others cannot read.
            "--preload",
            "-u",
            "nobody",
            "-g",
            "nogroup",
            "-m",
            "027",
            "--access-logfile",
            &log,
            "slow:application",
        ];
        words.map(str::to_owned).to_vec()
    });
    server.wait_notified("READY=1");
    let worker: i32 = server.get("/").parse().unwrap();
    let nobody = nix::unistd::User::from_name("nobody")
        .unwrap()
        .unwrap()
        .uid
        .as_raw();
    let owner = |pid: i32| fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_eq!((owner(worker), owner(server.pid())), (nobody, 0));
    let socket = fs::metadata(server.path("app.sock")).unwrap();
    assert_eq!(
        (socket.permissions().mode() & 0o777, socket.uid()),
        (0o750, nobody)
    );
    assert_eq!(
        fs::metadata(server.path("access.log")).unwrap().uid(),
        nobody
    );
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let groups = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap();
    assert!(
        !groups.split_whitespace().any(|group| group == "0"),
        "{groups}"
    );
    server.stop();
}

#[test]
fn a_reload_may_change_sockets_variables_and_the_pid_file() {
    let conf = |dir: &Path, socket: &str, env: &str, pid: &str| {
        let dir = dir.display();
        let text = format!(
            "bind = 'unix:{dir}/{socket}'\nraw_env = [{env}]\npidfile = '{dir}/{pid}'\ncontrol_socket = '{dir}/control.sock'\n"
        );
        fs::write(format!("{dir}/conf.py"), text).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    conf(dir.path(), "app.sock", "'ONE=1', 'TWO=2'", "pid");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-wsgi"));
    command
        .env("TWO", "at the start")
        .arg("--chdir")
        .arg(apps());
    command
        .arg("-c")
        .arg(dir.path().join("conf.py"))
        .arg("slow:application");
    let server = Server::launch(command, dir);
    server.wait_notified("READY=1");
    assert_eq!(
        (
            server.get("/env/ONE").as_str(),
            server.get("/env/TWO").as_str()
        ),
        ("1", "2")
    );
    // A socket that cannot be: nothing changes.
    conf(server.dir.path(), "none/app.sock", "'ONE=other'", "pid");
    server.signal(Signal::SIGHUP);
    server.wait_log("the reload failed, the old workers serve on: cannot listen on");
    assert_eq!(server.get("/env/ONE"), "1");
    conf(server.dir.path(), "other.sock", "'THREE=3'", "pid.new");
    server.signal(Signal::SIGHUP);
    wait_for("the other socket", || {
        UnixStream::connect(server.path("other.sock")).ok()
    });
    wait_for("the first socket to go", || {
        (!server.path("app.sock").exists()).then_some(())
    });
    assert_eq!(server.wait_pid("pid.new", 0), server.pid());
    assert!(!server.path("pid").exists());
    fs::rename(server.path("other.sock"), server.path("app.sock")).unwrap();
    let asked = ["ONE", "TWO", "THREE"].map(|name| server.get(&format!("/env/{name}")));
    assert_eq!(asked, ["", "at the start", "3"]);
    fs::rename(server.path("app.sock"), server.path("other.sock")).unwrap();
    server.stop();
}

#[test]
fn what_waits_at_a_socket_that_a_reload_takes_away_is_answered() {
    let conf = |dir: &Path, sockets: &[&str]| {
        let bind = sockets
            .iter()
            .map(|name| format!("'unix:{}/{name}'", dir.display()));
        let bind = bind.collect::<Vec<_>>().join(", ");
        fs::write(
            dir.join("conf.py"),
            format!("bind = [{bind}]\nworkers = 2\n"),
        )
        .unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    conf(dir.path(), &["app.sock", "other.sock"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-wsgi"));
    command.arg("--chdir").arg(apps());
    command
        .arg("--control")
        .arg(dir.path().join("control.sock"));
    command
        .arg("-c")
        .arg(dir.path().join("conf.py"))
        .arg("slow:application");
    let server = Server::launch(command, dir);
    server.wait_notified("READY=1");
    server.wait_ready(2);
    let old = server.workers();
    // Nobody accepts while they stand still.
    old.iter().for_each(|pid| signal_pid(*pid, Signal::SIGSTOP));
    let waiting: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = UnixStream::connect(server.path("other.sock")).unwrap();
            stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    conf(server.dir.path(), &["app.sock"]);
    server.signal(Signal::SIGHUP);
    wait_for("the socket to go", || {
        (!server.path("other.sock").exists()).then_some(())
    });
    old.iter().for_each(|pid| signal_pid(*pid, Signal::SIGCONT));
    for mut stream in waiting {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", shown(&answer));
    }
    server.stop();
}

#[test]
fn old_workers_leave_by_age_and_by_number_of_requests() {
    let server = Server::start(&[
        "--max-requests",
        "5",
        "--max-requests-jitter",
        "3",
        "-w",
        "2",
        "slow:application",
    ]);
    let mut seen = std::collections::BTreeSet::new();
    wait_for("ten workers", || {
        seen.insert(server.get("/"));
        (seen.len() >= 10 && !seen.contains("")).then_some(())
    });
    server.wait_log("Autorestarting worker after current request.");
    server.stop();
    let server = Server::start(&["--max-worker-lifetime", "1", "slow:application"]);
    let first = server.workers();
    wait_for("another worker alone", || {
        let now = server.workers();
        (now.len() == 1 && now != first).then_some(())
    });
    assert!(
        server
            .log()
            .contains("is as old as max_worker_lifetime allows")
    );
    server.stop();
}

#[test]
fn sockets_of_each_worker_own() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-wsgi"));
    command
        .args([
            "--reuse-port",
            "-w",
            "2",
            "-b",
            &address,
            "slow:application",
        ])
        .current_dir(apps());
    let server = Server::launch(command, dir);
    server.wait_notified("READY=1");
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    server.stop();
}

#[test]
fn with_reload_a_syntax_error_is_a_page_and_goes_when_it_is_mended() {
    let server = Server::spawn_in(|dir| {
        fs::write(dir.join("dev.py"), "def app(:\n").unwrap();
        let folder = dir.display().to_string();
        ["--reload", "--chdir", &folder, "dev:app"]
            .map(str::to_owned)
            .to_vec()
    });
    server.wait_notified("READY=1");
    assert!(server.get("/").contains("SyntaxError"), "{}", server.log());
    let good = |text: &str| {
        let app =
            format!("def app(environ, start):\n    start('200 OK', [])\n    return [b'{text}']\n");
        fs::write(server.path("dev.py"), app).unwrap();
        wait_for(text, || (server.get("/") == text).then_some(()));
    };
    good("mended");
    fs::write(server.path("dev.py"), "def app(:\n").unwrap();
    wait_for("the page again", || {
        server.get("/").contains("SyntaxError").then_some(())
    });
    good("mended again");
    server.stop();
}
