//! One event as one line of text or JSON.
//!
//! Not here: where the line goes. Spans are not printed; an event carries what a reader needs.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

pub(super) struct Lines {
    pub(super) program: String,
    pub(super) format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Fixed width, so that lines stand in columns and sort as text.
        let time = format!("{:.3}", Timestamp::now());
        match self.format {
            LogFormat::Text => self.text(&time, out, event),
            LogFormat::Json => self.json(&time, out, event),
        }
    }
}

impl Lines {
    fn text(&self, time: &str, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = TextFields::default();
        event.record(&mut fields);
        let TextFields { message, rest } = fields;
        let gap = if message.is_empty() {
            rest.trim_start()
        } else {
            &rest
        };
        writeln!(
            out,
            "{time} {} {}: {message}{gap}",
            event.metadata().level(),
            self.program
        )
    }

    fn json(&self, time: &str, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = JsonFields(Map::new());
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("time".into(), time.into());
        line.insert(
            "level".into(),
            event
                .metadata()
                .level()
                .as_str()
                .to_ascii_lowercase()
                .into(),
        );
        line.insert("program".into(), self.program.as_str().into());
        line.insert("pid".into(), std::process::id().into());
        line.insert(
            "message".into(),
            fields.0.remove("message").unwrap_or_default(),
        );
        for (name, value) in fields.0 {
            line.entry(name).or_insert(value);
        }
        writeln!(out, "{}", Value::Object(line))
    }
}

/// `message` and ` key=value …`. Control characters are escaped, and the further lines of a message (a
/// traceback) are indented: what a client sent cannot forge a line.
#[derive(Default)]
struct TextFields {
    message: String,
    rest: String,
}

impl Visit for TextFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            push_message(&mut self.message, &format!("{value:?}"));
        } else {
            let _ = write!(self.rest, " {}=", field.name());
            push_safe(&mut self.rest, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let plain = |c: char| c.is_alphanumeric() || "-_./:@%+,[]".contains(c);
        if field.name() != "message" && !value.is_empty() && value.chars().all(plain) {
            let _ = write!(self.rest, " {}={value}", field.name());
        } else if field.name() == "message" {
            push_message(&mut self.message, value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{:?}", crate::exit::chain(value)));
    }
}

fn push_message(out: &mut String, text: &str) {
    for (number, line) in text.split('\n').enumerate() {
        out.push_str(if number > 0 { "\n  " } else { "" });
        push_safe(out, line);
    }
}

fn push_safe(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

struct JsonFields(Map<String, Value>);

impl JsonFields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for JsonFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, crate::exit::chain(value));
    }
}
