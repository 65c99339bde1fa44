//! The numbers of `/metrics`. Not here: counting them.

use super::supervisor::Supervisor;
use super::usage;
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
    let mut causes = metrics.counter(
        "trine_program_restarts_by_cause",
        "Restarts by what had happened: exit_CODE, the signal, out_of_memory, or not_spawned.",
    );
    for process in processes() {
        let [group, name] = labels(process);
        for (cause, count) in &process.record.restart_causes {
            causes.sample(&[group, name, ("cause", cause)], *count);
        }
    }
    let uses: Vec<_> = processes()
        .filter_map(|process| Some((process, usage::of(process.pid?)?)))
        .collect();
    let mut cpu = metrics.counter(
        "trine_program_cpu_seconds",
        "Processor time of its process, without its children.",
    );
    for (process, usage) in &uses {
        cpu.sample(&labels(process), usage.cpu_seconds);
    }
    let mut memory = metrics.gauge(
        "trine_program_memory_bytes",
        "Resident memory of its process, without its children.",
    );
    for (process, usage) in &uses {
        memory.sample(&labels(process), usage.memory_bytes);
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
    let mut waiting = metrics.gauge(
        "trine_event_pool_waiting",
        "Events that wait for a listener of the pool.",
    );
    for pool in supervisor.events.counts() {
        waiting.sample(&[("pool", pool.name)], pool.waiting as u64);
    }
    let mut given_up = metrics.counter(
        "trine_event_pool_dropped",
        "Events that made room for newer ones, since this brain began.",
    );
    for pool in supervisor.events.counts() {
        given_up.sample(&[("pool", pool.name)], pool.dropped);
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
