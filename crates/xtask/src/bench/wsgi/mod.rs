//! `cargo xtask bench wsgi-…`: trine-wsgi and the peers, the same applications, in turns.
//!
//! What is asked is in `scenarios`, who is asked in `peers`. Not here: the proxy in front, other daemons.

mod load;
mod measure;
mod peers;
mod scenarios;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;

use self::measure::Sample;
use self::peers::Peer;
use self::scenarios::{SCENARIOS, Scenario};
use super::report::Spread;
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
        build_release(&["trine-wsgi"])?;
    }
    let binaries = target().join("release");
    let chosen = SCENARIOS
        .iter()
        .filter(|one| names.is_empty() || names.iter().any(|name| name == one.name));
    for scenario in chosen {
        let field = Field::new(&binaries, options.nice)?;
        let series = measure_all(scenario, &field, options)?;
        println!(
            "{}",
            table(scenario, &series, options.rounds, options.seconds)
        );
    }
    Ok(())
}

/// The samples of one server, one for each round.
type Series = (Peer, Vec<Sample>);

/// A B C, A B C, … so that a slow minute of the machine hits all of them.
fn measure_all(
    scenario: &Scenario,
    field: &Field,
    options: &BenchOptions,
) -> anyhow::Result<Vec<Series>> {
    let mut series: Vec<Series> = vec![];
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
        for (peer, samples) in &mut series {
            let sample = measure::one(scenario, *peer, field, time)
                .with_context(|| format!("{}: {}", scenario.name, peer.name()))?;
            eprintln!(
                "{} round {round}/{}: {:<18} {sample:.2?}",
                scenario.name,
                options.rounds,
                peer.name()
            );
            samples.push(sample);
        }
    }
    Ok(series)
}

fn per_second(sample: &Sample) -> Option<f64> {
    match sample {
        Sample::Load { per_second, .. } => Some(*per_second),
        Sample::Cost(_) => None,
    }
}

/// What less of is better: CPU time for each request, memory, time to start.
fn cost(sample: &Sample) -> Option<f64> {
    match sample {
        Sample::Load { cpu_micros, .. } => Some(*cpu_micros),
        Sample::Cost(cost) => Some(*cost),
    }
}

fn p99(sample: &Sample) -> Option<f64> {
    match sample {
        Sample::Load { p99_ms, .. } => *p99_ms,
        Sample::Cost(_) => None,
    }
}

fn load_share(sample: &Sample) -> Option<f64> {
    match sample {
        Sample::Load { load_share, .. } => Some(load_share * 100.0),
        Sample::Cost(_) => None,
    }
}

fn table(scenario: &Scenario, series: &[Series], rounds: usize, seconds: u64) -> String {
    let loaded = matches!(scenario.kind, scenarios::Kind::Load(_));
    let mut out = format!(
        "\n### {}\n\n{}{}. {rounds} interleaved rounds; median (min–max). Goal: {}.\n\n",
        scenario.name,
        scenario.what,
        if loaded {
            format!(", 64 connections, {seconds} s")
        } else {
            String::new()
        },
        scenario.goal
    );
    out += if loaded {
        "| server | requests/s | server CPU µs/request | p99 ms | load core % | trine-wsgi ÷ it: requests/s | trine-wsgi ÷ it: requests per CPU second |\n|---|---|---|---|---|---|---|\n"
    } else {
        "| server | MiB or ms | trine-wsgi ÷ it |\n|---|---|---|\n"
    };
    let ours = series.iter().find(|(peer, _)| *peer == Peer::Trine);
    for (peer, samples) in series {
        let figure = |of: fn(&Sample) -> Option<f64>, digits| {
            Spread::of(samples.iter().filter_map(of))
                .map_or_else(|| "–".to_owned(), |spread| spread.show(digits))
        };
        let ratio = |of: fn(&Sample) -> Option<f64>, upside_down: bool| {
            let pairs = ours
                .filter(|_| *peer != Peer::Trine)
                .into_iter()
                .flat_map(|(_, ours)| ours.iter().zip(samples))
                .filter_map(|(ours, its)| Some(of(ours)? / of(its)?))
                .map(|ratio| if upside_down { 1.0 / ratio } else { ratio });
            Spread::of(pairs).map_or_else(|| "–".to_owned(), |spread| spread.show(2))
        };
        let name = peer.name();
        let _infallible = if loaded {
            writeln!(
                out,
                "| {name} | {} | {} | {} | {} | {} | {} |",
                figure(per_second, 0),
                figure(cost, 1),
                figure(p99, 1),
                figure(load_share, 0),
                ratio(per_second, false),
                ratio(cost, true),
            )
        } else {
            writeln!(
                out,
                "| {name} | {} | {} |",
                figure(cost, 1),
                ratio(cost, false)
            )
        };
    }
    out
}
