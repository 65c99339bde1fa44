//! Why a program did not come up: from what it printed to what happened and what to do about it. Pure text.
//!
//! Not here: reading the log, or stopping what still runs (see `up::start`).

use std::path::Path;

use trine_service::exit::Exit;

use super::app::{AppRef, module_file};
use super::configs::{PROXY, WSGI};
use super::python::Python;
use crate::failure::Failure;

/// How much of a log without a traceback is shown.
const TAIL_LINES: usize = 15;
const TRACEBACK: &str = "Traceback (most recent call last):";

/// A program that ended while the site was starting.
#[derive(Debug)]
pub(crate) struct Dead<'a> {
    pub(crate) program: &'a str,
    /// The supervisor's word on it: its state and exit code.
    pub(crate) verdict: &'a str,
    /// What it printed since this start.
    pub(crate) output: &'a str,
    pub(crate) log: &'a Path,
}

/// What the explanation may refer to.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) app: &'a AppRef,
    pub(crate) folder: &'a Path,
    pub(crate) python: Option<&'a Python>,
}

pub(crate) fn explain(dead: &Dead<'_>, context: &Context<'_>) -> Failure {
    if dead.program == WSGI {
        let traceback = last_traceback(dead.output);
        let error = traceback
            .as_deref()
            .and_then(|text| text.lines().rev().find(|line| !line.trim().is_empty()));
        if let Some((what, way_out)) =
            application_error(error.unwrap_or(""), traceback.as_deref(), dead, context)
        {
            let evidence = traceback.unwrap_or_else(|| tail(dead.output));
            return Failure::new(Exit::Config, what, way_out).with_evidence(evidence);
        }
    }
    let what = format!("{} did not start: {}", dead.program, dead.verdict);
    let way_out = format!("its whole log: {}", dead.log.display());
    let exit = if dead.program == PROXY {
        Exit::TryAgain
    } else {
        Exit::Config
    };
    Failure::new(exit, what, way_out).with_evidence(tail(dead.output))
}

/// The two lines for what Python, or the WSGI server, said about the application.
fn application_error(
    error: &str,
    traceback: Option<&str>,
    dead: &Dead<'_>,
    context: &Context<'_>,
) -> Option<(String, String)> {
    let app = context.app;
    if let Some(name) = between(error, "ModuleNotFoundError: No module named '", "'") {
        return Some(missing_module(name, context));
    }
    if error.starts_with("SyntaxError:")
        || error.starts_with("IndentationError:")
        || error.starts_with("TabError:")
    {
        let place = traceback
            .and_then(last_place)
            .unwrap_or_else(|| app.module.clone());
        return Some((
            format!(
                "the application has an error of syntax in {place}: {}",
                after_colon(error)
            ),
            "correct the line, then start again".to_owned(),
        ));
    }
    if let Some(what) = missing_attribute(dead.output, app) {
        let there = module_file(context.folder, &app.module);
        let place = there.map_or_else(|| app.module.clone(), |file| file.display().to_string());
        return Some((
            what,
            format!(
                "name what {place} calls its application: trine up {}:NAME",
                app.module
            ),
        ));
    }
    if error.is_empty() {
        return None;
    }
    let place = traceback
        .and_then(last_place)
        .map(|place| format!(" ({place})"))
        .unwrap_or_default();
    Some((
        format!("{app} failed while it was imported{place}: {error}"),
        "correct what the traceback shows, then start again".to_owned(),
    ))
}

fn missing_module(name: &str, context: &Context<'_>) -> (String, String) {
    let (app, folder) = (context.app, context.folder);
    let ours = app.module == name || app.module.starts_with(&format!("{name}."));
    if ours {
        let what = format!("there is no Python module `{name}` in {}", folder.display());
        let file = format!("{}.py", app.module.replace('.', "/"));
        return (
            what,
            format!(
                "call trine in the folder that has {file}, or name another: trine up MODULE:APP"
            ),
        );
    }
    let package = name.split('.').next().unwrap_or(name);
    if module_file(folder, package).is_some() {
        let what = format!(
            "{app} imports `{name}`, which {} does not have",
            folder.join(package).display()
        );
        return (what, "correct the import, then start again".to_owned());
    }
    let list = if folder.join("requirements.txt").is_file() {
        "-r requirements.txt"
    } else {
        package
    };
    match context.python {
        Some(python) => (
            format!(
                "{app} needs the Python package `{package}`, which {} does not have",
                python.path.display()
            ),
            format!("install it: {} install {list}", python.pip()),
        ),
        None => (
            format!(
                "{app} needs the Python package `{package}`, and there is no virtual environment here"
            ),
            format!("make one: python3 -m venv .venv && .venv/bin/pip install {list}"),
        ),
    }
}

/// gunicorn's words, and Python's own.
fn missing_attribute(output: &str, app: &AppRef) -> Option<String> {
    let name = app.name.split(['(', '.']).next().unwrap_or(&app.name);
    let said = |line: &&str| {
        line.contains(&format!("Failed to find attribute '{name}' in"))
            || line.contains(&format!("has no attribute '{name}'"))
    };
    if output.lines().any(|line| said(&line)) {
        return Some(format!("the module `{}` has no `{name}`", app.module));
    }
    let not_callable = output.lines().any(|line| {
        line.contains("Failed to find application object")
            || line.contains("Application object must be callable")
            || line.contains("object is not callable: ")
    });
    not_callable.then(|| format!("`{app}` is not a WSGI application: it cannot be called"))
}

/// The last traceback in the output, with the causes it was chained to, as Python wrote it: the log
/// indents what follows the first line of a message.
fn last_traceback(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    let last = lines.iter().rposition(|line| line.contains(TRACEBACK))?;
    let indent = lines[last].len() - lines[last].trim_start().len();
    let (indent, _) = lines[last].split_at(indent);
    let bare = |line: &'_ str| line.strip_prefix(indent).map(str::to_owned);
    // A chained traceback stands in one block: go back over "During handling of …" to where it began.
    let mut first = last;
    while let Some(earlier) = lines[..first]
        .iter()
        .rposition(|line| line.contains(TRACEBACK))
    {
        if !lines[earlier..first]
            .iter()
            .any(|line| is_chain(line.trim_start()))
        {
            break;
        }
        first = earlier;
    }
    // It ends with its first line that is not indented, the exception.
    let mut block = vec![TRACEBACK.to_owned()];
    for (number, line) in lines.iter().enumerate().skip(first + 1) {
        let line = if line.is_empty() {
            Some(String::new())
        } else {
            bare(line)
        };
        let Some(line) = line else { break };
        let is_frame = line.is_empty() || line.starts_with([' ', '\t']);
        block.push(line);
        if number > last && !is_frame {
            break;
        }
    }
    Some(without_import_machinery(&block).join("\n"))
}

/// Python's own frames between the server and the application's first line tell nobody anything.
fn without_import_machinery(lines: &[String]) -> Vec<&str> {
    const MACHINERY: [&str; 3] = [
        "<frozen importlib",
        "/importlib/__init__.py\"",
        "\"trine_wsgi_loader.py\"",
    ];
    let mut dropping = false;
    let mut kept = Vec::new();
    for line in lines {
        if line.starts_with("  File \"") {
            dropping = MACHINERY.iter().any(|place| line.contains(place));
        } else if !line.starts_with("    ") {
            dropping = false;
        }
        if !dropping {
            kept.push(line.as_str());
        }
    }
    kept
}

fn is_chain(line: &str) -> bool {
    line.starts_with("During handling of the above")
        || line.starts_with("The above exception was the direct")
}

/// `FILE:LINE` of the innermost frame that a traceback names.
fn last_place(traceback: &str) -> Option<String> {
    let line = traceback
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with("File \""))?;
    let file = between(line, "File \"", "\"")?;
    let number: String = between(line, ", line ", "")
        .unwrap_or("")
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    Some(format!("{file}:{number}"))
}

/// What stands in `text` after `start`, up to `end` (up to its own end when that is empty).
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    if end.is_empty() {
        Some(rest)
    } else {
        rest.split_once(end).map(|(inner, _)| inner)
    }
}

fn after_colon(error: &str) -> &str {
    error.split_once(": ").map_or(error, |(_, rest)| rest)
}

/// The last lines of a log.
pub(crate) fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests;
