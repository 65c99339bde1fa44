//! `/metrics` as Prometheus reads it: its own client's strict parser for OpenMetrics, and every number against what has
//! happened.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::client::Request;
use e2e::folder::Folder;
use e2e::{tools, wait};

use super::{start, wait_state};

/// Prints `[family, type, [[sample, labels, value]…]]` a line; fails at whatever is not allowed.
const READER: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family
    print(json.dumps([family.name, family.type, [[s.name, s.labels, s.value] for s in family.samples]]))
";

#[derive(Debug)]
struct Metrics {
    /// Types by family.
    types: BTreeMap<String, String>,
    /// Values by sample, with labels in order.
    values: BTreeMap<String, f64>,
}

impl Metrics {
    #[track_caller]
    fn read(venv: &Path, text: &str) -> Self {
        let mut python = Command::new(venv.join("bin/python"))
            .args(["-c", READER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = python.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "{text}");
        let mut metrics = Self {
            types: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        type Family = (String, String, Vec<(String, BTreeMap<String, String>, f64)>);
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (name, kind, samples): Family = serde_json::from_str(line).unwrap();
            metrics.types.insert(name, kind);
            for (name, labels, value) in samples {
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(key, text)| format!("{key}={text}"))
                    .collect();
                metrics
                    .values
                    .insert(format!("{name} {}", labels.join(" ")), value);
            }
        }
        metrics
    }

    #[track_caller]
    fn get(&self, sample: &str) -> f64 {
        let found = self.values.get(sample);
        *found.unwrap_or_else(|| panic!("no {sample} in {:#?}", self.values))
    }

    /// Of a program that is a group of its own.
    #[track_caller]
    fn of(&self, program: &str, sample: &str) -> f64 {
        self.get(&format!(
            "trine_program_{sample} group={program} name={program}"
        ))
    }
}

#[test]
fn prometheus_reads_what_has_happened() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write(
        "busy.py",
        "import time
block = bytearray(b'x') * 60_000_000
while time.process_time() < 0.5: pass
for number in range(1000): print('%09d' % number)
print('', end='', flush=True)
time.sleep(1000)
",
    );
    let (supervisor, control) = start(
        &folder,
        "  busy:
    command: [python3, busy.py]
    startsecs: 0s
    stdout_logfile: busy.log
  crasher:
    command: [sh, -c, 'echo x >> runs; case $(wc -l < runs) in 1) exit 3;; 2) kill -9 $$;; esac; exec sleep 1000']
    startsecs: 0s
  never:
    command: /no/such/program
    startretries: 1
  off:
    command: sleep 1000
    autostart: false
  full:
    command: [sh, -c, 'head -c 3000000 /dev/zero; : > flooded; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: /dev/full
  deaf:
    command: sleep 1000
    startsecs: 0s
    events: [PROCESS_STATE]
    buffer_size: 2
",
    );
    wait_state(&control, "never", "FATAL");
    wait::until("the flood and the third run", || {
        let runs = folder.read("runs").lines().count();
        (folder.join("flooded").exists() && runs == 3).then_some(())
    });
    control.wait_running("crasher");
    wait::until("what busy says", || {
        (folder.read("busy.log").len() == 10_000).then_some(())
    });
    let read = || {
        let reply = control.call(Request::get("/metrics")).unwrap();
        let kind = reply.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        Metrics::read(&venv, &reply.text())
    };
    let metrics = read();
    let kinds = [
        ("trine_program_state", "gauge"),
        ("trine_program_ready", "gauge"),
        ("trine_program_restarts", "counter"),
        ("trine_program_restarts_by_cause", "counter"),
        ("trine_program_uptime_seconds", "gauge"),
        ("trine_program_cpu_seconds", "counter"),
        ("trine_program_memory_bytes", "gauge"),
        ("trine_program_log_bytes", "counter"),
        ("trine_program_log_dropped_bytes", "counter"),
        ("trine_event_pool_waiting", "gauge"),
        ("trine_event_pool_dropped", "counter"),
        ("trine_supervisor_brain_restarts", "counter"),
        ("trine_supervisor_generation", "gauge"),
    ];
    let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    assert_eq!(metrics.types, BTreeMap::from(kinds));

    let states = ["busy", "crasher", "never", "off"].map(|name| metrics.of(name, "state"));
    assert_eq!(states, [20.0, 20.0, 200.0, 0.0]);
    let ready = ["busy", "never", "off"].map(|name| metrics.of(name, "ready"));
    assert_eq!(ready, [1.0, 0.0, 0.0]);
    let restarts = ["busy", "crasher", "never"].map(|name| metrics.of(name, "restarts_total"));
    assert_eq!(restarts, [0.0, 2.0, 1.0]);
    for (name, cause) in [
        ("crasher", "exit_3"),
        ("crasher", "SIGKILL"),
        ("never", "not_spawned"),
    ] {
        let sample =
            format!("trine_program_restarts_by_cause_total cause={cause} group={name} name={name}");
        assert_eq!(metrics.get(&sample), 1.0, "{sample}");
    }
    assert!(metrics.of("busy", "uptime_seconds") > 0.5);
    assert_eq!(metrics.of("off", "uptime_seconds"), 0.0);
    let cpu = metrics.of("busy", "cpu_seconds_total");
    assert!((0.4..20.0).contains(&cpu), "{cpu}");
    let memory = metrics.of("busy", "memory_bytes");
    assert!((60e6..200e6).contains(&memory), "{memory}");
    let off = "trine_program_memory_bytes group=off name=off";
    assert!(
        !metrics.values.contains_key(off),
        "who does not run uses nothing"
    );
    assert_eq!(metrics.of("busy", "log_bytes_total"), 10_000.0);
    assert_eq!(metrics.of("busy", "log_dropped_bytes_total"), 0.0);
    let dropped = metrics.of("full", "log_dropped_bytes_total");
    assert!((1e6..=3e6).contains(&dropped), "{dropped}");
    assert_eq!(metrics.get("trine_event_pool_waiting pool=deaf"), 2.0);
    assert!(metrics.get("trine_event_pool_dropped_total pool=deaf") > 0.0);
    assert_eq!(metrics.get("trine_supervisor_brain_restarts_total "), 0.0);

    // The next brain goes on counting.
    control.kill_brain();
    let after = wait::until("another brain", || {
        let after = read();
        (after.get("trine_supervisor_brain_restarts_total ") == 1.0).then_some(after)
    });
    assert_eq!(after.of("crasher", "restarts_total"), 2.0);
    assert!(after.of("busy", "uptime_seconds") >= metrics.of("busy", "uptime_seconds"));
    control.post("/v1/reload");
    assert!(read().get("trine_supervisor_generation ") > after.get("trine_supervisor_generation "));
    supervisor.stop();
}
