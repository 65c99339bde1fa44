//! Configurations: bad ones are refused whole, good ones are put into effect without touching what has not changed.

mod rig;

use nix::sys::signal::Signal;
use rig::{Rig, is_alive, until};
use std::process::Command;

fn run(args: &[&str], folder: &std::path::Path) -> (Option<i32>, String) {
    let output = Command::new(rig::binary())
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the daemon can be executed");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn every_problem_is_told_at_once_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let text = "control: s.sock
programs:
  web:
    comand: [sleep, '1000']
    command: []
    stopsignal: PLEASE
    startretries: many
    startsecs: 5 moons
    ready: eventually
    sockets: { http: '127.0.0.1:99999' }
    umask: 22
    autorestart: maybe
    numprocs: 0
  'bad name': { command: \"sh -c 'oops\" }
  nothing: {}
  twice: { command: [a], stdout_logfile: x.log }
  again: { command: [a], stdout_logfile: x.log }
  fine: { command: [touch, started] }
";
    std::fs::write(folder.path().join("s.yaml"), text).unwrap();
    let all = [
        (4, "comand: unknown key; did you mean \"command\"?"),
        (5, "command"),
        (6, "PLEASE"),
        (7, "startretries"),
        (8, "startsecs"),
        (9, "eventually"),
        (10, "99999"),
        (11, "octal"),
        (12, "maybe"),
        (13, "numprocs"),
        (14, "not usable as a name"),
        (14, "a quote is not closed"),
        (15, "is missing"),
        (16, "would write the same file"),
    ];
    for args in [["-c", "s.yaml"], ["--check", "s.yaml"]] {
        let (code, output) = run(&args, folder.path());
        assert_eq!(code, Some(78), "{output}");
        for (line, words) in all {
            let is_it =
                |told: &str| told.contains(&format!("s.yaml:{line}:")) && told.contains(words);
            assert!(
                output.lines().any(is_it),
                "line {line}, {words:?} is not in\n{output}"
            );
        }
    }
    assert!(!folder.path().join("started").exists() && !folder.path().join("s.sock").exists());
    assert_eq!(run(&["-c", "none.yaml"], folder.path()).0, Some(78));
    assert_eq!(run(&["--frobnicate"], folder.path()).0, Some(64));
    assert_eq!(run(&[], folder.path()).0, Some(64));
}

#[test]
fn a_socket_in_use_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = format!(
        "control: s.sock\npidfile: s.pid\nprograms:\n  web: {{ command: [touch, started], sockets: {{ web: '{address}' }} }}\n"
    );
    std::fs::write(folder.path().join("s.yaml"), text).unwrap();
    let (code, output) = run(&["-c", "s.yaml"], folder.path());
    assert_eq!(code, Some(75), "{output}");
    assert!(
        output.contains(&address) && output.contains("in use"),
        "{output}"
    );
    for left in ["started", "s.sock", "s.pid"] {
        assert!(!folder.path().join(left).exists(), "{left}");
    }
}

#[test]
fn a_second_supervisor_on_the_same_control_socket_is_refused() {
    let rig = Rig::start("  one:\n    command: sleep 1000\n    startsecs: 0s\n");
    let pid = rig.running_pid("one");
    let (code, output) = run(&["-c", "supervisor.yaml"], rig.folder.path());
    assert_eq!(code, Some(75), "{output}");
    assert_eq!(rig.running_pid("one"), pid);
    rig.stop();
}

#[test]
fn a_reload_changes_what_has_changed_and_nothing_else() {
    let rig = Rig::start(
        "  same:
    command: sleep 1000
    startsecs: 0s
    sockets: { web: 127.0.0.1:0 }
  changed:
    command: sleep 1000
    startsecs: 0s
  removed:
    command: sleep 1000
    startsecs: 0s
    sockets: { old: 'unix:old.sock' }
",
    );
    let pids = ["same", "changed", "removed"].map(|name| rig.running_pid(name));
    assert!(rig.path("old.sock").exists());

    rig.write_config("  same:\n    comand: sleep 1000\n");
    let (status, report) = rig.call("POST", "/v1/reload").unwrap();
    assert_eq!((status, &report["ok"]), (422, &false.into()));
    assert!(
        report["problems"]
            .to_string()
            .contains("supervisor.yaml:6:"),
        "{report}"
    );
    assert_eq!(rig.running_pid("changed"), pids[1]);
    assert_eq!(rig.get("/v1/status")["generation"], 1);

    rig.write_config(
        "  same:
    command: sleep 1000
    startsecs: 0s
    sockets: { web: 127.0.0.1:0 }
  changed:
    command: [sh, -c, 'echo changed; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: changed.log
  added:
    command: sleep 1000
    startsecs: 0s
    numprocs: 2
",
    );
    assert_eq!(rig.post("/v1/reload?dry_run=true")["ok"], true);
    assert_eq!(
        rig.get("/v1/programs")["programs"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    rig.signal(Signal::SIGHUP);
    until("the new configuration", || {
        (rig.get("/v1/status")["generation"] == 2).then_some(())
    });
    rig.running_pid("added_00");
    rig.running_pid("added_01");
    until("the removed one to go", || {
        (rig.call("GET", "/v1/programs/removed").ok()?.0 == 404).then_some(())
    });
    until("the changed one", || {
        rig.read("changed.log").contains("changed").then_some(())
    });
    assert_eq!(rig.running_pid("same"), pids[0]);
    assert_ne!(rig.running_pid("changed"), pids[1]);
    assert!(!is_alive(pids[2]));
    assert!(!rig.path("old.sock").exists());

    // A brain that comes later knows the same.
    rig.replace_brain();
    assert_eq!(
        rig.get("/v1/programs")["programs"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(rig.get("/v1/status")["generation"], 2);
    assert_eq!(rig.running_pid("same"), pids[0]);
    rig.stop();
}

#[test]
fn a_new_brain_goes_by_what_is_in_force_and_not_by_the_file() {
    let rig = Rig::start("  one:\n    command: sleep 1000\n    startsecs: 0s\n");
    let pid = rig.running_pid("one");
    std::fs::write(rig.path("supervisor.yaml"), "programs: nonsense").unwrap();
    rig.replace_brain();
    assert_eq!(rig.running_pid("one"), pid);
    rig.stop();
}
