//! The death of the brain: programs go on under the same pids, and no log line is lost, doubled or torn.

use e2e::client::Request;
use e2e::folder::Folder;
use e2e::{process, wait};
use nix::sys::signal::Signal;

use super::start;

#[test]
fn programs_live_on_and_no_log_line_is_lost() {
    const LINES: usize = 60_000;
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        &format!(
            "  talker:
    command:
      - python3
      - -uc
      - |
        import time
        for number in range({LINES}):
            print('line', number)
            if number % 200 == 0:
                time.sleep(0.01)
        print('all said')
        time.sleep(1000)
    startsecs: 0s
    stdout_logfile: talker.log
    stdout_logfile_maxbytes: 100MB
  quiet:
    command: [sleep, '1000']
    startsecs: 0s
"
        ),
    );
    let before = (
        control.wait_running("talker"),
        control.wait_running("quiet"),
    );
    for round in 1..=5 {
        let mark = format!("line {}\n", round * LINES / 12);
        wait::until("the log to grow", || {
            folder.read("talker.log").contains(&mark).then_some(())
        });
        control.kill_brain();
        assert_eq!(
            (
                control.wait_running("talker"),
                control.wait_running("quiet")
            ),
            before,
            "the same processes"
        );
    }
    wait::until("the last line", || {
        folder
            .read("talker.log")
            .ends_with("all said\n")
            .then_some(())
    });
    let log = folder.read("talker.log");
    for (number, line) in log.lines().take(LINES).enumerate() {
        assert_eq!(
            line,
            format!("line {number}"),
            "line {} of the log",
            number + 1
        );
    }
    assert_eq!(log.lines().count(), LINES + 1);
    supervisor.stop();
}

#[test]
fn an_end_while_no_brain_is_there_is_still_seen_with_its_exit_code() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  ender:
    command: [sh, -c, 'trap \"exit 7\" USR1; touch listening; while true; do sleep 0.02; done']
    startsecs: 0s
    autorestart: false
",
    );
    let pid = control.wait_running("ender");
    wait::until("its trap", || {
        folder.join("listening").exists().then_some(())
    });
    let brain = control.brain().unwrap();
    // Frozen first, so that the program's end surely falls into the time without a brain.
    process::signal(brain, Signal::SIGSTOP);
    process::signal(pid, Signal::SIGUSR1);
    process::wait_gone(pid);
    process::signal(brain, Signal::SIGKILL);
    process::wait_gone(brain);
    wait::until("the exit code", || {
        let reply = control.call(Request::get("/v1/programs/ender")).ok()?;
        let program = reply.json();
        (program["state"] == "EXITED" && program["exit_code"] == 7).then_some(())
    });
    supervisor.stop();
}

#[test]
fn the_death_of_the_holder_ends_the_brain() {
    let folder = Folder::new();
    let (mut supervisor, control) = start(
        &folder,
        "  sleeper:\n    command: [sleep, '1000']\n    startsecs: 0s\n",
    );
    let brain = control.brain().unwrap();
    let program = control.wait_running("sleeper");
    supervisor.signal(Signal::SIGKILL);
    supervisor.wait_exit();
    process::wait_gone(brain);
    // The program may outlive its holder (as under supervisord), but no brain stays that would believe to be its master.
    process::signal(program, Signal::SIGKILL);
    process::wait_gone(program);
}
