//! Real children: what they see of descriptors, signals, limits and failures.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use trine_sys::file::pipe_cloexec;
use trine_sys::limits::Resource;
use trine_sys::process::{self, Signal};
use trine_sys::spawn::{Spawn, SpawnStep, find_program};

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn shell<'fd>(script: &str) -> Spawn<'fd> {
    let mut spawn = Spawn::new(c("/bin/sh"));
    spawn.argv = vec![c("sh"), c("-c"), c(script)];
    spawn
}

/// Runs `script` with its output in a pipe and returns what it wrote and its exit code.
fn run(
    script: &str,
    fds: &[(BorrowedFd<'_>, i32)],
    change: impl FnOnce(&mut Spawn<'_>),
) -> (String, Option<i32>) {
    let (reader, writer) = pipe_cloexec().unwrap();
    let mut spawn = shell(script);
    spawn.env = vec![c("PATH=/usr/bin:/bin")];
    spawn.fds = [&[(writer.as_fd(), 1)], fds].concat();
    change(&mut spawn);
    let child = spawn.spawn().unwrap();
    drop(writer);
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    let (pid, status) = process::wait_pidfd(&child.pidfd).unwrap();
    assert_eq!(pid, child.pid);
    (text, status.code())
}

#[track_caller]
fn check(script: &str, change: impl FnOnce(&mut Spawn<'_>), want: &str) {
    let (text, _) = run(script, &[], change);
    assert_eq!(text.trim_end(), want, "script: {script}");
}

#[track_caller]
fn check_fds(script: &str, fds: &[(BorrowedFd<'_>, i32)], want: &str) {
    let (text, _) = run(script, fds, |_| ());
    assert_eq!(text.trim_end(), want, "script: {script}");
}

#[test]
fn what_the_child_gets() {
    check("echo hello; exit 3", |_| (), "hello");
    check(
        "echo $A $B",
        |s| s.env = vec![c("A=1"), c("B=two")],
        "1 two",
    );
    check("pwd", |s| s.cwd = Some(c("/usr")), "/usr");
    check("umask", |s| s.umask = Some(0o027), "0027");
    check(
        "ulimit -n",
        |s| s.rlimits = vec![(Resource::RLIMIT_NOFILE, 77, 78)],
        "77",
    );
    check(
        "nice",
        |s| (s.nice, s.env) = (Some(7), vec![c("PATH=/usr/bin:/bin")]),
        "7",
    );
    check(
        "echo $((LISTEN_PID == $$)) $LISTEN_FDS",
        |s| (s.listen_pid, s.env) = (true, vec![c("LISTEN_PID=1"), c("LISTEN_FDS=2")]),
        "1 2",
    );
    assert_eq!(run("exit 3", &[], |_| ()).1, Some(3));
}

#[test]
fn a_session_or_a_group_of_its_own() {
    let script = "read pid comm state ppid pgrp session rest </proc/self/stat; \
                  echo $((pgrp == $$)) $((session == $$))";
    check(script, |_| (), "0 0");
    check(script, |s| s.process_group = Some(0), "1 0");
    check(script, |s| s.setsid = true, "1 1");
}

#[test]
fn signals_start_afresh() {
    trine_sys::signals::ignore(Signal::SIGUSR1).unwrap();
    let mask = trine_sys::signals::block_all().unwrap();
    let (text, _) = run("grep -E '^Sig(Blk|Ign)' /proc/self/status", &[], |_| ());
    trine_sys::signals::restore(&mask).unwrap();
    let sets: Vec<_> = text
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(sets, ["0000000000000000"; 2]);
}

#[test]
fn descriptors_come_to_their_places_in_spite_of_overlap() {
    let open = |text: &str| -> OwnedFd {
        let fd = trine_sys::fdpass::memfd(c"words").unwrap();
        trine_sys::file::write(&fd, text.as_bytes()).unwrap();
        fd
    };
    let (first, second) = (open("first"), open("second"));
    let (one, two) = (first.as_raw_fd(), second.as_raw_fd());
    // Each goes where the other is now.
    let script = format!(
        "cat /proc/self/fd/{two}; echo; cat /proc/self/fd/{one}; echo; ls /proc/self/fd | wc -l"
    );
    // At the end: 0, 1, 2, the two, and the folder that ls reads.
    check_fds(
        &script,
        &[(first.as_fd(), two), (second.as_fd(), one)],
        "first\nsecond\n6",
    );
}

#[test]
fn a_descriptor_may_stay_at_its_number_and_is_not_inherited_otherwise() {
    let file = File::open("/dev/null").unwrap();
    let n = file.as_raw_fd();
    let script = format!("test -e /proc/self/fd/{n} && echo there || echo gone");
    check_fds(&script, &[(file.as_fd(), n)], "there");
    check_fds(&script, &[], "gone");
    // Even one that somebody opened without CLOEXEC.
    trine_sys::fdpass::set_cloexec(&file, false).unwrap();
    check_fds(&script, &[], "gone");
}

#[test]
fn only_low_descriptors_are_copied_and_ours_stay_as_they_are() {
    let open = |text: &str, lowest: i32| -> OwnedFd {
        let fd = trine_sys::fdpass::memfd(c"words").unwrap();
        trine_sys::file::write(&fd, text.as_bytes()).unwrap();
        trine_sys::fdpass::duplicate(&fd, lowest).unwrap()
    };
    let (low, high, other) = (open("low", 3), open("high", 200), open("other", 300));
    let numbers = [&low, &high, &other].map(AsRawFd::as_raw_fd);
    let own = || {
        let mut names: Vec<_> = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let number = path.file_name()?.to_str()?.parse::<i32>().ok()?;
                let is_mine = numbers.contains(&number);
                is_mine.then(|| (number, std::fs::read_link(path).ok()))
            })
            .collect();
        names.sort();
        names
    };
    let before = own();
    let (one, two) = (low.as_raw_fd(), other.as_raw_fd());
    // The two change places, the third is not there; 0, 1, 2, the two, and the folder that ls reads.
    let script = format!(
        "cat /proc/self/fd/{two}; echo; cat /proc/self/fd/{one}; echo; ls /proc/self/fd | wc -l"
    );
    for below in [3, 100, 250, 1000] {
        let fds = [(low.as_fd(), two), (other.as_fd(), one)];
        let (text, _) = run(&script, &fds, |s| s.copy_below = Some(below));
        assert_eq!(text.trim(), "low\nother\n6", "below {below}");
        let mut failing = Spawn::new(c("/no/such"));
        (failing.fds, failing.copy_below) = (fds.to_vec(), Some(below));
        assert_eq!(failing.spawn().unwrap_err().step, SpawnStep::Exec);
        assert_eq!(own(), before);
    }
}

#[test]
fn failures_come_back_with_their_step() {
    let fail = |change: &dyn Fn(&mut Spawn<'_>)| {
        let mut spawn = shell("true");
        change(&mut spawn);
        let err = spawn.spawn().unwrap_err();
        format!("{err}: {}", err.source)
    };
    assert_eq!(
        fail(&|s| s.program = c("/no/such")),
        "cannot execute the program: No such file or directory (os error 2)"
    );
    assert_eq!(
        fail(&|s| s.program = c("/etc/passwd")),
        "cannot execute the program: Permission denied (os error 13)"
    );
    assert_eq!(
        fail(&|s| s.cwd = Some(c("/no/such"))),
        "cannot enter the working directory: No such file or directory (os error 2)"
    );
    assert_eq!(
        fail(&|s| s.process_group = Some(-5)),
        "cannot join the process group: Invalid argument (os error 22)"
    );
    assert_eq!(
        fail(&|s| s.rlimits = vec![(Resource::RLIMIT_NOFILE, 9, 8)]),
        "cannot set the resource limits: Invalid argument (os error 22)"
    );
    // Nothing is left behind: no child to wait for.
    let err = Spawn::new(c("/no/such")).spawn().unwrap_err();
    assert_eq!(err.step, SpawnStep::Exec);
}

#[test]
fn becoming_another_user() {
    if trine_sys::privileges::effective_uid() != 0 {
        eprintln!("left out: not root");
        return;
    }
    let become_nobody = |s: &mut Spawn<'_>| {
        s.env = vec![c("PATH=/usr/bin:/bin")];
        s.groups = Some(vec![65534, 7]);
        s.gid = Some(65534);
        s.uid = Some(65534);
    };
    check(
        "id -u; id -g; id -G",
        become_nobody,
        "65534\n65534\n65534 7",
    );
    // The folder is entered as that user.
    let dir = tempfile::tempdir().unwrap();
    let only_root = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(dir.path(), only_root).unwrap();
    let mut spawn = shell("true");
    become_nobody(&mut spawn);
    spawn.cwd = Some(c(dir.path().to_str().unwrap()));
    assert_eq!(spawn.spawn().unwrap_err().step, SpawnStep::Directory);
}

#[test]
fn a_pidfd_signals_and_tells_the_end() {
    let child = shell("exec sleep 1000").spawn().unwrap();
    assert!(process::reap_pidfd(&child.pidfd).unwrap().is_none());
    process::pidfd_signal(&child.pidfd, Signal::SIGTERM).unwrap();
    let (_, status) = process::wait_pidfd(&child.pidfd).unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(15)
    );
    assert!(process::pidfd_signal(&child.pidfd, Signal::SIGTERM).is_err());
}

#[test]
fn programs_are_found_in_a_path() {
    let find = |name: &str, path: &str| find_program(OsStr::new(name), OsStr::new(path));
    assert_eq!(find("sh", "/nowhere:/bin"), Some("/bin/sh".into()));
    assert_eq!(find("./sh", "/bin"), Some("./sh".into()));
    assert_eq!(find("passwd", "/etc"), None);
    assert_eq!(find("no-such-thing", "/bin:/usr/bin"), None);
}

#[test]
fn privileges_and_the_oom_score() {
    let status = |field: &str| format!("grep -i '^{field}:' /proc/self/status | cut -f2");
    check(
        &status("NoNewPrivs"),
        |spawn| spawn.no_new_privileges = true,
        "1",
    );
    check(&status("NoNewPrivs"), |_| (), "0");
    check(
        "cat /proc/self/oom_score_adj",
        |spawn| spawn.oom_score_adj = Some(500),
        "500",
    );
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_ne!(ours.trim(), "500", "the child's alone");
    if trine_sys::privileges::effective_uid() == 0 {
        let kept = (1 << 6) | (1 << 7) | (1 << 10); // setgid, setuid, net_bind_service
        check(
            &status("CapBnd"),
            |spawn| spawn.bounding_set = Some(kept),
            "00000000000004c0",
        );
    }
}
