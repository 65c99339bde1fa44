//! Settings of programs with several processes: filling in what differs from process to process, and finding the one
//! program that several processes may be written as.
//! Not here: reading keys (`program`), writing them (`convert`).

use super::{Destination, Process};
use std::path::PathBuf;

/// In texts of the YAML: the process's name, its number, and the number with so many digits at least.
const NAME: &str = "{process}";
const NUMBER: &str = "{process_num}";
const WIDTHS: [usize; 4] = [2, 3, 4, 5];

fn with_width(width: usize) -> String {
    format!("{{process_num:0{width}}}")
}

fn fill(text: &str, name: &str, number: u32) -> String {
    if !text.contains("{process") {
        return text.to_owned();
    }
    let mut out = text
        .replace(NAME, name)
        .replace(NUMBER, &number.to_string());
    for width in WIDTHS {
        out = out.replace(&with_width(width), &format!("{number:0width$}"));
    }
    out
}

impl Process {
    /// The process of this number, of `count`, that this one is the pattern of.
    pub(super) fn numbered(&self, number: u32, count: u32) -> Self {
        let mut process = self.clone();
        process.name = if self.name.contains("{process_num") {
            fill(&self.name, "", number)
        } else if count > 1 {
            format!("{}_{number:02}", self.name)
        } else {
            self.name.clone()
        };
        let name = process.name.clone();
        process.each_text(|text| *text = fill(text, &name, number));
        process
    }

    /// What may be different from process to process.
    fn each_text(&mut self, mut with: impl FnMut(&mut String)) {
        self.command.iter_mut().for_each(&mut with);
        with(&mut self.command_line);
        self.environment.values_mut().for_each(&mut with);
        let outputs = [&mut self.stdout, &mut self.stderr].into_iter();
        let logs = outputs.filter_map(|output| match &mut output.to {
            Destination::Path(path) => Some(path),
            Destination::Auto | Destination::Nowhere => None,
        });
        for path in self.directory.iter_mut().chain(logs) {
            if let Some(text) = path.to_str() {
                let mut text = text.to_owned();
                with(&mut text);
                *path = PathBuf::from(text);
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        self.clone().each_text(|text| texts.push(text.clone()));
        texts
    }
}

/// The pattern of a program called `name` that all these processes, with their numbers, come from; `None` if they differ in
/// more than names and numbers.
pub(super) fn pattern(name: &str, all: &[(&Process, u32)]) -> Option<Process> {
    let count = u32::try_from(all.len()).ok()?;
    let mut pattern = all.first()?.0.clone();
    let is_plain = all
        .iter()
        .all(|(process, number)| process.name == format!("{name}_{number:02}"));
    pattern.name = if is_plain {
        name.to_owned()
    } else {
        let names: Vec<_> = all.iter().map(|(p, n)| (p.name.clone(), "", *n)).collect();
        common(&names).filter(|text| text.contains("{process_num"))?
    };
    let columns: Vec<Vec<String>> = all.iter().map(|(process, _)| process.texts()).collect();
    let mut place = 0;
    let mut is_found = true;
    pattern.each_text(|text| {
        let column = columns.iter().zip(all);
        let column: Option<Vec<_>> = column
            .map(|(texts, (process, number))| {
                Some((texts.get(place)?.clone(), process.name.as_str(), *number))
            })
            .collect();
        place += 1;
        match column.as_deref().and_then(common) {
            Some(found) => *text = found,
            None => is_found = false,
        }
    });
    let fits = |(process, number): &(&Process, u32)| pattern.numbered(*number, count) == **process;
    (is_found && all.iter().all(fits)).then_some(pattern)
}

/// One text that becomes each of these, with the process's name and number filled in.
fn common(all: &[(String, &str, u32)]) -> Option<String> {
    let (first, name, number) = all.first()?;
    let fits = |pattern: &String| {
        all.iter()
            .all(|(text, name, number)| fill(pattern, name, *number) == *text)
    };
    if fits(first) {
        return Some(first.clone());
    }
    let named = if name.is_empty() {
        first.clone()
    } else {
        first.replace(name, NAME)
    };
    let forms = std::iter::once((NUMBER.to_owned(), number.to_string())).chain(
        WIDTHS
            .into_iter()
            .map(|width| (with_width(width), format!("{number:0width$}"))),
    );
    let mut tries = vec![named.clone()];
    for (form, digits) in forms {
        for text in [&named, first] {
            tries.push(text.replace(&digits, &form));
            for (at, _) in text.match_indices(&digits) {
                tries.push([&text[..at], &form, &text[at + digits.len()..]].concat());
            }
        }
    }
    tries.into_iter().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(texts: &[(&str, &str, u32)], want: &str) {
        let all: Vec<_> = texts
            .iter()
            .map(|(t, n, i)| ((*t).to_owned(), *n, *i))
            .collect();
        assert_eq!(common(&all).as_deref().unwrap_or("none"), want);
    }

    #[test]
    fn one_text_for_several() {
        check(&[("run", "w_0", 0), ("run", "w_1", 1)], "run");
        check(
            &[("-p 8000", "w_0", 0), ("-p 8001", "w_1", 1)],
            "-p 800{process_num}",
        );
        check(
            &[("/l/w_09.log", "w_09", 9), ("/l/w_10.log", "w_10", 10)],
            "/l/{process}.log",
        );
        check(
            &[("a09b9", "x", 9), ("a10b10", "y", 10)],
            "none", // two ways to write it at once
        );
        check(
            &[("9-9", "x", 9), ("10-10", "y", 10)],
            "{process_num}-{process_num}",
        );
        check(&[("n009", "x", 9), ("n010", "y", 10)], "n0{process_num:02}");
        check(&[("one", "x", 0), ("two", "y", 1)], "none");
    }
}
