//! Ansible's own module, community.general.supervisorctl, against stock supervisord and against ours.

use std::path::Path;
use std::process::Command;

use e2e::{tools, wait};

use super::lanes::{Lane, Whose, supervisorctl};

const PROGRAMS: &str = "[program:alone]
command=sleep 1000
startsecs=0
[program:two]
command=sleep 1000
process_name=two_%(process_num)d
numprocs=2
startsecs=0
autostart=false
";

const FRESH: &str = "[program:fresh]
command=sleep 1000
startsecs=0
";

/// What is asked of the module, and what it has to say: whether it changed something, or that it failed. In plays: before
/// the file has `fresh`, once it has, and once that runs.
const PLAYS: [&[(&str, &str)]; 3] = [
    &[
        ("name=alone state=started", "ok"),
        ("name=alone state=stopped", "changed"),
        ("name=alone state=stopped", "ok"),
        ("name=alone state=started", "changed"),
        ("name=two: state=started", "changed"),
        ("name=two: state=started", "ok"),
        ("name=alone state=restarted", "changed"),
        ("name=two: state=signalled signal=CONT", "changed"),
        ("name=two: state=stopped", "changed"),
        ("name=nobody state=started", "fatal"),
    ],
    &[
        ("name=fresh state=present", "changed"),
        ("name=fresh state=present", "ok"),
    ],
    &[
        ("name=fresh state=stopped", "changed"),
        ("name=fresh state=absent", "changed"),
        ("name=fresh state=absent", "ok"),
        ("name=all state=stopped", "changed"),
    ],
];

#[test]
fn ansibles_module_manages_programs_as_with_stock() {
    let Some(venv) = tools::venv() else { return };
    let Some(ansible) = tools::program("ansible-playbook", "ansible") else {
        return;
    };
    for whose in [Whose::Stock, Whose::Ours] {
        let lane = Lane::start(whose, &venv, PROGRAMS);
        let [first, second, third] = PLAYS;
        wait_running(&lane, whose, "alone");
        play(&ansible, &venv, &lane, whose, first);
        lane.rewrite(&format!("{PROGRAMS}{FRESH}"));
        play(&ansible, &venv, &lane, whose, second);
        wait_running(&lane, whose, "fresh");
        play(&ansible, &venv, &lane, whose, third);
        lane.daemon.stop();
    }
}

#[track_caller]
fn play(ansible: &Path, venv: &Path, lane: &Lane, whose: Whose, steps: &[(&str, &str)]) {
    let folder = lane.folder.path().display();
    let ctl = supervisorctl(whose, venv, &lane.folder);
    let mut text =
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n".to_owned();
    for (arguments, _) in steps {
        text.push_str(&format!(
            "    - community.general.supervisorctl: \"{arguments} supervisorctl_path={} config={folder}/supervisord.conf\"\n      \
             ignore_errors: true\n",
            ctl.display()
        ));
    }
    let output = Command::new(ansible)
        .arg(lane.folder.write("play.yml", text))
        .args([
            "--extra-vars",
            "ansible_python_interpreter=/usr/bin/python3",
        ])
        .env("ANSIBLE_HOME", lane.folder.join("ansible"))
        .env("ANSIBLE_REMOTE_TEMP", lane.folder.join("ansible"))
        .env("ANSIBLE_LOCALHOST_WARNING", "False")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // `changed: [localhost]`
    let told = said
        .lines()
        .filter_map(|line| line.split_once(": [localhost]"));
    let told: Vec<&str> = told.map(|(word, _)| word).collect();
    let want: Vec<&str> = steps.iter().map(|(_, word)| *word).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told, want, "{whose:?}: {said}{errors}");
}

/// An added program starts after the answer to `add`, and is STARTING for a moment even with `startsecs=0`.
#[track_caller]
fn wait_running(lane: &Lane, whose: Whose, name: &str) {
    wait::until("the process to be RUNNING", || {
        let (_, out) = lane.ctl_words(whose, &["status", name]);
        out.contains("RUNNING").then_some(())
    });
}
