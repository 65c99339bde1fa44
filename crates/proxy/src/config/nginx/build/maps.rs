//! `map` and `log_format`, and the names that strings may use.
//!
//! Not here: looking anything up (`template`).

use std::sync::Arc;

use tracing::Level;
use trine_service::logging::SyslogSettings;

use super::super::lexer::Word;
use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg};
use crate::config::model::{AccessLog, AccessPlace, LogEscape, LogFormat, LogPlace, LogUse};
use crate::pattern::Pattern;
use crate::template::{MapTable, Table};

/// One `access_log`.
pub(super) struct LogLine<'d> {
    /// An index into the logs.
    pub(super) log: usize,
    /// The name of its format.
    pub(super) format: Option<&'d str>,
    /// The string that has to have a value for a line to be written.
    pub(super) condition: Option<&'d str>,
}

impl Builder<'_> {
    /// Notes the variables that `map`, `geo` and `split_clients` blocks make, and the named groups of all expressions.
    pub(super) fn collect_names(&mut self, http: &[Directive]) {
        let tables = http.iter().filter(|directive| {
            matches!(
                directive.name.text.as_str(),
                "map" | "geo" | "split_clients"
            )
        });
        for (index, table) in tables.enumerate() {
            let name = table.args.last().map_or("", |word| word.text.as_str());
            let name = name.trim_start_matches('$').to_ascii_lowercase();
            self.names.maps.insert(name, index);
        }
        self.collect_groups(http);
    }

    fn collect_groups(&mut self, block: &[Directive]) {
        for directive in block {
            if matches!(directive.name.text.as_str(), "set" | "auth_request_set") {
                let name = arg(directive, 0).trim_start_matches('$');
                self.names.slot(name);
            }
            let words = std::iter::once(&directive.name).chain(&directive.args);
            for word in words.filter(|word| word.text.contains("(?")) {
                let source = word.text.trim_start_matches(['~', '*', '!']);
                if let Ok(pattern) = Pattern::new(source, false) {
                    for name in pattern.names() {
                        let slot = self.names.slot(name);
                        self.names.groups.insert(name.to_ascii_lowercase(), slot);
                    }
                }
            }
            if let Some(block) = &directive.block {
                self.collect_groups(block);
            }
        }
    }

    /// `map $source $name { … }`. All of them are here, in order: templates hold their numbers.
    pub(super) fn map(&mut self, directive: &Directive) {
        self.check_free(directive, arg(directive, 1).trim_start_matches('$'));
        let table = self.map_table(directive, |builder, row, text| builder.template(row, text));
        self.maps.push(Table::Map(table));
    }

    /// The rows of a `map`, whose strings `compile` makes.
    pub(super) fn map_table<T: Clone + Default>(
        &mut self,
        directive: &Directive,
        compile: impl Fn(&mut Self, &Directive, &str) -> T,
    ) -> MapTable<T> {
        let mut table = MapTable {
            source: compile(self, directive, arg(directive, 0)),
            ..MapTable::default()
        };
        if !arg(directive, 1).starts_with('$') {
            let message = format!("invalid variable name \"{}\"", arg(directive, 1));
            self.wrong(directive, message, "");
        }
        let rows = directive.block.as_deref().unwrap_or_default();
        let hostnames = rows
            .iter()
            .any(|row| row.args.is_empty() && row.name.text == "hostnames");
        for row in rows {
            let [value] = row.args.as_slice() else {
                let flag = matches!(row.name.text.as_str(), "hostnames" | "volatile");
                if !(row.args.is_empty() && flag) {
                    self.wrong(row, "invalid number of the map parameters", "");
                }
                continue;
            };
            let value = compile(self, row, &value.text);
            self.map_row(&mut table, row, value, hostnames);
        }
        table
    }

    fn map_row<T: Clone>(
        &mut self,
        table: &mut MapTable<T>,
        row: &Directive,
        value: T,
        hostnames: bool,
    ) {
        let key = row.name.text.as_str();
        if key == "default" {
            table.default = value;
        } else if let Some(source) = key.strip_prefix('~') {
            let (source, caseless) = match source.strip_prefix('*') {
                Some(source) => (source, true),
                None => (source, false),
            };
            if let Some(pattern) = self.pattern(row, source, caseless) {
                table.regexes.push((pattern, value));
            }
        } else if hostnames && (key.starts_with("*.") || key.starts_with('.')) {
            let suffix = key.trim_start_matches('*').to_ascii_lowercase();
            if key.starts_with('.') {
                let exact = suffix.as_bytes()[1..].to_vec();
                table.exact.insert(exact, value.clone());
            }
            table.suffixes.insert(suffix.into_bytes(), value);
        } else if hostnames && key.ends_with(".*") {
            let prefix = key[..key.len() - 1].to_ascii_lowercase();
            table.prefixes.insert(prefix.into_bytes(), value);
        } else {
            // A backslash keeps a source that looks like one of the above as it is.
            let plain = key.strip_prefix('\\').unwrap_or(key);
            let known = table
                .exact
                .insert(plain.to_ascii_lowercase().into_bytes(), value);
            if known.is_some() {
                self.wrong(row, format!("conflicting parameter \"{key}\""), "");
            }
        }
    }

    /// `log_format name [escape=…] string …`.
    pub(super) fn log_format(&mut self, directive: &Directive) {
        let name = arg(directive, 0).to_owned();
        let (text, escape) = self.format_text(directive);
        let template = Arc::new(self.template(directive, &text));
        let format = LogFormat::Custom(template, escape);
        if self.formats.insert(name.clone(), format).is_some() || name == "combined" {
            let message = format!("duplicate \"log_format\" name \"{name}\"");
            self.wrong(directive, message, "");
        }
    }

    /// The string of a format, and how its values are made safe.
    pub(super) fn format_text(&mut self, directive: &Directive) -> (String, LogEscape) {
        let mut escape = LogEscape::Default;
        let mut text = String::new();
        for (index, Word { text: word, .. }) in directive.args.iter().enumerate().skip(1) {
            match word.strip_prefix("escape=") {
                Some("default") if index == 1 => escape = LogEscape::Default,
                Some("json") if index == 1 => escape = LogEscape::Json,
                Some("none") if index == 1 => escape = LogEscape::None,
                Some(other) if index == 1 => {
                    let message = format!("unknown log format escaping \"{other}\"");
                    self.wrong(directive, message, "");
                }
                _ => text += word,
            }
        }
        (text, escape)
    }

    /// The targets of all `error_log`s, each once. Those of inner blocks get the lines of all.
    pub(super) fn error_logs(&mut self, block: &[Directive]) -> Vec<(Level, LogPlace)> {
        let mut found: Vec<(Level, LogPlace)> = Vec::new();
        for directive in block {
            let inner = match directive.name.text.as_str() {
                "error_log" => self.error_log(directive).into_iter().collect(),
                "http" | "stream" | "server" | "location" => {
                    self.error_logs(directive.block.as_deref().unwrap_or_default())
                }
                _ => Vec::new(),
            };
            for (level, place) in inner {
                match found.iter_mut().find(|(_, known)| *known == place) {
                    Some((known, _)) => *known = level.max(*known),
                    None => found.push((level, place)),
                }
            }
        }
        found
    }

    fn error_log(&mut self, directive: &Directive) -> Option<(Level, LogPlace)> {
        let level = match arg(directive, 1) {
            "" | "error" | "crit" | "alert" | "emerg" => Level::ERROR,
            "warn" => Level::WARN,
            "notice" | "info" => Level::INFO,
            level if level.starts_with("debug") => Level::DEBUG,
            other => {
                let message = format!("invalid log level \"{other}\"");
                self.wrong(directive, message, "");
                return None;
            }
        };
        let target = arg(directive, 0);
        if target.starts_with("memory:") {
            let help = "write to a file or to stderr";
            self.wrong(directive, "logging to memory is not supported", help);
            return None;
        }
        let place = match self.log_place(directive, target)? {
            _ if matches!(target, "stderr" | "/dev/stderr") => LogPlace::Stderr,
            AccessPlace::Syslog(settings) => LogPlace::Syslog(settings),
            AccessPlace::Stdout => LogPlace::File(target.into()),
            AccessPlace::File(path) => LogPlace::File(path),
        };
        Some((level, place))
    }

    /// A file, standard output or `syslog:…`.
    fn log_place(&mut self, directive: &Directive, target: &str) -> Option<AccessPlace> {
        let Some(syslog) = target.strip_prefix("syslog:") else {
            return Some(match target {
                "/dev/stdout" => AccessPlace::Stdout,
                path => AccessPlace::File(self.prefix.join(path)),
            });
        };
        match SyslogSettings::parse(syslog) {
            Ok(settings) => Some(AccessPlace::Syslog(settings)),
            Err(message) => {
                self.wrong(
                    directive,
                    message,
                    "write syslog:server=unix:/dev/log or HOST:PORT",
                );
                None
            }
        }
    }

    /// `access_log path [format] [buffer=…] [if=…]`, or `off`.
    pub(super) fn access_log(&mut self, directive: &Directive) -> Option<LogUse> {
        let line = self.log_line(directive)?;
        let name = line.format.unwrap_or("combined");
        let Some(format) = self.formats.get(name).cloned() else {
            self.wrong(directive, format!("unknown log format \"{name}\""), "");
            return None;
        };
        let condition = line.condition.map(|text| self.template(directive, text));
        Some(LogUse {
            log: line.log,
            format,
            condition,
        })
    }

    /// What an `access_log` says, of requests or of sessions.
    pub(super) fn log_line<'d>(&mut self, directive: &'d Directive) -> Option<LogLine<'d>> {
        let target = arg(directive, 0);
        if target == "off" {
            return None;
        }
        if target.contains('$') {
            let help = "write one file, and tell the lines apart by a variable in the format";
            self.wrong(
                directive,
                "variables in the path of a log are not supported",
                help,
            );
            return None;
        }
        let place = self.log_place(directive, target)?;
        let mut format = None;
        let mut condition = None;
        let (mut buffer, mut flush, mut gzips) = (None, None, false);
        for (index, word) in directive.args.iter().enumerate().skip(1) {
            if let Some(text) = word.text.strip_prefix("if=") {
                condition = Some(text);
            } else if let Some(size) = word.text.strip_prefix("buffer=") {
                match units::size(size) {
                    Some(bytes @ 1..) => buffer = usize::try_from(bytes).ok(),
                    _ => self.wrong(directive, format!("invalid buffer size \"{size}\""), ""),
                }
            } else if let Some(time) = word.text.strip_prefix("flush=") {
                match units::time(time) {
                    Some(time) if !time.is_zero() => flush = Some(time),
                    _ => self.wrong(directive, format!("invalid flush time \"{time}\""), ""),
                }
            } else if word.text == "gzip" || word.text.starts_with("gzip=") {
                gzips = true;
            } else if index == 1 {
                format = Some(word.text.as_str());
            } else {
                let message = format!("invalid parameter \"{}\"", word.text);
                self.wrong(directive, message, "");
            }
        }
        if gzips && !matches!(place, AccessPlace::File(_)) {
            self.wrong(directive, "only files can be compressed", "remove gzip");
        }
        let log = AccessLog {
            place,
            buffer: buffer.unwrap_or(if gzips { 64 * 1024 } else { AccessLog::BUFFER }),
            flush: flush.unwrap_or(AccessLog::FLUSH),
            gzips,
        };
        let known = self.access_logs.iter().position(|other| *other == log);
        let log = known.unwrap_or_else(|| {
            self.access_logs.push(log);
            self.access_logs.len() - 1
        });
        Some(LogLine {
            log,
            format,
            condition,
        })
    }
}
