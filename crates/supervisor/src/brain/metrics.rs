//! The numbers of `/metrics`. Not here: counting them.

use super::supervisor::Supervisor;
use crate::clock;
use trine_control::metrics::Metrics;

#[must_use]
pub fn text(supervisor: &Supervisor) -> String {
    let mut metrics = Metrics::new();
    let processes = || supervisor.processes.values();
    let mut states = metrics.gauge("trine_program_state", "supervisord's code of the state: 0 STOPPED, 10 STARTING, 20 RUNNING, 30 BACKOFF, 40 STOPPING, 100 EXITED, 200 FATAL.");
    for process in processes() {
        states.sample(&labels(process), process.code() as u64);
    }
    let mut ready = metrics.gauge(
        "trine_program_ready",
        "1 while the process is ready for work.",
    );
    for process in processes() {
        ready.sample(&labels(process), u64::from(process.is_ready()));
    }
    let mut restarts = metrics.counter(
        "trine_program_restarts",
        "How often it was started again by itself.",
    );
    for process in processes() {
        restarts.sample(&labels(process), process.record.restarts);
    }
    let mut uptime = metrics.gauge(
        "trine_program_uptime_seconds",
        "For how long its process has lived.",
    );
    for process in processes() {
        let lived = process
            .since
            .map_or(0.0, |since| (clock::now() - since).as_secs_f64());
        uptime.sample(&labels(process), lived);
    }
    let mut written = metrics.counter(
        "trine_program_log_bytes",
        "Output moved since this brain began.",
    );
    for process in processes() {
        written.sample(
            &labels(process),
            process.taps.values().map(|tap| tap.written()).sum::<u64>(),
        );
    }
    let mut dropped = metrics.counter(
        "trine_program_log_dropped_bytes",
        "Output lost because the log could not be written.",
    );
    for process in processes() {
        dropped.sample(
            &labels(process),
            process.taps.values().map(|tap| tap.dropped()).sum::<u64>(),
        );
    }
    metrics
        .counter(
            "trine_supervisor_brain_restarts",
            "How often the brain was replaced.",
        )
        .sample(&[], supervisor.brains.saturating_sub(1));
    metrics
        .gauge(
            "trine_supervisor_generation",
            "Configurations put into effect.",
        )
        .sample(&[], supervisor.daemon.generation);
    metrics.finish()
}

fn labels(process: &super::process::Process) -> [(&str, &str); 2] {
    let settings = &process.record.settings;
    [("group", &settings.group), ("name", &settings.name)]
}
