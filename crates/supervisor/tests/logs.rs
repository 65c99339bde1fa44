//! What programs say: into files, over rotation, and back to who asks.

mod rig;

use rig::{Rig, until};

#[test]
fn logs_are_told_back_by_lines_and_followed_over_rotation() {
    let rig = Rig::start(
        "  talker:
    command: [sh, -c, 'n=0; while read line; do :; done < /dev/null; while [ ! -e go ]; do sleep 0.01; done; while [ $n -lt 3000 ]; do echo out $n; n=$((n+1)); done; echo over; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: deep/down/talker.log
    stdout_logfile_maxbytes: 4k
    stdout_logfile_backups: 3
    stderr_logfile: NONE
  errors:
    command: [sh, -c, 'echo to out; echo to err >&2; exec sleep 1000']
    startsecs: 0s
  joined:
    command: [sh, -c, 'echo to out; echo to err >&2; exec sleep 1000']
    startsecs: 0s
    redirect_stderr: true
",
    );
    rig.running_pid("talker");
    let follower = rig.stream("/v1/programs/talker/logs?tail=0&follow=true");
    let mut follower = follower.skip_while(|line| !line.is_empty());
    assert_eq!(follower.next().unwrap(), "");
    std::fs::write(rig.path("go"), "").unwrap();
    let mut next = 0;
    let mut last = 0;
    for line in follower.by_ref() {
        if line == "over" {
            break;
        }
        // Lines of chunk sizes are in between, and a slow reader may miss files that were rotated away.
        if let Some(number) = line
            .strip_prefix("out ")
            .and_then(|number| number.parse::<u32>().ok())
        {
            assert!(number >= next, "{number} after {next}");
            next = number + 1;
            last = number;
        }
    }
    assert_eq!(last, 2999);
    let path = |n: &str| rig.path(&format!("deep/down/talker.log{n}"));
    assert!(path(".3").exists() && !path(".4").exists());
    for n in ["", ".1", ".2", ".3"] {
        let text = std::fs::read_to_string(path(n)).unwrap();
        assert!(
            text.len() <= 4096
                && text.ends_with('\n')
                && (text.starts_with("out") || text == "over\n"),
            "{n}: {text}"
        );
    }
    let tail = |query: &str| {
        let (status, body) = rig.call("GET", &format!("/v1/programs/{query}")).unwrap();
        assert_eq!(status, 200);
        body.as_str().unwrap_or_default().to_owned()
    };
    let lines = tail("talker/logs?tail=600");
    assert!(
        lines.contains("out 2401\n") && lines.contains("out 2999\n"),
        "{lines}"
    );
    assert!(!lines.contains("out 2400\n"), "{lines}");

    until("the error", || {
        rig.read("logs/errors.err.log")
            .contains("to err")
            .then_some(())
    });
    assert_eq!(rig.read("logs/errors.log"), "to out\n");
    assert!(tail("errors/logs?channel=stderr").contains("to err\n"));
    until("both", || {
        (rig.read("logs/joined.log") == "to out\nto err\n").then_some(())
    });
    assert_eq!(
        rig.call("GET", "/v1/programs/joined/logs?channel=stderr")
            .unwrap()
            .0,
        404
    );
    assert_eq!(
        rig.call("GET", "/v1/programs/joined/logs?channel=both")
            .unwrap()
            .0,
        400
    );
    rig.stop();
}

#[test]
fn what_is_said_last_is_written_before_the_end() {
    let rig = Rig::start(
        "  farewell:
    command: [sh, -c, 'trap \"i=0; while [ \\$i -lt 2000 ]; do echo bye \\$i; i=\\$((i+1)); done; exit 0\" TERM; echo set; while true; do sleep 0.01; done']
    startsecs: 0s
    stdout_logfile: farewell.log
",
    );
    until("the trap", || {
        rig.read("farewell.log").contains("set").then_some(())
    });
    let folder = rig.folder.path().join("farewell.log");
    rig.signal(nix::sys::signal::Signal::SIGTERM);
    let mut rig = rig;
    rig.wait_exit();
    let log = std::fs::read_to_string(folder).unwrap();
    assert!(log.ends_with("bye 1999\n"), "{log}");
}
