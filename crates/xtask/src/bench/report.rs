//! Samples to a Markdown table: medians, the spread, and ratios taken round by round.

use std::fmt::Write as _;

/// What one server did in one round.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    Load {
        per_second: f64,
        /// CPU time of the server's whole process tree for each request.
        cpu_micros: f64,
        p99_ms: Option<f64>,
        /// How busy the load generator was.
        load_share: f64,
    },
    /// MiB, milliseconds or another unit: less is better.
    Cost(f64),
}

/// All rounds of one scenario.
pub(super) struct Report<'a> {
    pub(super) name: &'a str,
    pub(super) what: String,
    pub(super) goal: &'a str,
    pub(super) rounds: usize,
    /// What a `Cost` is counted in.
    pub(super) unit: &'a str,
    /// The samples of each server; the others are compared with the first, which is ours unless it was left out.
    pub(super) rows: &'a [(&'static str, Vec<Sample>)],
}

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

impl Sample {
    fn per_second(&self) -> Option<f64> {
        match self {
            Self::Load { per_second, .. } => Some(*per_second),
            Self::Cost(_) => None,
        }
    }

    /// What less of is better: CPU time for each request, memory, time.
    fn cost(&self) -> Option<f64> {
        match self {
            Self::Load { cpu_micros, .. } => Some(*cpu_micros),
            Self::Cost(cost) => Some(*cost),
        }
    }

    fn p99(&self) -> Option<f64> {
        match self {
            Self::Load { p99_ms, .. } => *p99_ms,
            Self::Cost(_) => None,
        }
    }

    fn load_share(&self) -> Option<f64> {
        match self {
            Self::Load { load_share, .. } => Some(load_share * 100.0),
            Self::Cost(_) => None,
        }
    }
}

impl Report<'_> {
    pub(super) fn table(&self) -> String {
        let Self {
            name,
            what,
            goal,
            rounds,
            unit,
            rows,
        } = self;
        let (ours, samples) = rows
            .first()
            .map_or(("ours", &[][..]), |(name, samples)| (*name, samples));
        let loaded = !matches!(samples.first(), Some(Sample::Cost(_)));
        let mut out = format!(
            "\n### {name}\n\n{what}. {rounds} interleaved rounds; median (min–max). Goal: {goal}.\n\n"
        );
        let _infallible = if loaded {
            writeln!(
                out,
                "| server | requests/s | server CPU µs/request | p99 ms | load core % | {ours} ÷ it: requests/s | {ours} ÷ it: requests per CPU second |\n|---|---|---|---|---|---|---|"
            )
        } else {
            writeln!(out, "| server | {unit} | {ours} ÷ it |\n|---|---|---|")
        };
        for (place, (name, its)) in rows.iter().enumerate() {
            let figure = |of: fn(&Sample) -> Option<f64>, digits| {
                show(Spread::of(its.iter().filter_map(of)), digits)
            };
            let ratio = |of: fn(&Sample) -> Option<f64>, upside_down: bool| {
                let pairs = samples
                    .iter()
                    .zip(its)
                    .filter(|_| place > 0)
                    .filter_map(|(ours, its)| Some(of(ours)? / of(its)?))
                    .map(|ratio| if upside_down { 1.0 / ratio } else { ratio });
                show(Spread::of(pairs), 2)
            };
            let _infallible = if loaded {
                writeln!(
                    out,
                    "| {name} | {} | {} | {} | {} | {} | {} |",
                    figure(Sample::per_second, 0),
                    figure(Sample::cost, 1),
                    figure(Sample::p99, 1),
                    figure(Sample::load_share, 0),
                    ratio(Sample::per_second, false),
                    ratio(Sample::cost, true),
                )
            } else {
                writeln!(
                    out,
                    "| {name} | {} | {} |",
                    figure(Sample::cost, 2),
                    ratio(Sample::cost, false)
                )
            };
        }
        out
    }
}

fn show(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.show(digits))
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

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rows = [
            ("ours", vec![Sample::Cost(1.0), Sample::Cost(4.0)]),
            ("peer", vec![Sample::Cost(2.0), Sample::Cost(4.0)]),
        ];
        let report = Report {
            name: "memory",
            what: "What it takes".to_owned(),
            goal: "less",
            rounds: 2,
            unit: "KiB",
            rows: &rows,
        };
        let table = report.table();
        assert!(
            table.ends_with(
                "| ours | 2.50 (1.00–4.00) | – |\n| peer | 3.00 (2.00–4.00) | 0.75 (0.50–1.00) |\n"
            ),
            "{table}"
        );
    }
}
