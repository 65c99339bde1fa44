//! What supervisord lacks: dependencies, readiness of every kind, checks, limits, sweeping up, times to run.
mod rig;

use nix::sys::signal::Signal;
use rig::{Rig, is_alive, signal};

fn position(log: &str, phrase: &str) -> usize {
    log.find(phrase)
        .unwrap_or_else(|| panic!("{phrase:?} is not in {log}"))
}

#[test]
fn programs_wait_for_others_and_stop_before_them() {
    let mut rig = Rig::start(
        "  web:
    command: [sh, -c, 'echo web >> order; exec sleep 1000']
    startsecs: 0s
    depends_on: { db: ready, migrate: completed, cache: started }
  migrate:
    command: [sh, -c, 'test -e go || exit 1; echo migrate >> order']
    startsecs: 0s
    autorestart: false
    depends_on: db
  db:
    command: [sh, -c, 'echo booting; while ! test -e db-ready; do sleep 0.02; done; echo ready to accept connections; echo db >> order; exec sleep 1000']
    ready: { log: ready to accept }
    priority: 1000
    autostart: false
  cache:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    rig.wait_state("db", "STARTING"); // pulled in by those who need it
    assert_eq!(rig.program("web")["state"], "STOPPED");
    let said = rig.program("web")["description"].to_string();
    assert!(said.contains("waits for"), "{said}");
    rig.replace_brain(); // the wait goes on
    std::fs::write(rig.path("go"), "").unwrap();
    std::fs::write(rig.path("db-ready"), "").unwrap();
    rig.wait_state("web", "RUNNING");
    rig.until("the last word", || {
        (rig.read("order") == "db\nmigrate\nweb\n").then_some(())
    });
    let web = rig.running_pid("web");
    rig.signal(Signal::SIGTERM);
    assert_eq!(rig.wait_exit().code(), Some(0));
    assert!(!is_alive(web));
    let log = rig.read("supervisor.log");
    assert!(
        position(&log, "stopped: web") < position(&log, "waiting for db to stop"),
        "db has the higher priority, but web needs it"
    );
}

#[test]
fn a_dependency_that_fails_holds_others_back_and_is_named() {
    let rig = Rig::start(
        "  web:
    command: [sleep, '1000']
    startsecs: 0s
    depends_on: { migrate: completed }
  migrate:
    command: [sh, -c, 'test -e good']
    startsecs: 0s
    autorestart: false
",
    );
    rig.wait_state("migrate", "EXITED");
    let web = rig.program("web");
    let said = web["description"].as_str().unwrap();
    assert!(
        said.contains("migrate to be completed, which is EXITED"),
        "{web}"
    );
    // A start by hand does not hang, and what failed is tried again with it.
    std::fs::write(rig.path("good"), "").unwrap();
    rig.post("/v1/programs/migrate/start?wait=true");
    rig.wait_state("web", "RUNNING");
    rig.stop();
}

const NOTIFIER: &str = "
import os, socket, sys, array
def say(text, fds=()):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
    extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
    s.sendmsg([text.encode()], extra)
";

#[test]
fn readiness_by_command_by_descriptor_and_by_tcp() {
    let rig = Rig::start(
        "  by_exec:
    command: [sleep, '1000']
    environment: { FLAG: exec-ready }
    ready: { exec: 'sh -c \"test -e $FLAG\"' }
  by_fd:
    command: [bash, -c, 'while ! test -e fd-ready; do sleep 0.02; done; echo >&5; exec 5>&-; exec sleep 1000']
    ready: { fd: 5 }
  late:
    command: [sleep, '1000']
    ready: { exec: 'false' }
    ready_timeout: 1s
    startretries: 0
",
    );
    for name in ["by_exec", "by_fd"] {
        rig.wait_state(name, "STARTING");
    }
    rig.replace_brain();
    std::fs::write(rig.path("exec-ready"), "").unwrap();
    std::fs::write(rig.path("fd-ready"), "").unwrap();
    rig.running_pid("by_exec");
    let first = rig.running_pid("by_fd");
    // The next generation has to say it anew.
    std::fs::remove_file(rig.path("fd-ready")).unwrap();
    signal(first, Signal::SIGKILL);
    rig.until("another by_fd", || {
        let said = rig.program("by_fd");
        (said["state"] == "STARTING" && said["pid"] != first).then_some(())
    });
    std::fs::write(rig.path("fd-ready"), "").unwrap();
    rig.running_pid("by_fd");
    rig.wait_state("late", "FATAL");
    rig.stop();
}

#[test]
fn a_program_that_fails_its_checks_is_restarted_and_one_that_falls_silent_is_ended() {
    let rig = Rig::start_with(
        "  checked:
    command: [sleep, '1000']
    startsecs: 0s
    liveness: { exec: 'test -e well' }
    liveness_interval: 50ms
    liveness_failures: 2
  user:
    command: [sleep, '1000']
    startsecs: 0s
    depends_on: { checked: healthy }
  silent:
    command: [python3, silent.py]
    ready: notify
    watchdog: 5s
",
        |folder| {
            std::fs::write(folder.join("well"), "").unwrap();
            let body = "
import time
say('READY=1')
while not os.path.exists('be-silent'):
    say('WATCHDOG=1')
    time.sleep(0.05)
os.remove('be-silent')
time.sleep(1000)
";
            std::fs::write(folder.join("silent.py"), format!("{NOTIFIER}{body}")).unwrap();
        },
    );
    rig.running_pid("user");
    let checked = rig.running_pid("checked");
    let silent = rig.running_pid("silent");
    std::fs::remove_file(rig.path("well")).unwrap();
    rig.until("another process", || {
        let said = rig.program("checked");
        (said["pid"].is_i64() && said["pid"] != checked).then_some(())
    });
    std::fs::write(rig.path("well"), "").unwrap();
    assert!(
        rig.read("supervisor.log")
            .contains("checked is not healthy ('test' ended with exit status: 1), restarting it")
    );
    std::fs::write(rig.path("be-silent"), "").unwrap();
    rig.until("another one that speaks", || {
        let said = rig.program("silent");
        (said["state"] == "RUNNING" && said["pid"] != silent).then_some(())
    });
    assert!(
        rig.read("supervisor.log")
            .contains("exited: silent (terminated by SIGABRT")
    );
    rig.stop();
}

#[test]
fn another_main_process_is_followed_and_descriptors_are_kept() {
    let rig = Rig::start_with(
        "  forker:
    command: [python3, forker.py]
    ready: notify
    startsecs: 0s
    autorestart: false
  keeper:
    command: [python3, keeper.py]
    ready: notify
    startsecs: 0s
    autorestart: true
    stdout_logfile: keeper.log
",
        |folder| {
            let body = "
import time
child = os.fork()
if child == 0:
    while not os.path.exists('leave'): time.sleep(0.02)
    os._exit(9)
say('READY=1\\nMAINPID=%d' % child)
while not os.path.exists('hand-over'): time.sleep(0.02)
";
            std::fs::write(folder.join("forker.py"), format!("{NOTIFIER}{body}")).unwrap();
            let body = "
import time
names = os.environ.get('LISTEN_FDNAMES', '')
if names:
    print('kept', names, os.environ['LISTEN_PID'] == str(os.getpid()), os.read(3, 100).decode(), flush=True)
    say('FDSTOREREMOVE=1\\nFDNAME=state')
else:
    r, w = os.pipe()
    os.write(w, b'precious')
    say('FDSTORE=1\\nFDNAME=state', [r])
    print('stored', flush=True)
say('READY=1')
time.sleep(1000)
";
            std::fs::write(folder.join("keeper.py"), format!("{NOTIFIER}{body}")).unwrap();
        },
    );
    let (forker, keeper) = (rig.running_pid("forker"), rig.running_pid("keeper"));
    std::fs::write(rig.path("hand-over"), "").unwrap();
    let heir = rig.until("the other main process", || {
        let said = rig.program("forker");
        let pid = said["pid"].as_i64()? as i32;
        (said["state"] == "RUNNING" && pid != forker).then_some(pid)
    });
    assert!(is_alive(heir) && !is_alive(forker));
    rig.replace_brain();
    assert_eq!(rig.running_pid("forker"), heir);
    std::fs::write(rig.path("leave"), "").unwrap();
    assert_eq!(rig.wait_state("forker", "EXITED")["exit_code"], 9);

    rig.until("it to be stored", || {
        rig.read("keeper.log").contains("stored").then_some(())
    });
    signal(keeper, Signal::SIGKILL);
    rig.until("it to be handed on", || {
        rig.read("keeper.log")
            .contains("kept state True precious")
            .then_some(())
    });
    rig.stop();
}

#[test]
fn limits_environment_files_and_privileges_reach_the_program() {
    let rig = Rig::start_with(
        "  shower:
    command: [sh, -c, 'echo $(ulimit -n) $(ulimit -Hn) $(nice) $A $B $C; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj; exec sleep 1000']
    startsecs: 0s
    rlimits: { nofile: '200:300', core: 0 }
    nice: 7
    oom_score_adj: 300
    no_new_privileges: true
    environment_file: [vars.env, '-missing.env']
    environment: { B: inline }
    stdout_logfile: shower.log
  lost:
    command: [sleep, '1000']
    environment_file: gone.env
    startretries: 0
",
        |folder| std::fs::write(folder.join("vars.env"), "A='from file'\nB=file\nC=c\n").unwrap(),
    );
    rig.running_pid("shower");
    rig.until("its words", || {
        (rig.read("shower.log").lines().count() == 3).then_some(())
    });
    assert_eq!(
        rig.read("shower.log"),
        "200 300 7 from file inline c\nNoNewPrivs:\t1\n300\n"
    );
    let lost = rig.wait_state("lost", "FATAL");
    assert!(
        lost["description"]
            .as_str()
            .unwrap()
            .contains("can't read environment file"),
        "{lost}"
    );
    rig.stop();
}

#[test]
fn capabilities_that_are_not_named_are_out_of_reach() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("left out: only root has capabilities to give up");
        return;
    }
    let rig = Rig::start(
        "  some:
    command: [sh, -c, 'grep CapBnd /proc/self/status; exec sleep 1000']
    startsecs: 0s
    startretries: 0
    capabilities: [chown, net_bind_service]
    stdout_logfile: some.log
  none:
    command: [sh, -c, 'grep CapBnd /proc/self/status; exec sleep 1000']
    startsecs: 0s
    startretries: 0
    capabilities: none
    stdout_logfile: none.log
",
    );
    for (name, want) in [("some", 0x401), ("none", 0)] {
        rig.running_pid(name);
        let log = format!("{name}.log");
        rig.until("its words", || rig.read(&log).ends_with('\n').then_some(()));
        assert_eq!(rig.read(&log), format!("CapBnd:\t{want:016x}\n"));
    }
    rig.stop();
}

#[test]
fn restarts_wait_longer_each_time_up_to_the_cap() {
    let rig = Rig::start(
        "  quitter:
    command: [sh, -c, 'date +%s%3N >> times; exit 3']
    startsecs: 0s
    autorestart: true
    restart_delay: 100ms
    restart_factor: 4
    restart_delay_max: 1s
    restart_jitter: false
",
    );
    let times: Vec<u64> = rig.until("five runs", || {
        let times = rig.read("times");
        let whole: Vec<u64> = times.lines().filter_map(|line| line.parse().ok()).collect();
        (whole.len() >= 5).then_some(whole)
    });
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Never sooner; how much later is the machine's affair.
    for (wait, least) in waits.iter().zip([100, 400, 1000, 1000]) {
        assert!(wait + 20 >= least, "{waits:?}");
    }
    rig.stop();
}

#[test]
fn nothing_that_a_stopped_program_started_lives_on() {
    let rig = Rig::start(
        "  forker:
    command: [bash, -c, 'setsid bash -c \"trap : TERM; echo \\$\\$ > far; while true; do sleep 0.05; done\" & (setsid setsid sleep 1000 & echo $! > near); wait']
    startsecs: 0s
    stopwaitsecs: 1s
  other:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    let forker = rig.running_pid("forker");
    let other = rig.running_pid("other");
    let far = rig.until("the one that went far", || {
        rig.read("far").trim().parse::<i32>().ok()
    });
    assert!(is_alive(forker) && is_alive(far));
    rig.post("/v1/programs/forker/stop?wait=true");
    rig.until("it to be gone, though it is deaf to SIGTERM", || {
        (!is_alive(far)).then_some(())
    });
    assert!(is_alive(other));
    assert!(rig.read("supervisor.log").contains("forker has left"));
    rig.stop();
}

#[test]
fn groups_are_scaled_and_restarted_one_after_the_other() {
    let programs = |command: &str| {
        format!(
            "  web:
    command: [sh, -c, '{command}']
    numprocs: 3
    startsecs: 300ms
    startretries: 0
    autorestart: false
    sockets: {{ http: '127.0.0.1:0' }}
"
        )
    };
    let rig = Rig::start(&programs("test -e bad && exit 1; exec sleep 1000"));
    let pid = |number: u32| rig.running_pid(&format!("web:web_0{number}"));
    let before = [pid(0), pid(1), pid(2)];

    rig.post("/v1/groups/web/scale?count=5");
    assert_eq!(
        [pid(0), pid(1), pid(2)],
        before,
        "the others are left alone"
    );
    let four = pid(4);
    rig.replace_brain();
    assert_eq!(pid(4), four);
    rig.post("/v1/reload"); // does not undo it
    assert_eq!(pid(4), four);
    rig.post("/v1/groups/web/scale?count=2");
    rig.until("those beyond to go", || (!is_alive(four)).then_some(()));
    assert_eq!([pid(0), pid(1)], before[..2]);

    let answer = rig.post("/v1/groups/web/rolling-restart?batch=1");
    assert_eq!(answer["message"], "web: restarted 2 processes");
    let after = [pid(0), pid(1)];
    assert!(after[0] != before[0] && after[1] != before[1]);

    // The first that fails ends it: the others go on as they were.
    std::fs::write(rig.path("bad"), "").unwrap();
    let (status, answer) = rig.call("POST", "/v1/groups/web/rolling-restart").unwrap();
    assert_eq!(status, 409, "{answer}");
    assert_eq!(pid(1), after[1]);
    assert!(is_alive(after[1]));
    let (status, _) = rig.call("POST", "/v1/groups/nobody/scale?count=2").unwrap();
    assert_eq!(status, 409);
    rig.stop();
}

#[test]
fn the_plan_says_what_a_reload_would_do_and_some_changes_need_no_restart() {
    let rig = Rig::start(
        "  same:
    command: [sleep, '1000']
    startsecs: 0s
  tuned:
    command: [sleep, '1000']
    startsecs: 0s
  changed:
    command: [sleep, '1000']
    startsecs: 0s
  gone:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    let tuned = rig.running_pid("tuned");
    let changed = rig.running_pid("changed");
    rig.write_config(
        "  same:
    command: [sleep, '1000']
    startsecs: 0s
  tuned:
    command: [sleep, '1000']
    startsecs: 0s
    stopwaitsecs: 3s
    priority: 5
  changed:
    command: [sleep, '1001']
    startsecs: 0s
  fresh:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    let plan = rig.get("/v1/plan");
    assert_eq!(plan["add"], serde_json::json!(["fresh"]));
    assert_eq!(plan["remove"], serde_json::json!(["gone"]));
    assert_eq!(plan["adjust"][0]["name"], "tuned");
    assert_eq!(
        plan["adjust"][0]["keys"],
        serde_json::json!(["group_priority", "stop_wait", "priority"])
    );
    assert_eq!(plan["restart"][0]["name"], "changed");
    assert_eq!(rig.running_pid("changed"), changed, "a plan does nothing");
    rig.post("/v1/reload");
    rig.running_pid("fresh");
    assert_eq!(rig.running_pid("tuned"), tuned);
    rig.until("the change", || {
        (rig.running_pid("changed") != changed).then_some(())
    });
    let plan = rig.get("/v1/plan");
    assert_eq!(plan["restart"], serde_json::json!([]));
    rig.stop();
}

#[test]
fn all_ends_with_the_program_that_decides_and_with_its_code() {
    let mut rig = Rig::start(
        "  main:
    command: [sh, -c, 'while ! test -e leave; do sleep 0.02; done; exit 42']
    startsecs: 0s
    autorestart: false
    shutdown_on: end
  beside:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    let beside = rig.running_pid("beside");
    std::fs::write(rig.path("leave"), "").unwrap();
    assert_eq!(rig.wait_exit().code(), Some(42));
    assert!(!is_alive(beside));
}

#[test]
fn a_program_runs_at_its_time() {
    let rig = Rig::start(
        "  job:
    command: [sh, -c, 'echo ran >> runs; sleep 0.1']
    startsecs: 0s
    autorestart: false
    schedule: '* * * * *'
    timezone: UTC
  skips:
    command: [sh, -c, 'exec sleep 1000']
    startsecs: 0s
    autostart: true
    autorestart: false
    schedule: '* * * * *'
  queues:
    command: [sh, -c, 'echo begun >> begun; while ! test -e leave; do sleep 0.05; done']
    startsecs: 0s
    autostart: true
    autorestart: false
    schedule: '* * * * *'
    overlap: queue
  restarts:
    command: [sh, -c, 'exec sleep 1000']
    startsecs: 0s
    autostart: true
    autorestart: false
    schedule: '* * * * *'
    overlap: restart
",
    );
    assert_eq!(rig.program("job")["state"], "STOPPED");
    rig.replace_brain(); // what is due is written down
    let long = ["skips", "queues", "restarts"].map(|name| rig.running_pid(name));
    let began = std::time::Instant::now();
    while !rig.path("runs").exists() {
        assert!(began.elapsed().as_secs() < 75, "{}", rig.program("job"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    rig.wait_state("job", "EXITED");
    assert_eq!(rig.read("runs"), "ran\n");
    // Those that had not ended yet: one is left alone, one runs once more afterwards, one begins anew.
    let logged = |text: &str| {
        rig.until(text, || {
            rig.read("supervisor.log").contains(text).then_some(())
        });
    };
    logged("it is time for skips, which has not ended: leaving this run out");
    logged("it is time for queues, which has not ended: once more right after");
    logged("it is time for restarts, which has not ended: beginning anew");
    rig.until("another process", || {
        let now = rig.program("restarts");
        (now["state"] == "RUNNING" && now["pid"] != long[2]).then_some(())
    });
    assert!(is_alive(long[0]) && is_alive(long[1]));
    std::fs::write(rig.path("leave"), "").unwrap();
    rig.until("the run that had to wait", || {
        (rig.read("begun").lines().count() >= 2).then_some(())
    });
    rig.stop();
}

#[test]
fn who_asks_for_patience_gets_it() {
    let rig = Rig::start_with(
        "  slow:
    command: [python3, slow.py]
    directory: .
    ready: notify
    stopwaitsecs: 4s
",
        |folder| {
            let program = "import os, signal, socket, time
def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text, os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))
def leave(*_):
    say(b'STOPPING=1\\nEXTEND_TIMEOUT_USEC=60000000')
    time.sleep(6)
    os._exit(5)
signal.signal(signal.SIGTERM, leave)
say(b'READY=1')
while True:
    time.sleep(1000)
";
            std::fs::write(folder.join("slow.py"), program).unwrap();
        },
    );
    rig.running_pid("slow");
    rig.post("/v1/programs/slow/stop?wait=true");
    let log = rig.read("supervisor.log");
    assert!(log.contains("stopped: slow (exit status 5)"), "{log}");
    // Meanwhile it was said for whom we wait.
    assert!(
        log.matches("waiting for slow to stop").count() >= 2,
        "{log}"
    );
    rig.stop();
}

#[test]
fn the_keys_are_the_same_in_supervisord_conf() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("supervisord.conf");
    std::fs::write(
        &path,
        "[supervisord]\nnodaemon=true\n[program:db]\ncommand=sleep 1000\nready=log:ready to accept\nready_timeout=5s\n\
         [program:web]\ncommand=sleep 1000\ndepends_on=db:started, db\nrlimits=nofile=100:200, core=0\nmemory_max=64MB\n\
         liveness=exec:test -e %(here)s/alive\nschedule=*/5 * * * *\nno_new_privileges=true\nshutdown_on=failure\n\
         logfile_format=json\nkill_descendants=true\nnice=5\nenvironment_file=-/etc/none.env\n",
    )
    .unwrap();
    let check = |path: &std::path::Path| {
        let out = std::process::Command::new(rig::binary())
            .arg("--check")
            .arg(path)
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (
            out.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = check(&path);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("unknown key"), "{said}");
    std::fs::write(
        &path,
        "[supervisord]\n[program:a]\ncommand=x\ndepends_on=b\n[program:b]\ncommand=x\ndepends_on=a\n",
    )
    .unwrap();
    let (code, said) = check(&path);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("wait for one another: a, b, a"), "{said}");
}
