//! How Ansible's module community.general.supervisorctl reads supervisorctl: its rules, kept here in our words, since the
//! collection is too large to install for a test. The module itself was run against this daemon by hand, with the same
//! outcome in each step.

use e2e::{tools, wait};

use super::lanes::{Lane, Whose};

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

struct Module<'a> {
    lane: &'a Lane,
}

impl Module<'_> {
    /// Each word is an argument of its own, but `signal HUP`, which the module gives as one.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        self.lane.ctl_words(Whose::Ours, arguments)
    }

    /// Names and states of what a name means: a process, all, or a group, which ends in a colon.
    #[track_caller]
    fn matched(&self, name: &str) -> Vec<(String, String)> {
        let (_, out) = self.run(&["status"]);
        let lines = out.lines().map(|line| {
            let fields: Vec<&str> = line.split(' ').filter(|field| !field.is_empty()).collect();
            assert!(fields.len() >= 2, "a line without a state: {line:?}");
            (fields[0].to_owned(), fields[1].to_owned())
        });
        let is_meant = |process: &str| match name.strip_suffix(':') {
            Some(group) => process.split_once(':').is_some_and(|(of, _)| of == group),
            None => process == name || name == "all",
        };
        lines.filter(|(process, _)| is_meant(process)).collect()
    }

    /// A process is STARTING for a moment even with `startsecs=0`, and an added one starts after the answer to `add`.
    #[track_caller]
    fn wait_running(&self, name: &str) {
        wait::until("the process to be RUNNING", || {
            (self.matched(name) == [(name.to_owned(), "RUNNING".to_owned())]).then_some(())
        });
    }

    /// What was changed.
    #[track_caller]
    fn act(&self, name: &str, action: &str, said: &str, states: &[&str]) -> Vec<String> {
        let mut affected = Vec::new();
        for (process, state) in self.matched(name) {
            if !states.contains(&state.as_str()) {
                continue;
            }
            let (code, out) = self.run(&[action, &process]);
            assert_eq!(code, 0, "{action} {process}: {out}");
            let told = format!("{process}: {said}");
            assert!(out.contains(&told), "no {told:?} in {out:?}");
            affected.push(process);
        }
        affected
    }

    #[track_caller]
    fn group(&self, verb: &str, name: &str, said: &str) {
        assert_eq!(self.run(&["reread"]).0, 0);
        let (_, out) = self.run(&[verb, name]);
        assert!(
            out.contains(&format!("{name}: {said} process group")),
            "{out}"
        );
    }
}

const UP: [&str; 2] = ["RUNNING", "STARTING"];
const DOWN: [&str; 4] = ["STOPPED", "EXITED", "FATAL", "BACKOFF"];

#[test]
fn ansibles_module_understands_what_is_said() {
    let Some(venv) = tools::venv() else { return };
    let lane = Lane::start(Whose::Ours, &venv, PROGRAMS);
    let module = Module { lane: &lane };
    let started = |name: &str| module.act(name, "start", "started", &DOWN);
    let stopped = |name: &str| module.act(name, "stop", "stopped", &UP);
    module.wait_running("alone");
    assert!(started("alone").is_empty(), "it runs already");
    assert_eq!(stopped("alone"), ["alone"]);
    assert_eq!(started("alone"), ["alone"]);
    assert_eq!(started("two:"), ["two:two_0", "two:two_1"]);
    assert_eq!(module.run(&["update"]).0, 0);
    let all_states = [&UP[..], &DOWN].concat();
    let restarted = module.act("alone", "restart", "started", &all_states);
    assert_eq!(restarted, ["alone"]);
    let signalled = module.act("two:", "signal CONT", "signalled", &UP);
    assert_eq!(signalled, ["two:two_0", "two:two_1"]);
    assert!(module.matched("nobody").is_empty());

    lane.rewrite(&format!(
        "{PROGRAMS}[program:fresh]\ncommand=sleep 1000\nstartsecs=0\n"
    ));
    module.group("add", "fresh", "added");
    module.wait_running("fresh");
    assert_eq!(stopped("fresh"), ["fresh"]);
    module.group("remove", "fresh", "removed");
    assert!(module.matched("fresh").is_empty());
    assert_eq!(stopped("all"), ["alone", "two:two_0", "two:two_1"]);
    lane.daemon.stop();
}
