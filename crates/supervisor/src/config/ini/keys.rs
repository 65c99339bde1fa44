//! The keys of one section: looked up, expanded, turned into values, each problem noted at its own line; and the keys
//! that are not supervisord's, which are written as in YAML.
//! Not here: what the keys are (`program`, `daemon`).

use super::Notes;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use trine_config::ini::{Entry, Section};
use trine_config::percent::{Names, Value, expand};
use trine_config::suggest::nearest;
use trine_config::{Place, Problems, field_names, yaml};

#[derive(Debug)]
pub(super) struct Keys<'a> {
    pub(super) section: &'a Section,
    pub(super) place: Place,
    /// Names of this section alone.
    pub(super) names: Names,
    /// Those that every section has.
    common: &'a Names,
}

impl<'a> Keys<'a> {
    pub(super) fn new(section: &'a Section, common: &'a Names) -> Self {
        Self {
            section,
            place: section.place(),
            names: Names::new(),
            common,
        }
    }

    /// As it was typed.
    pub(super) fn raw(&self, key: &str) -> Option<&'a Entry> {
        self.section.get(key)
    }

    pub(super) fn expand(&self, text: &str, entry: &Entry, notes: &mut Notes) -> Option<String> {
        if !text.contains('%') {
            return Some(text.to_owned());
        }
        let here = Names::from([("here".to_owned(), Value::Text(here(entry)))]);
        let expanded = expand(text, &[&here, &self.names, self.common]);
        notes.problems.keep(entry.at.clone(), expanded)
    }

    /// Expanded; `None` when it is not there, or cannot be expanded.
    pub(super) fn text(&self, key: &str, notes: &mut Notes) -> Option<String> {
        let entry = self.raw(key)?;
        self.expand(&entry.value, entry, notes)
    }

    pub(super) fn parse<T, E: Display>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        notes: &mut Notes,
    ) -> Option<T> {
        let text = self.text(key, notes)?;
        let place = self.place.key(key);
        notes.problems.keep(place, parse(&text))
    }

    /// The keys that are not `stock`: those that `Raw` has are read as YAML, others are traps.
    pub(super) fn beyond<Raw: DeserializeOwned + Default>(
        &self,
        stock: &[&str],
        not_here: &[&str],
        notes: &mut Notes,
    ) -> Raw {
        let known: Vec<&str> = field_names::<Raw>()
            .iter()
            .copied()
            .filter(|name| !not_here.contains(name) && !stock.contains(name))
            .collect();
        let mut document = String::new();
        for entry in self.section.own_entries() {
            let key = entry.key.as_str();
            if stock.contains(&key) {
                continue;
            }
            if !known.contains(&key) {
                let all = stock.iter().copied().chain(known.iter().copied());
                let help = nearest(key, all).map_or_else(
                    || "supervisord ignores it, and so do we".to_owned(),
                    |near| format!("did you mean \"{near}\"?"),
                );
                notes.traps.push(entry.at.clone(), "unknown key", help);
                continue;
            }
            let Some(value) = self.expand(&entry.value, entry, notes) else {
                continue;
            };
            let line = format!("{key}: {}\n", plain(&value.replace('\n', " ")));
            if is_good::<Raw>(&line, entry, &mut notes.problems) {
                document.push_str(&line);
            }
        }
        if !document.is_empty() {
            let name = self.section.name.clone();
            notes.beyond.insert(name, document.clone());
        }
        let file = self.place.file().to_owned();
        let read = yaml::parse::<Raw>(&document, &file, &mut Problems::new());
        read.map(|document| document.raw).unwrap_or_default()
    }
}

/// A value that begins with what means something else in YAML, such as the `*` of a schedule, is meant as text.
fn plain(value: &str) -> String {
    if value.starts_with(['*', '&', '!', '%', '@', '`']) {
        format!("'{}'", value.replace('\'', "''"))
    } else {
        value.to_owned()
    }
}

/// Tries one key by itself, so that its problems can be told with the line it stands in.
fn is_good<Raw: DeserializeOwned>(line: &str, entry: &Entry, problems: &mut Problems) -> bool {
    let mut own = Problems::new();
    drop(yaml::parse::<Raw>(line, entry.at.file(), &mut own));
    for problem in own.iter() {
        problems.push(entry.at.clone(), &problem.message, &problem.help);
    }
    own.is_empty()
}

/// The folder of the file that an entry stands in.
fn here(entry: &Entry) -> String {
    let folder = entry
        .at
        .file()
        .parent()
        .map(|folder| folder.display().to_string());
    folder.unwrap_or_default()
}
