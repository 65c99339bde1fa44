//! Every command of supervisorctl in every state of a program: lines and exit codes of the four pairs of stock and ours.

use std::process::Command;
use std::thread;

use e2e::{tools, wait};

use super::lanes::{Lane, Whose};

/// What `backoff` names cannot be executed, so that no attempt has a moment in which it is STARTING and has a pid.
const PROGRAMS: &str = "[program:running]
command=/bin/cat
startsecs=0
stdout_logfile=DIR/running.log
[program:stopped]
command=/bin/sleep 1000
autostart=false
startsecs=0
[program:exited]
command=/bin/true
startsecs=0
autorestart=false
[program:unexpected]
command=/bin/false
startsecs=0
autorestart=false
[program:fatal]
command=/bin/false
startretries=0
[program:backoff]
command=/etc/passwd
startretries=100000
[program:starting]
command=/bin/sleep 1000
startsecs=600
[program:stubborn]
command=/bin/sh -c \"trap '' TERM; echo up; while :; do sleep 1; done\"
startsecs=0
stopwaitsecs=600
killasgroup=true
stdout_logfile=DIR/stubborn.log
[program:nofile]
command=/no/such/file
autostart=false
[program:noexec]
command=/etc/passwd
autostart=false
[program:member]
command=/bin/sleep 1000
process_name=%(program_name)s_%(process_num)d
numprocs=2
startsecs=0
[group:g]
programs=member
priority=5
";

const ADDED: &str = "[program:fresh]
command=/bin/sleep 1000
startsecs=0
";

/// In this order: what only looks, then what changes something.
const ACTIONS: &str = "status
status running g:* nobody nobody:* g:nobody
status stopped
status running
avail
pid
pid all
pid running nobody stopped
version
version x
signal
signal HUP
signal NOPE running
signal CONT running
signal CONT stopped fatal exited backoff nobody
signal CONT g:*
signal CONT nobody:*
signal 0 starting
tail running
tail stubborn
tail nobody
tail running nochannel
tail -x running
tail
tail -3
maintail nope
tail -f nobody
clear
clear nobody nobody:* running
fg
fg nobody
fg stopped
fg a b
start
start nobody nobody:* running backoff nofile noexec
start stopped fatal
status stopped exited unexpected fatal
stop
stop nobody nobody:* stopped exited fatal
stop starting backoff stopped
status starting backoff
restart running
restart g:*
restart nobody
stop g:*
start g:* g:member_0
remove running
remove nobody
add running
add nobody
reread
update
update nobody
nonsense
help nonsense
open elsewhere
reload x
shutdown x
reread x";

const AFTER_EDIT: &str = "reread
status fresh
update";

/// Once what was added runs: until then it is starting, for a moment that differs.
const AFTER_UPDATE: &str = "status fresh
avail
add fresh
stop fresh
remove fresh
status fresh
add fresh
clear all";

#[test]
fn every_command_says_and_returns_the_same() {
    let Some(venv) = tools::venv() else { return };
    use Whose::{Ours, Stock};
    let lanes = [(Stock, Stock), (Ours, Stock), (Stock, Ours), (Ours, Ours)];
    let told: Vec<Vec<String>> = thread::scope(|scope| {
        let running = lanes.map(|(ctl, daemon)| {
            let venv = &venv;
            scope.spawn(move || {
                let lane = Lane::start(daemon, venv, PROGRAMS);
                settle(&lane, venv);
                let mut told: Vec<String> = Vec::new();
                let mut run = |actions: &str| {
                    let each = actions.lines().zip(lane.ctl_each(ctl, actions));
                    for (action, (code, text)) in each {
                        // Several are told in the order in which they happened to be done.
                        let mut lines: Vec<&str> = text.lines().map(settled).collect();
                        if action.contains('*') || action.contains("all") {
                            lines.sort_unstable();
                        }
                        told.push(format!("$ {action}\n{}\n[{code}]", lines.join("\n")));
                    }
                };
                run(ACTIONS);
                lane.rewrite(&format!("{PROGRAMS}{ADDED}"));
                run(AFTER_EDIT);
                wait::until("the added one to run", || {
                    let (_, text) = lane.ctl(Ours, "status fresh");
                    text.contains("RUNNING").then_some(())
                });
                run(AFTER_UPDATE);
                lane.rewrite("[program:broken]\ncommand=/bin/cat\nstartsecs=x\n");
                let (code, text) = lane.ctl(ctl, "reread");
                assert_eq!(code, 1, "{text}");
                assert!(text.starts_with("ERROR: CANT_REREAD: "), "{text}");
                let (code, text) = lane.ctl(ctl, "shutdown");
                told.push(format!("$ shutdown\n{text}[{code}]"));
                told
            })
        });
        running.map(|lane| lane.join().unwrap()).into()
    });
    let mut differences = String::new();
    for (lane, theirs) in lanes.iter().zip(&told).skip(1) {
        for (want, got) in told[0].iter().zip(theirs) {
            if want != got {
                differences += &format!("{lane:?} (command, daemon)\nwant {want}\ngot  {got}\n\n");
            }
        }
        assert_eq!(told[0].len(), theirs.len());
    }
    assert!(differences.is_empty(), "{differences}");
}

/// A line of `status`: `start` answers as soon as an attempt has failed, and the last one is then still to be counted.
fn settled(line: &str) -> &str {
    let underway = line.contains("STARTING") || line.contains("BACKOFF");
    if line.starts_with("fatal ") && underway {
        "fatal                            FATAL     Exited too quickly (process log may have details)"
    } else {
        line
    }
}

/// Waits until every program is in the state that it is named after.
fn settle(lane: &Lane, venv: &std::path::Path) {
    wait::until("each program to be in its state", || {
        let (_, text) = lane.ctl(Whose::Ours, "status");
        let is = |name: &str, state: &str| {
            text.lines()
                .any(|line| line.starts_with(name) && line.contains(state))
        };
        let log = lane.folder.read("stubborn.log");
        let all = is("running", "RUNNING")
            && is("exited", "EXITED")
            && is("unexpected", "EXITED")
            && is("fatal", "FATAL")
            && is("backoff", "BACKOFF")
            && is("starting", "STARTING")
            && is("g:member_1", "RUNNING")
            && log.contains("up");
        all.then_some(())
    });
    // supervisorctl waits for the end; one that does not come needs a call that does not.
    let call = "import sys, xmlrpc.client as x; from supervisor.xmlrpc import SupervisorTransport as T; \
        x.ServerProxy('http://127.0.0.1', T(None, None, sys.argv[1])).supervisor.stopProcess('stubborn', False)";
    let url = format!("unix://{}", lane.folder.join("s.sock").display());
    let status = Command::new(venv.join("bin/python"))
        .args(["-c", call, &url])
        .status()
        .unwrap();
    assert!(status.success());
    wait::until("the stubborn one to be stopping", || {
        lane.ctl(Whose::Ours, "status stubborn")
            .1
            .contains("STOPPING")
            .then_some(())
    });
}
