//! SIGKILL of a worker, of the WSGI arbiter, and of the supervisor's brain.

use std::time::Instant;

use e2e::load::Report;
use e2e::process;
use e2e::site::Site;
use nix::sys::signal::Signal;

use super::journal::Journal;
use super::{CONNECTIONS, flowing};

/// A worker that is inside a request at this moment.
#[track_caller]
fn a_busy_worker(site: &Site) -> i32 {
    e2e::wait::until("a worker inside a request", || {
        Journal::read(site).open().next()
    })
}

/// Kills and waits until the process is gone; gives the two moments around it.
fn kill(pid: i32) -> (Instant, Instant) {
    let from = Instant::now();
    process::signal(pid, Signal::SIGKILL);
    process::wait_gone(pid);
    (from, Instant::now())
}

/// Every failure was in flight during the kill, and was in one of the killed processes: begun and not finished there,
/// its answer half sent, or waiting in its buffers, so that no process ever saw it. What may be asked twice was.
#[track_caller]
fn assert_only_inside_failed(
    site: &Site,
    report: &Report,
    killed: &[i32],
    (from, to): (Instant, Instant),
) {
    report.assert_failed_only_within(from, to, CONNECTIONS);
    let journal = Journal::read(site);
    for answer in report.failed() {
        let inside = journal.was_inside(answer.id, killed)
            || journal.was_answered_in(answer.id, killed)
            || !journal.was_seen(answer.id);
        assert!(inside, "not in a killed process: {answer:?}");
    }
    let begun: Vec<usize> = report
        .answers
        .iter()
        .map(|answer| answer.id)
        .filter(|id| journal.was_inside(*id, killed))
        .collect();
    eprintln!("the killed processes {killed:?} had begun requests {begun:?}");
    let gets: Vec<_> = report
        .failed()
        .into_iter()
        .filter(|answer| answer.method == "GET")
        .collect();
    assert!(
        gets.is_empty(),
        "a GET without an answer is safe to send again: {gets:?}"
    );
}

#[test]
fn a_killed_worker_fails_only_what_was_inside_it() {
    for threads in [1, 4] {
        let Some(site) = Site::under_load(2, threads) else {
            return;
        };
        let arbiter = site.control().wait_running("wsgi");
        let load = flowing(&site);
        let mut killed = vec![];
        let worker = a_busy_worker(&site);
        killed.push(worker);
        let moment = kill(worker);
        load.wait_for_more(300);
        let report = load.stop();
        assert_only_inside_failed(&site, &report, &killed, moment);
        assert_eq!(
            site.control().wait_running("wsgi"),
            arbiter,
            "the arbiter lives on"
        );
        e2e::wait::until("the worker's successor", || {
            (process::children(arbiter).len() == 2).then_some(())
        });
        site.stop();
    }
}

#[test]
fn a_killed_arbiter_fails_only_what_was_inside_its_workers() {
    let Some(site) = Site::under_load(2, 1) else {
        return;
    };
    let arbiter = site.control().wait_running("wsgi");
    let workers = process::children(arbiter);
    assert_eq!(workers.len(), 2);
    let load = flowing(&site);
    let (from, _) = kill(arbiter);
    // Workers without an arbiter end too, by themselves or by the supervisor's hand.
    workers.iter().for_each(|pid| process::wait_gone(*pid));
    let to = Instant::now();
    let successor = site.control().wait_replaced("wsgi", arbiter);
    assert!(!workers.contains(&successor));
    load.wait_for_more(300);
    let report = load.stop();
    assert_only_inside_failed(&site, &report, &workers, (from, to));
    site.stop();
}

#[test]
fn a_killed_brain_fails_nothing() {
    let Some(site) = Site::under_load(2, 1) else {
        return;
    };
    let control = site.control();
    let before = (control.wait_running("wsgi"), control.wait_running("proxy"));
    let load = flowing(&site);
    for _ in 0..3 {
        control.kill_brain();
        load.wait_for_more(100);
        assert_eq!(
            (control.wait_running("wsgi"), control.wait_running("proxy")),
            before,
            "the same processes"
        );
    }
    load.stop().assert_none_failed();
    site.stop();
}
