//! Control groups with all controllers, in a kernel of the test's own: limits hold, who dies of them is told apart, and
//! nothing that a program has started is left.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::client::Request;
use e2e::control::Control;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{kernel, process, tools, wait};
use nix::sys::signal::Signal;

use super::wait_state;

const ROOT: &str = "/sys/fs/cgroup";

/// A supervisor in a control group of its own, as in a unit. Only groups right below the root get controllers.
fn start(folder: &Folder, unit: &str, programs: &str) -> (Daemon, Control) {
    let controllers = "+cpu +memory +pids";
    fs::write(Path::new(ROOT).join("cgroup.subtree_control"), controllers).unwrap();
    fs::create_dir_all(Path::new(ROOT).join(unit)).unwrap();
    folder.write(
        "supervisor.yaml",
        format!("control: supervisor.sock\nlog: {{ file: s.log }}\nprograms:\n{programs}"),
    );
    let enter = format!("echo $$ > {ROOT}/{unit}/cgroup.procs && exec \"$0\" \"$@\"");
    let supervisor = Launch::program("/bin/sh")
        .args(["-c", &enter])
        .arg(tools::binary("trine-supervisor"))
        .args(["-c", "supervisor.yaml"])
        .notify()
        .start(folder)
        .wait_ready();
    (supervisor, Control::new(folder.join("supervisor.sock")))
}

/// The folder of the first generation of a program.
fn group(supervisor: &Daemon, program: &str) -> PathBuf {
    let base = format!("{ROOT}/unit/trine-{}", supervisor.pid());
    Path::new(&base).join(format!("{program}.1"))
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default()
}

/// A counter in a file such as `memory.events`.
fn count(folder: &Path, file: &str, name: &str) -> u64 {
    let text = read(folder, file);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

const PROGRAMS: &str = "  hog:
    command: [sh, -c, 'echo x >> hog.ran; exec dd if=/dev/zero of=/dev/null bs=60M count=1']
    autostart: false
    startsecs: 0s
    autorestart: false
    memory_max: 24MB
  again:
    command: [sh, -c, 'test -e again.ran && exec sleep 1000; : > again.ran; exec dd if=/dev/zero of=/dev/null bs=60M count=1']
    autostart: false
    startsecs: 0s
    memory_max: 24MB
  soft:
    command: dd if=/dev/zero of=/dev/null bs=12M
    autostart: false
    startsecs: 0s
    stopsignal: KILL
    memory_high: 8MB
    memory_max: 300MB
  forker:
    command: [sh, -c, '(while sleep 1000 & do echo fork >> forks; done); echo over > over; exec sleep 1000']
    startsecs: 0s
    pids_max: 20
    stderr_logfile: forker.err
  busy:
    command: [sh, -c, 'while :; do :; done']
    startsecs: 0s
    cpu_max: 5%
    cpu_weight: 50
    memory_high: 100MB
  escaper:
    command: [sh, -c, 'env -i setsid sh -c \"trap : TERM; while :; do sleep 1; done\" & exec sleep 1000']
    startsecs: 0s
    stopwaitsecs: 1s
";

#[test]
fn limits_hold_and_who_dies_of_them_is_told() {
    if !kernel::is_own() {
        return;
    }
    let folder = Folder::new();
    let (supervisor, control) = start(&folder, "unit", PROGRAMS);
    let log = || folder.read("s.log");

    // Each program in its own group, with what was asked for; the supervisor moved aside for that.
    let busy = control.wait_running("busy");
    let place = format!("0::/unit/trine-{}/busy.1\n", supervisor.pid());
    assert_eq!(
        read(&Path::new("/proc").join(busy.to_string()), "cgroup"),
        place
    );
    for (program, file, want) in [
        ("busy", "cpu.max", "5000 100000\n"),
        ("busy", "cpu.weight", "50\n"),
        ("busy", "memory.high", "104857600\n"),
        ("forker", "pids.max", "20\n"),
    ] {
        assert_eq!(
            read(&group(&supervisor, program), file),
            want,
            "{program} {file}"
        );
    }

    // They hold.
    wait::until("the kernel to hold busy back", || {
        (count(&group(&supervisor, "busy"), "cpu.stat", "nr_throttled") > 2).then_some(())
    });
    control.post("/v1/programs/soft/start");
    wait::until("the kernel to press soft", || {
        (count(&group(&supervisor, "soft"), "memory.events", "high") > 0).then_some(())
    });
    assert_eq!(
        read(&group(&supervisor, "soft"), "memory.max"),
        "314572800\n"
    );
    control.post("/v1/programs/soft/stop?wait=true"); // it costs much to be pressed
    wait::until("the last fork", || {
        folder.join("over").exists().then_some(())
    });
    let forks = folder.read("forks").lines().count();
    assert_eq!(forks, 18, "and two shells: {}", folder.read("forker.err"));
    wait::until("what the shell says of it", || {
        let said = folder.read("forker.err").to_lowercase();
        said.contains("fork").then_some(())
    });
    let others = ["busy", "forker", "escaper"].map(|name| control.wait_running(name));

    // Out of memory: told in the state, in supervisorctl's words, in the log; nobody else is harmed.
    control.post("/v1/programs/hog/start");
    wait_state(&control, "hog", "EXITED");
    let cause = "out of memory: the kernel killed it (memory.max is 25165824 bytes)";
    let said = control.program("hog");
    let description = said["description"].as_str().unwrap().to_owned();
    assert!(description.ends_with(&format!(" ({cause})")), "{said}");
    assert_eq!(said["exit_code"], -9, "{said}");
    assert!(log().contains(&format!("hog {cause}")), "{}", log());
    let call = "<methodCall><methodName>supervisor.getProcessInfo</methodName><params><param><value><string>hog</string></value></param></params></methodCall>";
    let info = control.call(Request::post("/RPC2", call)).unwrap().text();
    assert!(info.contains(cause), "{info}");

    // The same while no brain is there to see it: the next one finds out.
    let brain = control.brain().unwrap();
    control.post("/v1/programs/hog/start");
    process::signal(brain, Signal::SIGSTOP);
    wait::until("another run to have begun", || {
        (folder.read("hog.ran").lines().count() == 2).then_some(())
    });
    let second = group(&supervisor, "hog").with_file_name("hog.2");
    wait::until("its end", || {
        (count(&second, "memory.events", "oom_kill") > 0
            && read(&second, "cgroup.procs").is_empty())
        .then_some(())
    });
    process::signal(brain, Signal::SIGKILL);
    wait::until("the next brain to say it", || {
        (log().matches(cause).count() == 2).then_some(())
    });
    wait_state(&control, "hog", "EXITED");

    // One that is started again is counted under this cause.
    control.post("/v1/programs/again/start");
    wait::until("the next run", || {
        let said = control.program("again");
        (said["state"] == "RUNNING" && said["restarts"] == 1).then_some(())
    });
    let metrics = control.call(Request::get("/metrics")).unwrap().text();
    let counted = "trine_program_restarts_by_cause_total{group=\"again\",name=\"again\",cause=\"out_of_memory\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(
        ["busy", "forker", "escaper"].map(|name| control.wait_running(name)),
        others
    );

    // A stop ends all that is in the group, also who has left session, group and environment behind and hears nothing.
    for program in ["forker", "escaper"] {
        let there = group(&supervisor, program);
        assert!(
            read(&there, "cgroup.procs").lines().count() >= 2,
            "{program}"
        );
        control.post(&format!("/v1/programs/{program}/stop?wait=true"));
        wait::until("its group to be empty and gone", || {
            (!there.exists()).then_some(())
        });
    }
    let base = group(&supervisor, "x").parent().unwrap().to_owned();
    supervisor.stop();
    assert!(!base.exists(), "nothing of the supervisor's is left");
}

#[test]
fn what_a_killed_supervisor_left_is_taken_away_once_it_is_empty() {
    if !kernel::is_own() {
        return;
    }
    const PROGRAMS: &str = "  lives:
    command: [sleep, '1000']
    startsecs: 0s
  ends:
    command: [sleep, '1000']
    startsecs: 0s
";
    let (first_folder, second_folder) = (Folder::new(), Folder::new());
    let (mut first, control) = start(&first_folder, "left", PROGRAMS);
    let unit = Path::new(ROOT).join("left");
    let (lives, ends) = (control.wait_running("lives"), control.wait_running("ends"));
    let base = unit.join(format!("trine-{}", first.pid()));
    let leaf = unit.join(format!("trine-{}-supervisor", first.pid()));
    assert!(base.join("lives.1").exists() && leaf.exists());
    process::signal(first.pid(), Signal::SIGKILL);
    first.wait_exit();
    process::signal(ends, Signal::SIGKILL);
    wait::until("the brain to follow, and the one program", || {
        let is_empty = |folder: &Path| read(folder, "cgroup.procs").is_empty();
        (is_empty(&leaf) && is_empty(&base.join("ends.1"))).then_some(())
    });
    assert!(leaf.exists() && base.join("ends.1").exists());

    // As who starts the next one has to: a group that shares out controllers takes no process.
    for folder in [&base, &unit] {
        fs::write(folder.join("cgroup.subtree_control"), "-cpu -memory -pids").unwrap();
    }

    // The next one leaves alone what is inhabited, and nothing else.
    let (second, control) = start(&second_folder, "left", PROGRAMS);
    let own = control.wait_running("lives");
    let own_base = unit.join(format!("trine-{}", second.pid()));
    assert!(!leaf.exists() && !base.join("ends.1").exists());
    assert_eq!(
        read(&base.join("lives.1"), "cgroup.procs"),
        format!("{lives}\n")
    );
    process::signal(lives, Signal::SIGKILL);
    wait::until("its group to be empty", || {
        let left = read(&base.join("lives.1"), "cgroup.procs");
        left.is_empty().then_some(())
    });
    control.kill_brain();
    wait::until("the next brain to have looked", || {
        (!base.exists()).then_some(())
    });
    assert_eq!(
        read(&own_base.join("lives.1"), "cgroup.procs"),
        format!("{own}\n")
    );
    second.stop();
    assert!(!own_base.exists());
}

#[test]
fn a_limit_that_cannot_be_kept_starts_nothing() {
    if !kernel::is_own() {
        return;
    }
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "bare/unit",
        "  limited:
    command: [sleep, '1000']
    startretries: 0
    memory_max: 48MB
  free:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    wait_state(&control, "limited", "FATAL");
    let said = control.program("limited");
    let description = said["description"].as_str().unwrap();
    assert!(
        description
            .contains("cannot set memory.max: the memory controller is not ours to use here"),
        "{said}"
    );
    control.wait_running("free");
    supervisor.stop();
}
