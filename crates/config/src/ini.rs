//! INI files in the dialect that supervisord reads: Python's RawConfigParser as it is set up there. Sections that come
//! again are one, the last value of a key counts, indented lines go on, whitespace and `;` or `#` end a value.
//! Not here: what sections and keys mean, expansions (`percent`), includes.

use crate::place::Place;
use crate::problems::Problems;
use std::path::Path;

/// The sections of one file, or of several that were read one after the other.
#[derive(Clone, Debug, Default)]
pub struct Ini {
    sections: Vec<Section>,
    /// `[DEFAULT]`: what a section says when it does not say it itself.
    defaults: Option<Section>,
}

#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    at: Place,
    entries: Vec<Entry>,
    defaults: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    /// In lower case.
    pub key: String,
    /// Continued lines are joined by newlines; nothing is expanded.
    pub value: String,
    pub at: Place,
}

impl Ini {
    /// Reads a text on top of what was read before. `problems`: what makes it unusable. `traps`: what is read, but
    /// hardly as it was meant.
    pub fn read(&mut self, text: &str, path: &Path, problems: &mut Problems, traps: &mut Problems) {
        let mut reader = Reader {
            ini: self,
            path,
            section: None,
            indent: 0,
            seen: Vec::new(),
            in_value: false,
        };
        for (number, line) in text.split('\n').enumerate() {
            let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            reader.line(line.trim_end_matches('\r'), number, problems, traps);
        }
        for section in self.sections.iter_mut().chain(&mut self.defaults) {
            for entry in &mut section.entries {
                entry.value.truncate(entry.value.trim_end().len());
            }
        }
        let defaults = self.defaults.as_ref().map(|d| d.entries.clone());
        for section in &mut self.sections {
            section.defaults = defaults.clone().unwrap_or_default();
        }
    }

    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Section {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let find = |entries: &'_ [Entry]| entries.iter().position(|entry| entry.key == key);
        find(&self.entries)
            .map(|at| &self.entries[at])
            .or_else(|| find(&self.defaults).map(|at| &self.defaults[at]))
    }

    /// What it says itself, without `[DEFAULT]`.
    pub fn own_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Where it begins, with the places of its keys.
    #[must_use]
    pub fn place(&self) -> Place {
        let all = self.defaults.iter().chain(&self.entries);
        let keys = all.map(|entry| (entry.key.as_str(), &entry.at));
        self.at.clone().with_keys(keys)
    }
}

struct Reader<'a> {
    ini: &'a mut Ini,
    path: &'a Path,
    /// Its name, once there was one.
    section: Option<String>,
    /// Of the line that began the present value.
    indent: usize,
    /// Keys met in this text, by section, with their lines.
    seen: Vec<(String, String, u32)>,
    /// Whether an indented line goes on with a value.
    in_value: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, number: u32, problems: &mut Problems, traps: &mut Problems) {
        let comment = comment_start(line);
        let value = line[..comment.unwrap_or(line.len())].trim();
        if value.is_empty() {
            // An empty line inside a value belongs to it; one with a comment does not.
            if comment.is_none()
                && self.in_value
                && let Some(entry) = self.last_entry()
            {
                entry.value.push('\n');
            }
            return;
        }
        if let Some(at) = comment
            && within_quotes(&line[..at])
        {
            traps.push(
                self.place(number),
                format!(
                    "the value ends at {:?}, although it stands between quotes",
                    line[at..].chars().take(12).collect::<String>()
                ),
                "leave out the blank before the ; or # if it is meant",
            );
        }
        let indent = line.find(|c: char| !c.is_whitespace()).unwrap_or(0);
        if self.in_value && indent > self.indent {
            if let Some(entry) = self.last_entry() {
                entry.value.push('\n');
                entry.value.push_str(value);
            }
            return;
        }
        self.indent = indent;
        if let Some(name) = header(value) {
            self.begin(name, number, traps);
        } else if self.section.is_none() {
            problems.push(
                self.place(number),
                "stands before any [section]",
                "begin with a section, such as [supervisord]",
            );
        } else {
            self.entry(value, number, problems, traps);
        }
    }

    fn begin(&mut self, name: &str, number: u32, traps: &mut Problems) {
        self.in_value = false;
        self.section = Some(name.to_owned());
        let at = Place::new(self.path, number, 0, format!("[{name}]"));
        if name == "DEFAULT" {
            self.ini
                .defaults
                .get_or_insert_with(|| Section::new(name, at));
        } else if let Some(known) = self.ini.section(name) {
            let (file, line) = (known.at.file().display(), known.at.line());
            traps.push(
                at,
                format!("this section is there already, at {file}:{line}; the two are one"),
                "put its keys together, or rename one",
            );
        } else {
            self.ini.sections.push(Section::new(name, at));
        }
    }

    fn entry(&mut self, line: &str, number: u32, problems: &mut Problems, traps: &mut Problems) {
        let Some((key, value)) = line
            .split_once(['=', ':'])
            .filter(|(key, _)| !key.is_empty())
        else {
            self.in_value = false;
            problems.push(
                self.place(number),
                format!("neither a [section] nor KEY = VALUE: {line:?}"),
                "indent it if it goes on with the line before",
            );
            return;
        };
        let (key, value) = (key.trim_end().to_lowercase(), value.trim().to_owned());
        let Some(name) = self.section.clone() else {
            return;
        };
        let at = Place::new(self.path, number, 0, format!("[{name}].{key}"));
        let known = self.seen.iter().find(|(s, k, _)| *s == name && *k == key);
        if let Some((_, _, line)) = known {
            traps.push(
                at.clone(),
                format!("is given already in line {line}; this one counts"),
                "leave one of the two out",
            );
        }
        self.seen.push((name, key.clone(), number));
        self.in_value = true;
        let Some(section) = self.current() else {
            return;
        };
        section.entries.retain(|entry| entry.key != key);
        section.entries.push(Entry { key, value, at });
    }

    fn current(&mut self) -> Option<&mut Section> {
        let name = self.section.as_deref()?;
        if name == "DEFAULT" {
            return self.ini.defaults.as_mut();
        }
        self.ini
            .sections
            .iter_mut()
            .find(|section| section.name == name)
    }

    fn last_entry(&mut self) -> Option<&mut Entry> {
        self.current()?.entries.last_mut()
    }

    fn place(&self, number: u32) -> Place {
        let key = self.section.as_ref().map(|name| format!("[{name}]"));
        Place::new(self.path, number, 0, key.unwrap_or_default())
    }
}

impl Section {
    fn new(name: &str, at: Place) -> Self {
        Self {
            name: name.to_owned(),
            at,
            entries: Vec::new(),
            defaults: Vec::new(),
        }
    }
}

/// Where a comment begins: at the line's first character or after a blank.
fn comment_start(line: &str) -> Option<usize> {
    if line.trim_start().starts_with(['#', ';']) {
        return Some(0);
    }
    let mut blank = true;
    for (at, c) in line.char_indices() {
        if blank && (c == ';' || c == '#') {
            return Some(at);
        }
        blank = c.is_whitespace();
    }
    None
}

/// `[name]`; what follows the last bracket is not looked at.
fn header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.rsplit_once(']')?;
    Some(name).filter(|name| !name.is_empty())
}

fn within_quotes(text: &str) -> bool {
    let mut open = None;
    for c in text.chars() {
        match open {
            None if c == '"' || c == '\'' => open = Some(c),
            Some(quote) if c == quote => open = None,
            _ => {}
        }
    }
    // An apostrophe in a sentence is no quote: only what a shell would take for one is.
    open.is_some_and(|quote| {
        text.find(quote)
            .is_some_and(|at| at == 0 || !text[..at].ends_with(char::is_alphanumeric))
    })
}

#[cfg(test)]
mod tests;
