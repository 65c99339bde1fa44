//! The supervisor as process 1 of a PID namespace, as in a container: strangers are reaped, signals are heard, and it ends
//! with the code of the program that decides.

use std::process::{Command, Stdio};

use e2e::control::Control;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{process, tools, wait};
use nix::sys::signal::Signal;

/// The outermost process, and the supervisor as it is seen from out here.
fn start(folder: &Folder, config: &str) -> Option<(Daemon, i32)> {
    let tried = Command::new("unshare")
        .args(["--pid", "--fork", "--map-root-user", "true"])
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        tools::skip_where_impossible("no PID namespaces for us");
        return None;
    }
    folder.write("s.yaml", config);
    let unshare = Launch::program("/usr/bin/unshare")
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--map-root-user",
            "--mount-proc",
        ])
        .arg(tools::binary("trine-supervisor"))
        .args(["-c", "s.yaml"])
        .start(folder);
    let first = wait::until("process 1", || {
        let children = process::children(unshare.pid());
        let mut children = children.into_iter();
        children.find(|pid| process::command(*pid).contains("s.yaml"))
    });
    Some((unshare, first))
}

#[test]
fn process_1_reaps_strangers_and_hears_signals() {
    let folder = Folder::new();
    let config = "control: c.sock
log: { file: s.log }
programs:
  orphaner:
    command: [sh, -c, '(setsid sh -c \"sleep 0.1; exit 7\" &) ; exec sleep 1000']
    startsecs: 0s
";
    let Some((mut unshare, first)) = start(&folder, config) else {
        return;
    };
    let control = Control::new(folder.join("c.sock"));
    control.wait_running("orphaner");
    let log = || folder.read("s.log");
    assert!(log().contains("started with pid 1\n"), "{}", log());
    wait::until("the orphan to be reaped", || {
        (log().contains("reaped unknown pid") && log().contains("(exit status 7)")).then_some(())
    });
    // Not by the number that it tells, which counts in there only.
    let brain = || {
        let mut children = process::children(first).into_iter();
        children.find(|pid| process::command(*pid).contains("--brain"))
    };
    let old = wait::until("a brain", brain);
    process::signal(old, Signal::SIGKILL);
    wait::until("the next brain", || brain().filter(|pid| *pid != old));
    control.wait_running("orphaner");
    // A process 1 gets only the signals that it has asked for.
    process::signal(first, Signal::SIGTERM);
    assert_eq!(unshare.exit_code(), 0, "{}", log());
    assert!(log().contains("all programs are stopped"), "{}", log());
}

#[test]
fn process_1_ends_with_the_code_of_the_program_that_decides() {
    let folder = Folder::new();
    let config = "control: c.sock
programs:
  main:
    command: [sh, -c, 'exit 42']
    startsecs: 0s
    autorestart: false
    shutdown_on: end
  beside:
    command: [sleep, '1000']
    startsecs: 0s
";
    let Some((mut unshare, _)) = start(&folder, config) else {
        return;
    };
    assert_eq!(unshare.exit_code(), 42);
}
