//! The holder makes way for a newer program, and brains that hang are replaced: programs notice neither.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod rig;

use nix::sys::signal::Signal;
use rig::{Rig, binary, is_alive, signal};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const PROGRAMS: &str = "  talker:
    command: [python3, -c, \"import itertools,os,time\\nfor n in itertools.count(): os.write(1, b'%d\\\\n' % n); time.sleep(0.001)\"]
    startsecs: 0s
    stdout_logfile: talker.log
  web:
    command: [sleep, '1000']
    startsecs: 0s
    sockets: { http: '127.0.0.1:0', local: 'unix:web.sock' }
  ender:
    command: [sh, -c, 'trap \"exit 7\" USR1; : > trapped; while true; do sleep 0.01; done']
    startsecs: 0s
    autorestart: false
";

/// A copy of our program, changed by `change`.
fn copy(folder: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let path = folder.join(name);
    let mut bytes = std::fs::read(binary()).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn executed(pid: i32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// Whether they are all the numbers from 0 on.
fn are_whole(text: &str) -> bool {
    let lines = text.lines().enumerate();
    text.ends_with('\n') && lines.into_iter().all(|(n, line)| line == n.to_string())
}

#[test]
fn programs_live_on_while_the_holder_becomes_a_newer_program() {
    let rig = Rig::start(PROGRAMS);
    let pids = ["talker", "web", "ender"].map(|name| rig.running_pid(name));
    let listeners = rig.get("/v1/status")["listeners"].clone();
    rig.until("the trap", || rig.path("trapped").exists().then_some(()));
    rig.until("the talker", || {
        std::fs::read_to_string(rig.path("talker.log"))
            .is_ok_and(|text| text.contains('\n'))
            .then_some(())
    });
    let holder = rig.holder();
    for round in 1..=3 {
        let newer = copy(rig.folder.path(), &format!("newer{round}"), |_| {});
        // There is no answer: the brain that would give it goes with the old program.
        let _ = rig.call("POST", &format!("/v1/upgrade?program={}", newer.display()));
        let status = rig.until("the upgrade", || {
            rig.try_get("/v1/status")
                .filter(|status| status["detail"]["upgrades"] == round)
        });
        assert_eq!(status["pid"], holder);
        assert_eq!(executed(holder), newer);
        assert_eq!(executed(rig.brain().unwrap()), newer);
        assert_eq!(status["listeners"], listeners, "the same sockets");
    }
    let now = ["talker", "web", "ender"].map(|name| rig.running_pid(name));
    assert_eq!(now, pids, "the same processes");
    let addresses = listeners.as_array().unwrap().iter();
    let address = addresses
        .filter_map(|one| one["address"].as_str())
        .find(|address| address.starts_with("127."))
        .unwrap();
    std::net::TcpStream::connect(address).expect("the TCP socket still listens");
    UnixStream::connect(rig.path("web.sock")).expect("the Unix socket still listens");
    signal(pids[2], Signal::SIGUSR1);
    assert_eq!(rig.wait_state("ender", "EXITED")["exit_code"], 7);
    rig.post("/v1/programs/talker/stop?wait=true");
    let text = rig.read("talker.log");
    let wrong = text
        .lines()
        .enumerate()
        .find(|(n, line)| *line != n.to_string());
    assert!(
        are_whole(&text),
        "lines are lost or doubled: {wrong:?} of {}, the end is {:?}",
        text.lines().count(),
        &text[text.len().saturating_sub(30)..]
    );
    assert_eq!(rig.read("s.pid").trim(), holder.to_string());
    let log = rig.read("supervisor.log");
    assert!(log.contains("upgraded to version") && !log.contains("the brain was replaced"));
    let open = std::fs::read_dir(format!("/proc/{holder}/fd"))
        .unwrap()
        .count();
    assert!(
        open < 40,
        "{open} descriptors: some are left over from upgrades"
    );
    let unix = rig.path("web.sock");
    rig.stop();
    assert!(!unix.exists());
}

#[test]
fn a_program_that_cannot_take_over_is_refused() {
    let rig = Rig::start(PROGRAMS);
    let web = rig.running_pid("web");
    for (program, reason) in [
        ("/bin/false", "cannot take over"),
        ("/bin/no-such-program", "No such file"),
        ("/dev/null", "Permission denied"),
    ] {
        let (status, body) = rig
            .call("POST", &format!("/v1/upgrade?program={program}"))
            .unwrap();
        assert_eq!(status, 409, "{program}: {body}");
        assert!(
            body["detail"].as_str().unwrap().contains(reason),
            "{program}: {body}"
        );
    }
    assert_eq!(rig.running_pid("web"), web);
    assert_eq!(rig.get("/v1/status")["detail"]["upgrades"], 0);
    assert_eq!(executed(rig.holder()), Path::new(binary()));
    rig.stop();
}

#[test]
fn the_old_program_comes_back_when_the_new_one_has_no_brain_that_works() {
    let rig = Rig::start(PROGRAMS);
    let web = rig.running_pid("web");
    // It starts its brains with an argument that it does not know itself.
    let broken = copy(rig.folder.path(), "broken", |bytes| {
        let (from, to) = (b"--brain", b"--drain");
        let mut at = 0;
        while let Some(place) = bytes[at..].windows(from.len()).position(|w| w == from) {
            at += place;
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        assert!(at > 0, "the argument was not found");
    });
    let _ = rig.call("POST", &format!("/v1/upgrade?program={}", broken.display()));
    rig.until("the way there and back", || {
        rig.try_get("/v1/status")
            .filter(|status| status["detail"]["upgrades"] == 2)
    });
    assert_eq!(executed(rig.holder()), Path::new(binary()));
    assert_eq!(rig.running_pid("web"), web);
    rig.stop();
}

#[test]
fn a_brain_that_hangs_is_replaced() {
    let rig = Rig::start("  web:\n    command: [sleep, '1000']\n    startsecs: 0s\n");
    let web = rig.running_pid("web");
    let brain = rig.brain().unwrap();
    signal(brain, Signal::SIGSTOP);
    // Somebody who wants to talk to it makes the holder look after it.
    let status = rig.until("another brain", || {
        rig.try_get("/v1/status")
            .filter(|status| status["detail"]["brain_pid"] != brain)
    });
    assert_eq!(status["detail"]["brains"], 2);
    assert!(!is_alive(brain));
    assert_eq!(rig.running_pid("web"), web);
    rig.stop();
}
