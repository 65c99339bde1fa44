//! `cargo xtask bench proxy-…`: trine-proxy and the peers, the same answers, in turns.
//!
//! What is asked is in `scenarios`, who is asked in `peers`. Not here: other daemons.

mod load;
mod measure;
mod peers;
mod scenarios;

use std::time::Duration;

use anyhow::Context as _;

use self::peers::Peer;
use self::scenarios::{SCENARIOS, Scenario};
use super::report::{Report, Sample};
use super::server::Field;
use super::setup;
use crate::cli::BenchOptions;
use crate::workspace::{build_release, target};

/// The names of all scenarios here, what they measure, and of whom.
pub(super) fn list() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    SCENARIOS.iter().map(|scenario| {
        let peers: Vec<&str> = scenario.peers.iter().map(|peer| peer.name()).collect();
        (scenario.name, scenario.what, peers.join(", "))
    })
}

/// Measures those of the named scenarios that are ours; all when nothing is named.
pub(super) fn run(names: &[String], options: &BenchOptions) -> anyhow::Result<()> {
    setup::check()?;
    if !options.no_build {
        build_release(&["trine-proxy"])?;
    }
    let binaries = target().join("release");
    let chosen = SCENARIOS
        .iter()
        .filter(|one| names.is_empty() || names.iter().any(|name| name == one.name));
    for scenario in chosen {
        let field = Field::new(&binaries, options.nice)?;
        peers::prepare(scenario, &field)?;
        let rows = measure_all(scenario, &field, options)?;
        let report = Report {
            name: scenario.name,
            what: scenario.what.to_owned() + &scenario.kind.words(options.seconds),
            goal: scenario.goal,
            rounds: options.rounds,
            unit: scenario.kind.unit(),
            rows: &rows,
        };
        println!("{}", report.table());
    }
    Ok(())
}

/// A B C, A B C, … so that a slow minute of the machine hits all of them.
fn measure_all(
    scenario: &Scenario,
    field: &Field,
    options: &BenchOptions,
) -> anyhow::Result<Vec<(&'static str, Vec<Sample>)>> {
    let mut series: Vec<(Peer, Vec<Sample>)> = vec![];
    for peer in scenario.peers {
        let wanted = &options.subjects;
        if !wanted.is_empty() && !wanted.iter().any(|name| name == peer.name()) {
            continue;
        }
        match peer.missing() {
            None => series.push((*peer, vec![])),
            Some(why) => eprintln!("{}: left out {}: {why}", scenario.name, peer.name()),
        }
    }
    let time = Duration::from_secs(options.seconds);
    for round in 1..=options.rounds {
        let top = measure::top(scenario, field, time)?;
        for (peer, samples) in &mut series {
            let sample = measure::one(scenario, *peer, field, top, time)
                .with_context(|| format!("{}: {}", scenario.name, peer.name()))?;
            eprintln!(
                "{} round {round}/{}: {:<12} {sample:.2?}",
                scenario.name,
                options.rounds,
                peer.name()
            );
            samples.push(sample);
        }
    }
    Ok(series
        .into_iter()
        .map(|(peer, samples)| (peer.name(), samples))
        .collect())
}
