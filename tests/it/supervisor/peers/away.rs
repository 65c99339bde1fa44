//! Programs that put themselves into the background: the same states and words under supervisord and under us.

use std::thread;

use e2e::{process, tools, wait};
use nix::sys::signal::Signal;

use super::lanes::{Lane, Whose};

/// Both fork, leave session and process group, and end.
const PROGRAMS: &str = r#"[program:once]
command=/bin/sh -c "setsid sh -c 'echo $$ >> DIR/once.pids; exec sleep 1000' </dev/null >/dev/null 2>&1 & exit 0"
startsecs=0
[program:quick]
command=/bin/sh -c "setsid sh -c 'echo $$ >> DIR/quick.pids; exec sleep 1000' </dev/null >/dev/null 2>&1 & exit 0"
startsecs=1
startretries=1
"#;

#[test]
fn programs_that_fork_away_have_ended_and_what_they_left_is_left_alone() {
    let Some(venv) = tools::venv() else { return };
    thread::scope(|scope| {
        for whose in [Whose::Stock, Whose::Ours] {
            let venv = &venv;
            scope.spawn(move || {
                let mut lane = Lane::start(whose, venv, PROGRAMS);
                let pids = |name: &str, count: usize| -> Vec<i32> {
                    wait::until(&format!("{whose:?}: {count} {name}"), || {
                        let text = lane.folder.read(name);
                        let pids = text.lines().map(|line| line.parse().ok());
                        let pids: Vec<i32> = pids.collect::<Option<_>>()?;
                        (pids.len() == count).then_some(pids)
                    })
                };
                let want = "once                             EXITED    DATE\n\
                            quick                            FATAL     Exited too quickly (process log may have details)\n";
                wait::until(&format!("{whose:?}: both states"), || {
                    (lane.ctl(Whose::Ours, "status").1 == want).then_some(())
                });
                let left = [pids("once.pids", 1), pids("quick.pids", 2)].concat();
                assert_eq!(
                    lane.ctl(Whose::Ours, "stop all").1,
                    "",
                    "{whose:?}: nothing runs"
                );
                assert_eq!(
                    lane.ctl(Whose::Ours, "stop once").1,
                    "once: ERROR (not running)\n",
                    "{whose:?}"
                );
                assert!(left.iter().all(|pid| process::is_alive(*pid)), "{whose:?}");

                // Started again it is another one beside the first; one that ends is no business of the program's.
                assert_eq!(
                    lane.ctl(Whose::Ours, "start once").1,
                    "once: started\n",
                    "{whose:?}"
                );
                let both = pids("once.pids", 2);
                process::signal(both[0], Signal::SIGKILL);
                process::wait_gone(both[0]);
                assert_eq!(lane.ctl(Whose::Ours, "status").1, want, "{whose:?}");

                // They outlive the supervisor.
                lane.daemon.terminate();
                lane.daemon.wait_exit();
                let left = [&both[1..], &left[1..]].concat();
                assert!(left.iter().all(|pid| process::is_alive(*pid)), "{whose:?}");
                for pid in left {
                    process::signal(pid, Signal::SIGKILL);
                }
            });
        }
    });
}
