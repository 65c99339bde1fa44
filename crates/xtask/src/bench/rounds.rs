//! Rounds of measuring: A B C, A B C, … so that a slow minute of the machine hits all of them.
//!
//! Not here: what is measured.

use anyhow::Context as _;

use super::report::Sample;
use crate::cli::BenchOptions;

/// Someone who is measured.
pub(super) struct Subject<P> {
    pub(super) peer: P,
    pub(super) name: &'static str,
    /// Why it cannot be measured here.
    pub(super) missing: Option<String>,
}

/// Measures in turns those that are there and wanted: `one` is given the round and who it is.
///
/// # Errors
/// The first that cannot be measured, by its name.
pub(super) fn in_turns<P: Copy>(
    scenario: &str,
    subjects: impl Iterator<Item = Subject<P>>,
    options: &BenchOptions,
    mut one: impl FnMut(usize, P) -> anyhow::Result<Sample>,
) -> anyhow::Result<Vec<(&'static str, Vec<Sample>)>> {
    let wanted = &options.subjects;
    let mut peers = vec![];
    let mut series = vec![];
    for subject in subjects {
        let name = subject.name;
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        match subject.missing {
            None => {
                peers.push(subject.peer);
                series.push((name, vec![]));
            }
            Some(why) => eprintln!("{scenario}: left out {name}: {why}"),
        }
    }
    for round in 1..=options.rounds {
        for (peer, (name, samples)) in peers.iter().zip(&mut series) {
            let sample = one(round, *peer).with_context(|| format!("{scenario}: {name}"))?;
            eprintln!(
                "{scenario} round {round}/{}: {name:<18} {sample:.2?}",
                options.rounds
            );
            samples.push(sample);
        }
    }
    Ok(series)
}
