//! `cargo xtask bench proxy-…`: trine-proxy and the peers, the same answers, in turns.
//!
//! What is asked is in `scenarios`, who is asked in `peers`. Not here: other daemons.

mod json;
mod load;
mod measure;
mod peers;
mod scenarios;

use std::time::Duration;

pub(super) use self::scenarios::HELLO;
use self::scenarios::{SCENARIOS, Scenario};
use super::report::{Report, Sample};
use super::rounds::{self, Subject};
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

/// The figures of all who are there.
fn measure_all(
    scenario: &Scenario,
    field: &Field,
    options: &BenchOptions,
) -> anyhow::Result<Vec<(&'static str, Vec<Sample>)>> {
    let subjects = scenario.peers.iter().map(|peer| Subject {
        peer: *peer,
        name: peer.name(),
        missing: peer.missing(),
    });
    let time = Duration::from_secs(options.seconds);
    let mut top = (0, None);
    rounds::in_turns(scenario.name, subjects, options, |round, peer| {
        if top.0 != round {
            top = (round, measure::top(scenario, field, time)?);
        }
        measure::one(scenario, peer, field, top.1, time)
    })
}
