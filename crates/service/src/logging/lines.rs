//! One event as one line of text or JSON.
//!
//! Not here: where the line goes. Spans are not printed; an event carries what a reader needs.

use std::fmt::{self, Write as _};

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

use super::{Form, Line, LogFormat, Relay};

pub(super) struct Lines {
    pub(super) program: String,
    pub(super) format: Form,
    pub(super) relay: Relay,
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
        if self.relay.is_set() && self.relayed(event) {
            return Ok(());
        }
        // Fixed width, so that lines stand in columns and sort as text.
        let time = format!("{:.3}", Timestamp::now());
        match self.format.get() {
            LogFormat::Text => self.text(&time, out, event),
            LogFormat::Json => self.json(&time, out, event),
            LogFormat::Gunicorn => gunicorn(out, event),
            LogFormat::Supervisord => supervisord(out, event),
            LogFormat::Nginx => nginx(out, event),
        }
    }
}

/// As Python's logging module writes it for gunicorn, with gunicorn's format.
fn gunicorn(mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let fields = TextFields::of(event, false);
    writeln!(
        out,
        "{} [{}] [{}] {}",
        Zoned::now().strftime("[%Y-%m-%d %H:%M:%S %z]"),
        std::process::id(),
        python_level(*event.metadata().level(), fields.critical),
        fields.text(),
    )
}

/// As supervisord writes it. A message keeps to its line.
fn supervisord(mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let fields = TextFields::of(event, true);
    let level = match *event.metadata().level() {
        Level::ERROR if fields.critical => "CRIT",
        Level::ERROR => "ERRO",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBG",
        Level::TRACE => "TRAC",
    };
    let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
    writeln!(out, "{time} {level} {}", fields.text())
}

/// As nginx writes it: who asked for what stands behind the message.
fn nginx(mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let mut fields = NginxFields::default();
    event.record(&mut fields);
    let level = match *event.metadata().level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "notice",
        Level::DEBUG | Level::TRACE => "debug",
    };
    writeln!(
        out,
        "{} [{level}] {}#{}: {}{}{}",
        Zoned::now().strftime("%Y/%m/%d %H:%M:%S"),
        std::process::id(),
        nix::unistd::gettid(),
        fields.connection,
        fields.message,
        fields.rest
    )
}

/// `*NUMBER `, the message, and `, key: value …`.
#[derive(Default)]
struct NginxFields {
    connection: String,
    message: String,
    rest: String,
}

impl Visit for NginxFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => push_message(&mut self.message, &text, true),
            "connection" => self.connection = format!("*{text} "),
            name @ ("request" | "upstream" | "host" | "referrer") => {
                let _ = write!(self.rest, ", {name}: \"");
                push_safe(&mut self.rest, text.trim_matches('"'));
                self.rest.push('"');
            }
            // nginx has no space there.
            name if name.starts_with("bytes from/to ") => {
                let _ = write!(self.rest, ", {name}:");
                push_safe(&mut self.rest, text.trim_matches('"'));
            }
            name => {
                let _ = write!(self.rest, ", {name}: ");
                push_safe(&mut self.rest, text.trim_matches('"'));
            }
        }
    }
}

fn python_level(level: Level, critical: bool) -> &'static str {
    match level {
        Level::ERROR if critical => "CRITICAL",
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

impl Lines {
    /// Hands the line to whoever wants the lines instead.
    fn relayed(&self, event: &Event<'_>) -> bool {
        let fields = TextFields::of(event, false);
        self.relay.take(&Line {
            level: *event.metadata().level(),
            critical: fields.critical,
            message: &fields.text(),
        })
    }

    fn text(&self, time: &str, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writeln!(
            out,
            "{time} {} {}: {}",
            event.metadata().level(),
            self.program,
            TextFields::of(event, true).text()
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
/// traceback) are indented, unless an incumbent's format has them bare: what a client sent cannot forge a line.
#[derive(Default)]
struct TextFields {
    message: String,
    rest: String,
    indent: bool,
    critical: bool,
}

impl TextFields {
    fn of(event: &Event<'_>, indent: bool) -> Self {
        let mut fields = Self {
            indent,
            ..Self::default()
        };
        event.record(&mut fields);
        fields
    }

    fn text(&self) -> String {
        let gap = if self.message.is_empty() {
            self.rest.trim_start()
        } else {
            &self.rest
        };
        format!("{}{gap}", self.message)
    }
}

impl Visit for TextFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            push_message(&mut self.message, &format!("{value:?}"), self.indent);
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
            push_message(&mut self.message, value, self.indent);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "critical" {
            self.critical = value;
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{:?}", crate::exit::chain(value)));
    }
}

fn push_message(out: &mut String, text: &str, indent: bool) {
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push_str(if indent { "\n  " } else { "\n" });
        }
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
