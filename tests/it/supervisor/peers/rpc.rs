//! The whole RPC interface through Python's own client: types, texts and faults of both daemons.

use std::process::Command;
use std::thread;

use e2e::tools;

use super::lanes::{Lane, Whose};

const PROGRAMS: &str = "[program:cat]
command=/bin/cat
startsecs=0
stdout_logfile=DIR/cat.log
stderr_logfile=DIR/cat.err
[program:off]
command=/bin/sleep 1000
autostart=false
startsecs=0
stopsignal=INT
exitcodes=0,2
[program:bad]
command=/bin/false
startretries=0
stdout_logfile=NONE
[program:done]
command=/bin/sh -c 'sleep 0.5; exit 3'
startsecs=0
autorestart=false
redirect_stderr=true
[program:nofile]
command=/no/such/file
autostart=false
[program:noexec]
command=/etc/passwd
autostart=false
directory=/tmp
[program:m]
command=/bin/sleep 1000
startsecs=0
priority=3
[group:g]
programs=m
priority=7
";

#[test]
fn every_method_answers_the_same() {
    let Some(venv) = tools::venv() else { return };
    let said = thread::scope(|scope| {
        let sides = [(Whose::Stock, "stock"), (Whose::Ours, "ours")].map(|(whose, word)| {
            let venv = &venv;
            scope.spawn(move || {
                let mut lane = Lane::start(whose, venv, PROGRAMS);
                let output = Command::new(venv.join("bin/python"))
                    .arg(tools::apps().join("supervisor_rpc.py"))
                    .arg(lane.folder.join("s.sock"))
                    .arg(word)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{word}: {said}\n{errors}");
                assert_eq!(lane.daemon.exit_code(), 0, "after shutdown");
                said
            })
        });
        sides.map(|side| side.join().unwrap())
    });
    let [stock, ours] = said;
    let mut differences = String::new();
    for (want, got) in stock.lines().zip(ours.lines()) {
        if want != got {
            differences += &format!("want {want}\ngot  {got}\n\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(stock.lines().count(), ours.lines().count());
}
