//! What the states of the programs mean while the site is starting. Pure.

use serde_json::Value;
use trine_control::message::{Event, ProgramState, ProgramStatus};

use super::progress::Mark;

/// How the start stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Waiting,
    AllReady,
    /// A program ended. It would be tried again, but a person is waiting: what failed once at the very
    /// start fails again.
    Dead {
        program: String,
        verdict: String,
    },
}

pub(crate) fn judge(programs: &[ProgramStatus]) -> Judgement {
    if let Some(dead) = programs.iter().find(|program| has_died(program)) {
        return Judgement::Dead {
            program: dead.name.clone(),
            verdict: verdict(dead),
        };
    }
    let all = !programs.is_empty() && programs.iter().all(|program| program.ready);
    if all {
        Judgement::AllReady
    } else {
        Judgement::Waiting
    }
}

/// How one program is shown while the site starts.
pub(crate) fn shown(program: &ProgramStatus) -> (Mark, String) {
    let pid = process(program);
    match program.state {
        _ if has_died(program) => (Mark::Bad, verdict(program)),
        ProgramState::Running if program.ready => (Mark::Good, format!("ready{pid}")),
        ProgramState::Stopped => (Mark::Busy, "waiting".to_owned()),
        ProgramState::Stopping => (Mark::Busy, format!("stopping{pid}")),
        ProgramState::Running
        | ProgramState::Starting
        | ProgramState::Exited
        | ProgramState::Backoff
        | ProgramState::Fatal
        | ProgramState::Unknown => (Mark::Busy, format!("starting{pid}")),
    }
}

/// How one program is shown while the site stops; nothing as long as it is not its turn.
pub(crate) fn shown_at_the_end(program: &ProgramStatus) -> Option<(Mark, String)> {
    match program.state {
        ProgramState::Starting | ProgramState::Running => None,
        ProgramState::Stopping => Some((Mark::Busy, format!("stopping{}", process(program)))),
        ProgramState::Stopped
        | ProgramState::Exited
        | ProgramState::Backoff
        | ProgramState::Fatal
        | ProgramState::Unknown => Some((Mark::Good, "stopped".to_owned())),
    }
}

fn process(program: &ProgramStatus) -> String {
    program
        .pid
        .map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// Also when it was started again between two looks.
fn has_died(program: &ProgramStatus) -> bool {
    match program.state {
        ProgramState::Backoff
        | ProgramState::Exited
        | ProgramState::Fatal
        | ProgramState::Unknown => true,
        ProgramState::Starting | ProgramState::Running => program.restarts > 0,
        ProgramState::Stopped | ProgramState::Stopping => false,
    }
}

/// The end of its last process, in words.
pub(crate) fn verdict(program: &ProgramStatus) -> String {
    match program.exit_code {
        Some(code) if code < 0 => format!("ended by signal {}", -code),
        Some(code) => format!("ended with exit code {code}"),
        None if program.description.is_empty() => program.state.as_str().to_lowercase(),
        None => program.description.clone(),
    }
}

/// One line for a change of state after the start; nothing for the steps in between.
pub(crate) fn told(event: &Event) -> Option<String> {
    let word = |key: &str| {
        event
            .data
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if event.kind != "program.state" {
        return None;
    }
    let name = word("name");
    let end = |key: &str| event.data.get(key).and_then(Value::as_i64);
    match word("to") {
        "RUNNING" => Some(format!(
            "{name}: running{}",
            end("pid")
                .map(|pid| format!(" (process {pid})"))
                .unwrap_or_default()
        )),
        "STOPPED" => Some(format!("{name}: stopped")),
        to @ ("BACKOFF" | "EXITED" | "FATAL" | "UNKNOWN") => {
            let how = match (end("exit_code"), end("signal")) {
                (_, Some(signal)) => format!("ended by signal {signal}"),
                (Some(code), None) if code < 0 => format!("ended by signal {}", -code),
                (Some(code), None) => format!("ended with exit code {code}"),
                (None, None) => to.to_lowercase(),
            };
            let more = match to {
                "FATAL" => ", too often: it is not started again",
                "BACKOFF" => ", is started again in a moment",
                _ => "",
            };
            Some(format!("{name}: {how}{more}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, state: ProgramState, ready: bool) -> ProgramStatus {
        ProgramStatus {
            name: name.to_owned(),
            group: name.to_owned(),
            state,
            pid: Some(7),
            uptime_ms: None,
            exit_code: None,
            restarts: 0,
            ready,
            description: String::new(),
            stdout_log: None,
            stderr_log: None,
        }
    }

    #[test]
    fn judgements() {
        use ProgramState::{Backoff, Running, Starting, Stopped};
        let both = |wsgi, proxy| judge(&[wsgi, proxy]);
        let up = |name| program(name, Running, true);
        assert_eq!(judge(&[]), Judgement::Waiting);
        assert_eq!(
            both(
                program("wsgi", Starting, false),
                program("proxy", Stopped, false)
            ),
            Judgement::Waiting
        );
        assert_eq!(
            both(up("wsgi"), program("proxy", Running, false)),
            Judgement::Waiting
        );
        assert_eq!(both(up("wsgi"), up("proxy")), Judgement::AllReady);

        let died = ProgramStatus {
            exit_code: Some(3),
            ..program("wsgi", Backoff, false)
        };
        let dead = |verdict: &str| Judgement::Dead {
            program: "wsgi".to_owned(),
            verdict: verdict.to_owned(),
        };
        assert_eq!(both(died, up("proxy")), dead("ended with exit code 3"));
        let again = ProgramStatus {
            exit_code: Some(-9),
            restarts: 1,
            ..program("wsgi", Starting, false)
        };
        assert_eq!(both(again, up("proxy")), dead("ended by signal 9"));
    }

    #[test]
    fn changes() {
        let check = |data: serde_json::Value, want: Option<&str>| {
            let event = Event {
                id: 1,
                time: "2026-11-23T10:00:00Z".parse().unwrap(),
                kind: "program.state".into(),
                data,
            };
            assert_eq!(told(&event).as_deref(), want);
        };
        let json = |text: &str| serde_json::from_str(text).unwrap();
        check(
            json(r#"{"name":"wsgi","from":"STARTING","to":"RUNNING","pid":7}"#),
            Some("wsgi: running (process 7)"),
        );
        check(
            json(r#"{"name":"wsgi","to":"EXITED","exit_code":3}"#),
            Some("wsgi: ended with exit code 3"),
        );
        check(
            json(r#"{"name":"wsgi","to":"BACKOFF","exit_code":-9}"#),
            Some("wsgi: ended by signal 9, is started again in a moment"),
        );
        check(json(r#"{"name":"wsgi","to":"STARTING"}"#), None);
    }

    #[test]
    fn rows() {
        let (mark, text) = shown(&program("wsgi", ProgramState::Running, true));
        assert_eq!((mark, text.as_str()), (Mark::Good, "ready (process 7)"));
        assert_eq!(
            shown(&program("wsgi", ProgramState::Starting, false)).1,
            "starting (process 7)"
        );
    }
}
