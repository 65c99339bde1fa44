//! `cargo xtask bench`: ours and the peers that are installed, in interleaved rounds, on one core each.
//!
//! How a figure comes about: every subject is started afresh in every round, its answer is compared before anything is
//! timed, the server runs on CPU 0 and the load generator (with any upstream) on CPU 1. Machines drift, so only
//! medians of rounds and ratios within a round count. Not here: what a subject is (see `subjects`).

mod load;
mod measure;
mod report;
mod server;
mod setup;
mod subjects;
mod supervisors;
mod wsgi;

use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::bail;

use self::measure::Sample;
use self::server::Field;
use self::subjects::{Scenario, Subject};
use crate::cli::BenchOptions;
use crate::workspace::{build_release, target};

/// The samples of one subject, one for each round.
#[derive(Debug)]
struct Series {
    subject: Subject,
    samples: Vec<Sample>,
}

pub(crate) fn run(options: &BenchOptions) -> anyhow::Result<bool> {
    if options.list {
        for scenario in subjects::scenarios() {
            let subjects: Vec<&str> = scenario
                .subjects
                .iter()
                .map(|subject| subject.name)
                .collect();
            println!(
                "{:<12} {} [{}]",
                scenario.name,
                scenario.what,
                subjects.join(", ")
            );
        }
        for (name, what, peers) in wsgi::list() {
            println!("{name:<12} {what} [{peers}]");
        }
        for (name, what) in supervisors::list() {
            println!("{name:<12} {what} [trine-supervisor, supervisord]");
        }
        return Ok(true);
    }
    if options.setup {
        setup::run()?;
        return Ok(true);
    }
    if available_parallelism()?.get() < 2 {
        bail!(
            "one CPU for the server and one for the load are needed, and this machine has one in all"
        );
    }
    let (of_supervisors, others): (Vec<String>, Vec<String>) = options
        .scenarios
        .iter()
        .cloned()
        .partition(|name| supervisors::list().any(|(known, _)| known == name));
    if options.scenarios.is_empty() || !of_supervisors.is_empty() {
        supervisors::run(&supervisors::choose(&of_supervisors), options)?;
    }
    let (of_wsgi, others): (Vec<String>, Vec<String>) = others
        .into_iter()
        .partition(|name| wsgi::list().any(|(known, ..)| known == name));
    if options.scenarios.is_empty() || !of_wsgi.is_empty() {
        wsgi::run(&of_wsgi, options)?;
    }
    if !options.scenarios.is_empty() && others.is_empty() {
        return Ok(true);
    }
    let mut chosen = choose(&others)?;
    for scenario in &mut chosen {
        scenario.subjects.retain(|subject| {
            options.subjects.is_empty() || options.subjects.iter().any(|name| name == subject.name)
        });
    }
    setup::check()?;
    let with_ours = chosen
        .iter()
        .flat_map(|scenario| &scenario.subjects)
        .any(|subject| subject.ours);
    if with_ours && !options.no_build {
        build_release(&["trine-proxy"])?;
    }
    let binaries = target().join("release");
    for scenario in chosen {
        let field = Field::new(&binaries, options.nice)?;
        let series = measure_all(&scenario, &field, options)?;
        println!(
            "{}",
            report::table(&scenario, &series, options.rounds, options.seconds)
        );
    }
    Ok(true)
}

fn choose(names: &[String]) -> anyhow::Result<Vec<Scenario>> {
    let all = subjects::scenarios();
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<&str> = all
        .iter()
        .map(|scenario| scenario.name)
        .chain(supervisors::list().map(|(name, _)| name))
        .chain(wsgi::list().map(|(name, ..)| name))
        .collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "no scenario is called {unknown}; there are: {}",
            known.join(", ")
        );
    }
    Ok(all
        .into_iter()
        .filter(|scenario| names.iter().any(|name| name == scenario.name))
        .collect())
}

/// A B C, A B C, … so that a slow minute of the machine hits all of them.
fn measure_all(
    scenario: &Scenario,
    field: &Field,
    options: &BenchOptions,
) -> anyhow::Result<Vec<Series>> {
    let mut series = vec![];
    for subject in &scenario.subjects {
        match (subject.missing)() {
            None => series.push(Series {
                subject: *subject,
                samples: vec![],
            }),
            Some(why) => eprintln!("{}: left out {}: {why}", scenario.name, subject.name),
        }
    }
    for round in 1..=options.rounds {
        for one in &mut series {
            let sample = measure::one(
                scenario,
                &one.subject,
                field,
                Duration::from_secs(options.seconds),
            )?;
            eprintln!(
                "{} round {round}/{}: {:<16} {:>8.0} requests/s {:>7.1} µs",
                scenario.name,
                options.rounds,
                one.subject.name,
                sample.per_second(),
                sample.cpu_micros()
            );
            one.samples.push(sample);
        }
    }
    Ok(series)
}
