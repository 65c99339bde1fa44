//! The brain is killed, again and again, at any instant: programs, sockets, log lines and exit codes stay whole.

mod rig;

use nix::sys::signal::Signal;
use rig::{Rig, is_alive, signal};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// Writes numbered lines as fast as it can until there is a file `stop`, then one last word. Not a signal: Python may
/// lose what it has buffered when one interrupts its write.
const WRITER: &str = "
import os, sys, time
number = 0
while not os.path.exists('stop'):
    sys.stdout.write(''.join('%09d\\n' % n for n in range(number, number + 1000)))
    number += 1000
print('end', number, flush=True)
time.sleep(1000)
";

/// The files of a log, the oldest first. A rotation that was cut off leaves a gap in the numbers until the next one.
fn files(log: &Path) -> Vec<String> {
    let backup = |number: u32| format!("{}.{number}", log.display());
    let old = (1..10_000).rev().map(backup);
    let mut all: Vec<String> = old.filter(|name| Path::new(name).exists()).collect();
    all.push(log.display().to_string());
    all
}

/// Checks that they hold every line once and in order; gives the number of lines. `said`: what the program had written,
/// by what is in the log.
fn check_lines(files: &[String], said: impl Fn(String) -> String) -> std::io::Result<u64> {
    let mut next = 0;
    for file in files {
        for line in BufReader::new(std::fs::File::open(file)?).lines() {
            let line = said(line?);
            if let Some(total) = line.strip_prefix("end ") {
                assert_eq!(total, next.to_string());
                return Ok(next);
            }
            assert_eq!(line, format!("{next:09}"), "in {file}");
            next += 1;
        }
    }
    panic!("the last word is missing after {next} lines");
}

/// How many brains are killed.
const DEATHS: u32 = 150;

/// Kills them at instants from the very beginning of a brain's life on; the same each time the test runs.
#[track_caller]
fn kill_brains(rig: &Rig, deaths: u32) {
    let mut seed: u64 = 7;
    let mut last = rig.until("a brain", || rig.brain());
    for _ in 0..deaths {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((seed >> 33) % 100_000));
        signal(last, Signal::SIGKILL);
        last = rig.until("the next brain", || rig.brain().filter(|pid| *pid != last));
    }
}

#[test]
fn many_brains_die_at_any_instant_and_nothing_is_lost_or_doubled() {
    let rig = Rig::start_with(
        "  writer:
    command: [python3, writer.py]
    startsecs: 0s
    stdout_logfile: writer.log
    stdout_logfile_maxbytes: 3MB
    stdout_logfile_backups: 10000
  web:
    command: [sleep, '1000']
    startsecs: 0s
    sockets: { http: '127.0.0.1:0' }
  ticker:
    command: [sh, -c, 'echo tick >> ticks; sleep 0.03; exit 3']
    startsecs: 0s
    autorestart: true
",
        |folder| std::fs::write(folder.join("writer.py"), WRITER).unwrap(),
    );
    let (writer, web) = (rig.running_pid("writer"), rig.running_pid("web"));
    let listeners = rig.get("/v1/status")["listeners"].clone();
    kill_brains(&rig, DEATHS);
    assert_eq!(
        (rig.running_pid("writer"), rig.running_pid("web")),
        (writer, web),
        "the same processes"
    );
    assert_eq!(
        rig.get("/v1/status")["listeners"],
        listeners,
        "the same sockets"
    );
    let address = listeners[0]["address"].as_str().unwrap();
    std::net::TcpStream::connect(address).expect("the socket still listens");
    // Every exit was answered by one new start, and by no second one.
    assert_eq!(rig.program("ticker")["exit_code"], 3);
    rig.post("/v1/programs/ticker/stop?wait=true");
    let starts = rig.program("ticker")["restarts"].as_u64().unwrap() + 1;
    let ticks = rig.read("ticks").lines().count() as u64;
    assert!(
        ticks == starts || ticks + 1 == starts, // the last may have been stopped before its first word
        "{starts} starts, and {ticks} of them were real"
    );
    assert!(ticks > 20, "{ticks} ticks are too few to show anything");
    std::fs::write(rig.path("stop"), "").unwrap();
    rig.until("the writer's last word", || {
        rig.read("writer.log").contains("end ").then_some(())
    });
    let lines = check_lines(&files(&rig.path("writer.log")), |line| line).unwrap();
    assert!(
        lines > 100_000,
        "{lines} lines are too few to show anything"
    );
    rig.stop();
}

/// The same for lines that are changed on their way: taken out of the pipe, made into something else, and written.
#[test]
fn no_line_that_is_changed_on_its_way_is_lost_or_doubled() {
    let changed = WRITER
        .replace("sys.stdout.write", "time.sleep(0.005); sys.stdout.write")
        .replace("+ 1000)", "+ 200)")
        .replace("+= 1000", "+= 200");
    let tagged = changed.replace(
        "'%09d\\n' % n for",
        "'\\x1b[1m%05d<!--XSUPERVISOR:BEGIN-->%d\\n<!--XSUPERVISOR:END-->%04d\\n' % (n // 10000, n, n % 10000) for",
    );
    assert_ne!(tagged, changed);
    let programs = "  json:
    command: [python3, changed.py]
    startsecs: 0s
    logfile_format: json
    stdout_logfile: json.log
    stdout_logfile_maxbytes: 300KB
    stdout_logfile_backups: 10000
  tagged:
    command: [python3, tagged.py]
    startsecs: 0s
    stdout_capture_maxbytes: 1KB
    stdout_events_enabled: true
    stdout_logfile: tagged.log
    stdout_logfile_maxbytes: 100KB
    stdout_logfile_backups: 10000
  both:
    command: [python3, tagged.py]
    startsecs: 0s
    stdout_capture_maxbytes: 1KB
    logfile_format: prefixed
    stdout_logfile: both.log
    stdout_logfile_maxbytes: 0
strip_ansi: true
";
    let rig = Rig::start_with(programs, |folder| {
        std::fs::write(folder.join("changed.py"), &changed).unwrap();
        std::fs::write(folder.join("tagged.py"), &tagged).unwrap();
    });
    let names = ["json", "tagged", "both"];
    let pids = names.map(|name| rig.running_pid(name));
    kill_brains(&rig, DEATHS / 5);
    std::fs::write(rig.path("stop"), "").unwrap();
    for name in names {
        let log = format!("{name}.log");
        rig.until("the last word", || {
            rig.read(&log).contains("end ").then_some(())
        });
        let said = |line: String| match name {
            "json" => {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                line["message"].as_str().unwrap().to_owned()
            }
            "both" => line.split(' ').skip(2).collect::<Vec<_>>().join(" "),
            _ => line,
        };
        let lines = check_lines(&files(&rig.path(&log)), said).unwrap();
        assert!(lines > 5_000, "{name}: {lines} lines are too few");
    }
    assert_eq!(names.map(|name| rig.running_pid(name)), pids);
    rig.stop();
}

#[test]
fn an_exit_that_nobody_saw_is_reported_and_answered() {
    let rig = Rig::start(
        "  ender:
    command: [sh, -c, 'trap \"exit 7\" USR1; : > trapped; while true; do sleep 0.01; done']
    startsecs: 0s
    autorestart: false
  crasher:
    command: [sleep, '1000']
    startsecs: 0s
",
    );
    let (ender, crasher) = (rig.running_pid("ender"), rig.running_pid("crasher"));
    rig.until("the trap", || rig.path("trapped").exists().then_some(()));
    // Frozen first, so that the ends surely fall into the time without a brain.
    let brain = rig.brain().unwrap();
    signal(brain, Signal::SIGSTOP);
    signal(ender, Signal::SIGUSR1);
    signal(crasher, Signal::SIGSEGV);
    rig.until("both to be reaped", || {
        (!is_alive(ender) && !is_alive(crasher)).then_some(())
    });
    signal(brain, Signal::SIGKILL);
    assert_eq!(rig.wait_state("ender", "EXITED")["exit_code"], 7);
    let again = rig.until("a new crasher", || {
        Some(rig.running_pid("crasher")).filter(|pid| *pid != crasher)
    });
    let said = rig.program("crasher");
    assert_eq!(
        (&said["exit_code"], &said["restarts"]),
        (&(-11).into(), &1.into()),
        "{said}"
    );
    assert!(is_alive(again));
    rig.until("the log", || {
        let log = rig.read("supervisor.log");
        (log.contains("exited: ender (exit status 7; not expected)")
            && log.contains("exited: crasher (terminated by SIGSEGV"))
        .then_some(())
    });
    rig.stop();
}

#[test]
fn a_wait_for_the_next_attempt_goes_on_and_a_stop_is_not_forgotten() {
    let rig = Rig::start(
        "  quitter:
    command: [sh, -c, 'exit 3']
    startretries: 2
  stubborn:
    command: [sh, -c, 'trap \"\" TERM; echo deaf; while true; do sleep 0.05; done']
    startsecs: 0s
    stopwaitsecs: 1s
    stdout_logfile: stubborn.log
",
    );
    let stubborn = rig.running_pid("stubborn");
    rig.until("it to be deaf", || {
        rig.read("stubborn.log").contains("deaf").then_some(())
    });
    rig.post("/v1/programs/stubborn/stop");
    rig.wait_state("stubborn", "STOPPING");
    rig.wait_state("quitter", "BACKOFF");
    rig.replace_brain();
    rig.replace_brain();
    rig.wait_state("stubborn", "STOPPED");
    assert!(!is_alive(stubborn));
    rig.wait_state("quitter", "FATAL");
    assert_eq!(rig.program("quitter")["restarts"], 2);
    rig.stop();
}

#[test]
fn a_request_to_end_outlives_the_brain_that_got_it() {
    let mut rig = Rig::start(
        "  stubborn:
    command: [sh, -c, 'trap \"\" TERM; echo deaf; while true; do sleep 0.05; done']
    startsecs: 0s
    stopwaitsecs: 1s
    stdout_logfile: stubborn.log
",
    );
    let stubborn = rig.running_pid("stubborn");
    rig.until("it to be deaf", || {
        rig.read("stubborn.log").contains("deaf").then_some(())
    });
    // Nobody is there to hear the signal.
    let brain = rig.brain().unwrap();
    signal(brain, Signal::SIGSTOP);
    rig.signal(Signal::SIGTERM);
    signal(brain, Signal::SIGKILL);
    rig.wait_state("stubborn", "STOPPING");
    rig.replace_brain();
    assert_eq!(rig.wait_exit().code(), Some(0));
    assert!(!is_alive(stubborn));
}

#[test]
fn a_word_of_readiness_that_nobody_heard_is_heard_later() {
    let rig = Rig::start(
        "  speaker:
    command: [python3, -c, \"import os,signal,socket; signal.signal(signal.SIGUSR1, lambda *_: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', '\\\\0' + os.environ['NOTIFY_SOCKET'][1:])); print('set', flush=True); [signal.pause() for _ in iter(int, 1)]\"]
    ready: notify
    stdout_logfile: speaker.log
",
    );
    rig.until("the program", || {
        rig.read("speaker.log").contains("set").then_some(())
    });
    let pid = rig.program("speaker")["pid"].as_i64().unwrap() as i32;
    let brain = rig.brain().unwrap();
    signal(brain, Signal::SIGSTOP);
    signal(pid, Signal::SIGUSR1);
    signal(brain, Signal::SIGKILL);
    assert_eq!(rig.running_pid("speaker"), pid);
    rig.stop();
}

#[test]
fn without_the_holder_no_brain_stays() {
    let mut rig = Rig::start("  sleeper:\n    command: [sleep, '1000']\n    startsecs: 0s\n");
    let (brain, sleeper) = (rig.brain().unwrap(), rig.running_pid("sleeper"));
    rig.signal(Signal::SIGKILL);
    rig.wait_exit();
    rig.until("the brain to end", || (!is_alive(brain)).then_some(()));
    signal(sleeper, Signal::SIGKILL);
}

#[test]
fn where_no_brain_is_able_to_the_holder_ends_the_programs() {
    let mut rig = Rig::start("  sleeper:\n    command: [sleep, '1000']\n    startsecs: 0s\n");
    let sleeper = rig.running_pid("sleeper");
    let brain = rig.brain().unwrap();
    signal(brain, Signal::SIGSTOP);
    rig.signal(Signal::SIGTERM);
    // Asked again and again, as a person would; the first time does not count for some seconds.
    let code = rig::until("the end", || {
        rig.signal(Signal::SIGTERM);
        rig.try_exit()
    });
    assert_eq!(code.code(), Some(70));
    assert!(!is_alive(sleeper) && !is_alive(brain));
}
