//! What goes wrong around the cache: a disk that is full or broken, a kill in the middle of a write, a folder with very many
//! files, very many clients for one answer.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{answer, ask, cached, get, send, was};
use crate::harness::{Client, Daemon, PATIENCE, Upstream};
use crate::nginx_conf::{front, start};

const FRESH: &str = "Cache-Control: max-age=600";

/// The same without folders in the folder, so that its files can be named.
fn flat(zone: &str) -> (Daemon, Upstream) {
    let daemon = start(
        &format!("proxy_cache_path @dir@/kept keys_zone=z:{zone} inactive=1h;"),
        "location / { proxy_pass http://unix:@dir@/app.sock:/; proxy_cache z; proxy_cache_lock on;
         add_header X-Was $upstream_cache_status always; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    (daemon, app)
}

fn again(daemon: &mut Daemon) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(daemon.path("nginx.conf"));
    daemon.kill_and_start(command);
}

/// The files of kept answers, and those that are being written.
fn files(daemon: &Daemon) -> (Vec<String>, Vec<String>) {
    let names = fs::read_dir(daemon.path("kept")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.partition(|name| !name.starts_with("new."))
}

#[test]
fn a_full_or_broken_disk_only_costs_the_files() {
    let (mut daemon, app) = flat("10m");
    // The names under which the next answers will be written lead to where writing fails.
    for (number, target) in ["/dev/full", "/proc/self/mem"].iter().enumerate() {
        let name = format!("kept/new.{}.{number}", daemon.pid());
        symlink(target, daemon.path(&name)).unwrap();
    }
    for (path, said) in [
        ("/full", "No space left on device"),
        ("/broken", "Input/output error"),
    ] {
        let (reply, _) = ask(
            &daemon,
            &app,
            &format!("GET {path} HTTP/1.1"),
            &answer(FRESH, path),
        );
        assert_eq!((reply.text(), was(&reply)), (path, "MISS"));
        daemon.wait_log(said);
        let reply = get(&daemon, path);
        assert_eq!((reply.text(), was(&reply)), (path, "HIT"));
    }
    ask(&daemon, &app, "GET /good HTTP/1.1", &answer(FRESH, "good"));
    wait_files(&daemon, 1);
    // What was written is there after a start, until it cannot be read.
    again(&mut daemon);
    assert_eq!(was(&get(&daemon, "/good")), "HIT");
    let name = daemon.path("kept").join(&files(&daemon).0[0]);
    fs::remove_file(&name).unwrap();
    symlink("/proc/self/mem", &name).unwrap();
    again(&mut daemon);
    let (reply, _) = ask(
        &daemon,
        &app,
        "GET /good HTTP/1.1",
        &answer(FRESH, "better"),
    );
    assert_eq!((reply.text(), was(&reply)), ("better", "MISS"));
    daemon.wait_log("cannot read a kept answer: Input/output error");
    assert_eq!(was(&get(&daemon, "/good")), "HIT");
}

/// Waits until so many answers are kept in files, and none is being written.
#[track_caller]
fn wait_files(daemon: &Daemon, count: usize) {
    let end = Instant::now() + PATIENCE;
    while files(daemon).0.len() != count || !files(daemon).1.is_empty() {
        assert!(Instant::now() < end, "{:?}", files(daemon));
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_file_system_keeps_its_free_room() {
    let (mut daemon, app) = flat("10m");
    let conf = daemon.path("nginx.conf");
    let plain = fs::read_to_string(&conf).unwrap();
    let reserve = |room: &str| {
        let bounds = format!("inactive=1h min_free={room};");
        let text = plain.replace("inactive=1h;", &bounds);
        assert_ne!(text, plain);
        fs::write(&conf, text).unwrap();
    };
    let keep = |daemon: &Daemon, path: &str| {
        let request = format!("GET {path} HTTP/1.1");
        let (reply, _) = ask(daemon, &app, &request, &answer(FRESH, path));
        assert_eq!((reply.text(), was(&reply)), (path, "MISS"));
    };
    keep(&daemon, "/old");
    wait_files(&daemon, 1);
    let old = daemon.path("kept").join(&files(&daemon).0[0]);
    for path in ["/a", "/b"] {
        keep(&daemon, path);
    }
    wait_files(&daemon, 3);
    // That one goes in any case, which shows when the folder was looked through: at the first answer after a start.
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    let times = FileTimes::new()
        .set_accessed(long_ago)
        .set_modified(long_ago);
    File::open(&old).unwrap().set_times(times).unwrap();
    reserve("1k");
    again(&mut daemon);
    keep(&daemon, "/c");
    let end = Instant::now() + PATIENCE;
    while old.exists() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(2));
    }
    // There is that much room, so everything else stays.
    reserve("8000000000g");
    again(&mut daemon);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(was(&get(&daemon, path)), "HIT", "{path}");
    }
    wait_files(&daemon, 3);
    // No file system has as much as is to be free now, so everything goes that can.
    keep(&daemon, "/d");
    wait_files(&daemon, 0);
    again(&mut daemon);
    for path in ["/a", "/d"] {
        keep(&daemon, path);
    }
    app.expect_untouched();
}

/// The body that belongs to a path.
fn body(path: &str) -> String {
    path.repeat(200_000 / path.len())
}

#[test]
fn a_kill_between_two_writes_leaves_nothing_torn() {
    let (mut daemon, app) = flat("64k");
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let serve = || {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let Some(mut link) = app.try_accept() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                // The proxy may have been killed meanwhile.
                let Some(head) = link.try_read_head() else {
                    continue;
                };
                let path = head.split(' ').nth(1).unwrap();
                let _ = link.try_write(answer(FRESH, &body(path)));
            }
        };
        scope.spawn(serve);
        let mut hits = 0;
        for round in 0..4 {
            let paths: Vec<String> = (0..30)
                .map(|number| format!("/r{round}/{number}"))
                .collect();
            let clients: Vec<Client> = paths
                .iter()
                .map(|path| send(&daemon, &format!("GET {path} HTTP/1.1")))
                .collect();
            // As soon as some are written and others are not.
            let end = Instant::now() + PATIENCE;
            while files(&daemon).0.len() < 5 * (round + 1) {
                assert!(Instant::now() < end);
            }
            again(&mut daemon);
            drop(clients);
            for path in &paths {
                let reply = get(&daemon, path);
                assert!(
                    reply.text() == body(path),
                    "{path}: {} bytes",
                    reply.text().len()
                );
                hits += usize::from(was(&reply) == "HIT");
            }
        }
        assert!(hits > 0);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert!(!daemon.log().contains("cannot be read"), "{}", daemon.log());
}

#[test]
fn a_hundred_thousand_files_are_not_looked_at_before_they_are_asked_for() {
    let (mut daemon, app) = flat("10m");
    ask(&daemon, &app, "GET /a HTTP/1.1", &answer(FRESH, "kept"));
    let end = Instant::now() + PATIENCE;
    while files(&daemon).0.len() != 1 {
        assert!(Instant::now() < end);
    }
    let folder = daemon.path("kept");
    let name = folder.join(&files(&daemon).0[0]);
    // A file may not have so many names on every file system, so there are some files.
    let mut source = name.clone();
    for number in 0..100_000 {
        let other = folder.join(format!("{number:040x}"));
        if number % 10_000 == 0 {
            fs::copy(&name, &other).unwrap();
            source = other;
        } else {
            fs::hard_link(&source, &other).unwrap();
        }
    }
    let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    watch.add_watch(&folder, AddWatchFlags::IN_OPEN).unwrap();
    again(&mut daemon);
    let opened = |watch: &Inotify| {
        let events = watch.read_events().unwrap_or_default();
        events.into_iter().filter_map(|event| event.name).count()
    };
    assert_eq!(opened(&watch), 0);
    let reply = get(&daemon, "/a");
    assert_eq!((reply.text(), was(&reply)), ("kept", "HIT"));
    assert_eq!(opened(&watch), 1);
}

#[test]
fn a_thousand_clients_for_one_expired_answer_cost_one_request() {
    let (daemon, app) =
        cached("proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;");
    let stale = answer("Cache-Control: max-age=0\r\nETag: \"v\"", "old");
    ask(&daemon, &app, "GET /a HTTP/1.1", &stale);
    let address = front(&daemon);
    let connect = |_| Client::connect(&address);
    let mut clients: Vec<Client> = (0..1000).map(connect).collect();
    for client in &mut clients {
        client.send("GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n");
    }
    let mut link = app.accept();
    assert!(link.read_head().contains("If-None-Match: \"v\""));
    // Nobody else comes: those that are there wait, and those that are late find the new one.
    link.write(answer(FRESH, "new"));
    drop(link);
    for client in &mut clients {
        assert_eq!(client.reply().text(), "new");
    }
    app.expect_untouched();
}
