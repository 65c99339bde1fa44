//! The released messages of version 1: what old clients sent and old daemons said must stay readable, and
//! keep its meaning. A released file is never edited; a new shape gets a new file.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trine_control::{
    ActionResult, CacheKeys, CacheList, Event, ProblemDocument, ProgramList, ProgramState,
    ProgramStatus, ReloadReport, Status, sse,
};
use trine_service::Phase;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

/// Reads the file into the type and back. All that was in the file must still be there; fields that came
/// later may be added.
#[track_caller]
fn check<T: DeserializeOwned + Serialize>(name: &str) -> T {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let old: Value = serde_json::from_str(&text).unwrap();
    let message: T = serde_json::from_str(&text).unwrap();
    let new = serde_json::to_value(&message).unwrap();
    assert_keeps(&old, &new, name);
    message
}

#[track_caller]
fn assert_keeps(old: &Value, new: &Value, place: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                assert_keeps(
                    value,
                    new.get(key).unwrap_or(&Value::Null),
                    &format!("{place}: {key}"),
                );
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter()
                .zip(new)
                .for_each(|(old, new)| assert_keeps(old, new, place));
        }
        _ => assert_eq!(old, new, "{place}"),
    }
}

#[test]
fn every_file_is_read() {
    let status: Status = check("status.json");
    assert_eq!(
        (status.phase, status.generation, status.listeners.len()),
        (Phase::Ready, 2, 2)
    );
    assert!(status.last_reload.unwrap().ok && status.listeners[1].inherited);
    let status: Status = check("status-minimal.json");
    assert_eq!((status.phase, status.generation), (Phase::Starting, 0));

    let report: ReloadReport = check("reload-report.json");
    assert_eq!((report.ok, report.problems.len()), (false, 2));
    let event: Event = check("event.json");
    assert_eq!(
        (event.id, event.kind.as_str()),
        (1_795_428_000_123, "program.state")
    );
    let gap: Event = check("event-gap.json");
    assert_eq!(
        (gap.kind.as_str(), &gap.data["next"]),
        ("gap", &1_795_428_000_999_u64.into())
    );
    let problem: ProblemDocument = check("problem.json");
    assert_eq!(
        (problem.status, problem.kind.as_str()),
        (403, "about:blank")
    );
    let problem: ProblemDocument = check("problem-with-problems.json");
    assert_eq!(
        problem.to_string(),
        "the configuration is wrong\na.yaml:1:1: x: wrong; remove it"
    );

    let programs: ProgramList = check("program-list.json");
    let states: Vec<ProgramState> = programs
        .programs
        .iter()
        .map(|program| program.state)
        .collect();
    use ProgramState::{Backoff, Exited, Fatal, Running, Starting, Stopped, Stopping, Unknown};
    assert_eq!(
        states,
        [
            Running, Stopped, Starting, Backoff, Stopping, Exited, Fatal, Unknown
        ]
    );
    assert_eq!(
        (programs.programs[0].pid, programs.programs[5].exit_code),
        (Some(4711), Some(-9))
    );
    let program: ProgramStatus = check("program-status.json");
    assert!(program.ready);
    let result: ActionResult = check("action-result.json");
    assert_eq!((result.ok, result.programs.len()), (true, 1));

    let caches: CacheList = check("cache-list.json");
    assert_eq!(caches.zones[0].forgotten, Some(3));
    let keys: CacheKeys = check("cache-keys.json");
    assert!(keys.more && keys.keys.len() == 2);

    let tested = [
        "action-result.json",
        "cache-keys.json",
        "cache-list.json",
        "event-gap.json",
        "event.json",
        "events.sse",
        "problem-with-problems.json",
        "problem.json",
        "program-list.json",
        "program-status.json",
        "reload-report.json",
        "status-minimal.json",
        "status.json",
    ];
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        files.collect::<BTreeSet<_>>(),
        tested.map(str::to_owned).into(),
        "a file without its test"
    );
}

#[test]
fn the_event_stream() {
    let stream = fs::read(folder().join("events.sse")).unwrap();
    let events = sse::Decoder::default().push(&stream).unwrap();
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [1_795_428_000_123, 1_795_428_000_124]);
    let again: String = events.iter().map(sse::encode).collect();
    assert_eq!(
        format!(": hello\n\n{again}: keep-alive\n\n").as_bytes(),
        stream
    );
}

#[test]
fn what_is_not_known_is_ignored() {
    let text = r#"{"ok": true, "message": "x", "from_the_future": {"a": 1}}"#;
    assert!(serde_json::from_str::<ActionResult>(text).unwrap().ok);
}
