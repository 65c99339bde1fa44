//! Samples to a Markdown table: medians, the spread, and ratios taken round by round.

use std::fmt::Write as _;

use super::Series;
use super::measure::Sample;
use super::subjects::Scenario;

/// The median and the extremes of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    pub(super) fn show(self, digits: usize) -> String {
        format!(
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

pub(super) fn table(scenario: &Scenario, series: &[Series], rounds: usize, seconds: u64) -> String {
    let mut out = format!(
        "\n### {}\n\n{}. {rounds} interleaved rounds of {seconds} s; median (min–max).\n\n",
        scenario.name, scenario.what
    );
    let ours = series.iter().find(|one| one.subject.ours);
    let name = ours.map_or("ours", |one| one.subject.name);
    let _infallible = writeln!(
        out,
        "| server | requests/s | server CPU µs/request | load core | {name} ÷ it: requests/s | {name} ÷ it: requests per CPU second |\n\
         |---|---|---|---|---|---|"
    );
    for one in series {
        let figure = |of: fn(&Sample) -> f64, digits| {
            Spread::of(one.samples.iter().map(of))
                .map_or_else(|| "–".to_owned(), |spread| spread.show(digits))
        };
        let share = Spread::of(one.samples.iter().map(Sample::load_share))
            .map_or(0.0, |spread| spread.median * 100.0);
        let ratio = |of: fn(&Sample) -> f64| match ours {
            Some(ours) if ours.subject.name != one.subject.name => {
                let pairs = ours
                    .samples
                    .iter()
                    .zip(&one.samples)
                    .map(|(ours, its)| of(ours) / of(its));
                Spread::of(pairs).map_or_else(|| "–".to_owned(), |spread| spread.show(2))
            }
            Some(_) | None => "–".to_owned(),
        };
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {share:.0} % | {} | {} |",
            one.subject.name,
            figure(Sample::per_second, 0),
            figure(Sample::cpu_micros, 1),
            ratio(Sample::per_second),
            ratio(|sample| 1.0 / sample.cpu_micros()),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            Spread::of([4.0, 1.0]).map(|spread| spread.show(1)),
            Some("2.5 (1.0–4.0)".to_owned())
        );
    }
}
