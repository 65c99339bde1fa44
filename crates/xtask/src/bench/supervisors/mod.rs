//! `cargo xtask bench supervisor-…`: trine-supervisor and supervisord on the same configuration file, in turns.
//!
//! Both are driven from outside only: /proc, signals, XML-RPC on a Unix socket, the files they write. The daemon is on
//! CPU 0 with its programs; whoever asks is on the other one.

mod daemon;
mod proc;
mod rpc;
mod scenarios;

use std::fmt::Write as _;

use anyhow::Context as _;

use self::daemon::Kind;
use self::scenarios::{SCENARIOS, Scenario};
use super::report::Spread;
use super::server::Field;
use crate::cli::BenchOptions;
use crate::workspace::{build_release, target};

/// The names of all scenarios here, for `--list`.
pub(super) fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCENARIOS
        .iter()
        .map(|scenario| (scenario.name, scenario.what))
}

/// Those among the names that are ours to measure; all of them when nothing is named.
pub(super) fn choose(names: &[String]) -> Vec<&'static Scenario> {
    SCENARIOS
        .iter()
        .filter(|one| names.is_empty() || names.iter().any(|name| name == one.name))
        .collect()
}

pub(super) fn run(chosen: &[&Scenario], options: &BenchOptions) -> anyhow::Result<()> {
    if !options.no_build {
        build_release(&["trine-supervisor"])?;
    }
    let binaries = target().join("release");
    for scenario in chosen {
        let mut series = [Vec::new(), Vec::new()];
        for round in 1..=options.rounds {
            for (kind, figures) in [Kind::Ours, Kind::Supervisord].into_iter().zip(&mut series) {
                let field = if scenario.on_disk {
                    Field::new(&binaries, options.nice)?
                } else {
                    // Making 400 log files where 400 were just removed keeps ext4 busy for longer than all else.
                    Field::in_memory(&binaries, options.nice)?
                };
                let found = (scenario.measure)(kind, &field)
                    .with_context(|| format!("{}: {}", scenario.name, kind.name()))?;
                eprintln!(
                    "{} round {round}/{}: {:<16} {found:?}",
                    scenario.name,
                    options.rounds,
                    kind.name()
                );
                figures.push(found);
            }
        }
        println!("{}", table(scenario, &series, options.rounds));
    }
    Ok(())
}

/// One row for each figure of the scenario.
fn table(scenario: &Scenario, [ours, theirs]: &[Vec<Vec<f64>>; 2], rounds: usize) -> String {
    let mut out = format!(
        "\n### {}\n\n{}. {rounds} interleaved rounds; median (min–max).\n\n\
         | figure | trine-supervisor | supervisord 4.3 | ratio | goal |\n|---|---|---|---|---|\n",
        scenario.name, scenario.what
    );
    for (index, figure) in scenario.figures.iter().enumerate() {
        let of = |rounds: &[Vec<f64>]| -> Vec<f64> {
            rounds
                .iter()
                .filter_map(|round| round.get(index).copied())
                .collect()
        };
        let (ours, theirs) = (of(ours), of(theirs));
        let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| {
            if figure.less_is_better {
                theirs / ours.max(f64::MIN_POSITIVE)
            } else {
                ours / theirs.max(f64::MIN_POSITIVE)
            }
        });
        let show = |figures: Vec<f64>| {
            Spread::of(figures).map_or_else(|| "–".to_owned(), |spread| spread.show(figure.digits))
        };
        let ratio = Spread::of(ratios).map_or_else(|| "–".to_owned(), |spread| spread.show(2));
        // Writing to a string never fails.
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {ratio}× | {} |",
            figure.name,
            show(ours),
            show(theirs),
            figure.goal
        );
    }
    out
}
