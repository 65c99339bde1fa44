//! The text of `/metrics`: OpenMetrics 1.0, which Prometheus reads.
//!
//! Not here: counting. A daemon reads its numbers when asked and writes them by this.

use std::fmt::Write as _;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Builds the text, family by family: `counter`, `gauge` or `histogram` begin one, the calls after it add
/// its samples.
#[derive(Debug, Default)]
pub struct Metrics {
    text: String,
}

/// One family, to add samples to.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
    suffix: &'static str,
}

/// A histogram's numbers: `counts[i]` observations were in bucket `i`, whose upper bound is `bounds[i]`; the
/// last count, past all bounds, is of those above.
#[derive(Debug, Clone, Copy)]
pub struct Histogram<'a> {
    /// Upper bounds, growing, without infinity.
    pub bounds: &'a [f64],
    /// Observations per bucket (not summed up), one more than there are bounds.
    pub counts: &'a [u64],
    /// The sum of all observed values.
    pub sum: f64,
}

impl Metrics {
    /// An empty text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family that only grows; `name` without `_total`, which samples get by themselves.
    pub fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help, "_total")
    }

    /// Begins a family that goes up and down.
    pub fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help, "")
    }

    /// Begins a family of histograms; see [`Family::histogram`].
    pub fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "histogram", help, "")
    }

    /// The finished text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    fn family<'a>(
        &'a mut self,
        name: &'a str,
        kind: &str,
        help: &str,
        suffix: &'static str,
    ) -> Family<'a> {
        debug_assert!(is_name(name), "{name}");
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        push_escaped(&mut self.text, help);
        self.text.push('\n');
        Family {
            text: &mut self.text,
            name,
            suffix,
        }
    }
}

impl Family<'_> {
    /// Adds one sample with its labels.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Number) -> &mut Self {
        self.line(self.suffix, labels, None, value)
    }

    /// Adds one histogram with its labels.
    pub fn histogram(&mut self, labels: &[(&str, &str)], values: Histogram<'_>) -> &mut Self {
        let bounds = values
            .bounds
            .iter()
            .map(|bound| canonical(*bound))
            .chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (bound, count) in bounds.zip(values.counts) {
            total += count;
            self.line("_bucket", labels, Some(&bound), total);
        }
        self.line("_count", labels, None, total)
            .line("_sum", labels, None, values.sum)
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        le: Option<&str>,
        value: impl Number,
    ) -> &mut Self {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut open = '{';
        for (name, value) in labels.iter().copied().chain(le.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{open}{name}=\"");
            push_escaped(self.text, value);
            self.text.push('"');
            open = ',';
        }
        self.text.push_str(if open == ',' { "} " } else { " " });
        value.push_to(self.text);
        self.text.push('\n');
        self
    }
}

/// A value of a sample.
pub trait Number {
    /// Writes it in OpenMetrics' way.
    fn push_to(self, text: &mut String);
}

impl Number for u64 {
    fn push_to(self, text: &mut String) {
        let _ = write!(text, "{self}");
    }
}

impl Number for i64 {
    fn push_to(self, text: &mut String) {
        let _ = write!(text, "{self}");
    }
}

impl Number for f64 {
    fn push_to(self, text: &mut String) {
        text.push_str(&canonical(self));
    }
}

/// Whole numbers keep their `.0`, infinities are `+Inf` and `-Inf`.
fn canonical(value: f64) -> String {
    if value.is_infinite() {
        (if value > 0.0 { "+Inf" } else { "-Inf" }).to_owned()
    } else {
        format!("{value:?}")
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds() {
        let mut metrics = Metrics::new();
        metrics
            .counter("requests", "Requests \"served\"\nby all")
            .sample(&[], 3_u64);
        metrics
            .gauge("workers", "Workers.")
            .sample(&[("state", "idle"), ("path", "a\\b\"c\nd")], -1_i64)
            .sample(&[("state", "busy")], 0.5);
        let values = Histogram {
            bounds: &[0.1, 2.0],
            counts: &[1, 0, 2],
            sum: 7.25,
        };
        metrics
            .histogram("time_seconds", "Time.")
            .histogram(&[("code", "200")], values);
        let want = r#"# TYPE requests counter
# HELP requests Requests \"served\"\nby all
requests_total 3
# TYPE workers gauge
# HELP workers Workers.
workers{state="idle",path="a\\b\"c\nd"} -1
workers{state="busy"} 0.5
# TYPE time_seconds histogram
# HELP time_seconds Time.
time_seconds_bucket{code="200",le="0.1"} 1
time_seconds_bucket{code="200",le="2.0"} 1
time_seconds_bucket{code="200",le="+Inf"} 3
time_seconds_count{code="200"} 3
time_seconds_sum{code="200"} 7.25
# EOF
"#;
        assert_eq!(metrics.finish(), want);
    }

    #[test]
    fn numbers() {
        assert_eq!(
            [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e21].map(canonical),
            ["+Inf", "-Inf", "NaN", "1e21"]
        );
    }
}
