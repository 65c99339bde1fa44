//! The differential runner: the same applications and the same raw requests against real gunicorn and trine-wsgi. What
//! differs must equal the reviewed list in `differential/differences.txt`, where each line says why ours is right.
//! Not here: command lines, and what gunicorn does when it ends.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use e2e::client::Address;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, tools, wait};

mod answers;
mod cases;

use answers::{Answer, read_answers};
use cases::{Case, Mode};

/// A pair of servers of one kind.
struct Pair {
    /// The gunicorn worker's name.
    kind: &'static str,
    ours: Address,
    theirs: Address,
}

/// Kind, options for both servers.
const KINDS: [(&str, &[&str]); 2] = [
    ("sync", &["-w", "3"]),
    ("gthread", &["-w", "1", "--threads", "8"]),
];

/// Applications that end a whole gunicorn with threads, and with it the comparison.
const FATAL: [&str; 3] = ["exits", "is_interrupted", "ends_its_generator"];

fn start(venv: &Path, folder: &Folder, options: &[&str], ours: bool) -> (Daemon, Address) {
    let address = port::free();
    let launch = if ours {
        Launch::trine("trine-wsgi")
    } else {
        Launch::program(venv.join("bin/gunicorn"))
    };
    let daemon = launch
        .arg("--chdir")
        .arg(tools::apps())
        .args(["-b", &address.to_string(), "--keep-alive", "1"])
        .args(options)
        .arg("differential:app")
        .env("VIRTUAL_ENV", venv)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .start(folder);
    let address = Address::from(address);
    wait::until("the server to answer", || {
        let case = Case::get("one");
        read_answers(&address, &case, Mode::Whole).ok()
    });
    (daemon, address)
}

#[test]
fn what_differs_from_gunicorn_is_on_the_reviewed_list() {
    let Some(venv) = tools::venv() else { return };
    assert_version(&venv);
    let folder = Folder::new();
    let mut daemons = vec![];
    let mut pairs = vec![];
    for (kind, options) in KINDS {
        let (daemon, ours) = start(&venv, &folder, options, true);
        daemons.push(daemon);
        let (daemon, theirs) = start(&venv, &folder, options, false);
        daemons.push(daemon);
        pairs.push(Pair { kind, ours, theirs });
    }
    let names = applications(&venv);
    assert!(names.len() >= 80, "{} applications", names.len());
    let cases: Vec<Case> = names
        .iter()
        .map(|name| Case::get(name))
        .chain(cases::read())
        .collect();
    let mut jobs = vec![];
    for pair in &pairs {
        for case in &cases {
            if pair.kind == "gthread" && FATAL.contains(&case.name.as_str()) {
                continue;
            }
            jobs.extend(case.modes().map(|mode| (pair, case, mode)));
        }
    }
    let found = Mutex::new(BTreeSet::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((pair, case, mode)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let differences = compare(pair, case, *mode);
                    found.lock().unwrap().extend(differences);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    println!("{} comparisons, {} differences", jobs.len(), found.len());
    check_against_list(&found);
    drop(daemons);
}

fn assert_version(venv: &Path) {
    let output = Command::new(venv.join("bin/gunicorn"))
        .arg("--version")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("27.0."),
        "the list is for gunicorn 27.0, this is {text}"
    );
}

fn applications(venv: &Path) -> Vec<String> {
    let output = Command::new(venv.join("bin/python"))
        .args(["-Bc", "import differential; print(*differential.apps)"])
        .current_dir(tools::apps())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect()
}

/// Everything that differs, one line each: `CASE MODE KIND what: ours <> theirs`.
fn compare(pair: &Pair, case: &Case, mode: Mode) -> Vec<String> {
    let place = format!("{} {} {}", case.name, mode.name(), pair.kind);
    let [ours, theirs] =
        [&pair.ours, &pair.theirs].map(|address| read_answers(address, case, mode));
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (ours, theirs) => {
            let told = |answers: Result<Vec<Answer>, String>| {
                answers.map_or_else(
                    |problem| problem,
                    |answers| format!("{} answers", answers.len()),
                )
            };
            return vec![format!(
                "{place} problem: {} <> {}",
                told(ours),
                told(theirs)
            )];
        }
    };
    let mut lines = vec![];
    let mut differ = |what: &str, ours: &str, theirs: &str| {
        if ours != theirs {
            lines.push(format!("{place} {what}: {ours} <> {theirs}"));
        }
    };
    differ(
        "answers",
        &ours.len().to_string(),
        &theirs.len().to_string(),
    );
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for ((what, ours), (_, theirs)) in ours.aspects().into_iter().zip(theirs.aspects()) {
            differ(what, &ours, &theirs);
        }
        let names: BTreeSet<&str> = ours.names().chain(theirs.names()).collect();
        for name in names {
            differ(
                &format!("header {name}"),
                &ours.header(name),
                &theirs.header(name),
            );
        }
        let (body, other) = answers::differing_lines(&ours.body, &theirs.body);
        differ("body", &body, &other);
    }
    lines.sort();
    lines.dedup();
    lines
}

/// A line of the list: a pattern in which `*` stands for anything, then ` # ` and the reason.
fn check_against_list(found: &BTreeSet<String>) {
    let path = folder().join("differences.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut list = vec![];
    let mut problems = String::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once("  # ") {
            Some((pattern, why)) if why.len() > 10 => list.push((pattern.trim_end(), false)),
            _ => {
                let _infallible = writeln!(problems, "no reason: {line}");
            }
        }
    }
    for difference in found {
        let mut known = false;
        for (pattern, used) in &mut list {
            if fits(pattern, difference) {
                known = true;
                *used = true;
            }
        }
        if !known {
            let _infallible = writeln!(problems, "not on the list: {difference}");
        }
    }
    for (pattern, used) in list {
        if !used {
            let _infallible = writeln!(problems, "on the list, but no difference: {pattern}");
        }
    }
    assert!(problems.is_empty(), "{}:\n{problems}", path.display());
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn patterns() {
    assert!(
        fits("a b", "a b") && fits("a *", "a b") && fits("*b", "a b") && fits("a*c*e", "abcde")
    );
    assert!(
        !fits("a", "a b") && !fits("a*c", "abcd") && !fits("*x*", "abc") && !fits("ab*b", "ab")
    );
}

/// The folder with the list and the requests.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/wsgi/differential")
}
