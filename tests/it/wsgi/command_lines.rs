//! Every command line of `parity/command_lines.txt` is given to gunicorn and to trine-wsgi under gunicorn's name; what
//! comes out is the same, or stands in the reviewed list beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;

use e2e::folder::Folder;
use e2e::tools;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CASES: &str = include_str!("../../parity/command_lines.txt");
const DIFFERENCES: &str = include_str!("../../parity/command_lines.differences.txt");

/// An application, some things that are none, and a factory.
const HELLO: &str = "number = 7
def app(environ, start_response): return []
def make(name, size=1): return app
";

/// Starts at the same time; there are two processors, and gunicorn takes a while to import.
const AT_ONCE: usize = 4;

#[derive(Debug, Default, Clone)]
struct Case {
    name: String,
    env: Vec<(String, String)>,
    files: Vec<(String, String)>,
    args: Vec<String>,
    code_only: bool,
    stop: bool,
}

#[derive(Debug, PartialEq, Eq, Clone)]
struct Outcome {
    code: i32,
    out: String,
    err: String,
}

#[derive(Debug, Clone, Copy)]
enum Server {
    Gunicorn,
    Ours,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    for line in CASES.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            let name = name.to_owned();
            cases.push(Case {
                name,
                ..Case::default()
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "env" => {
                let (name, value) = rest.split_once('=').unwrap();
                case.env.push((name.to_owned(), value.to_owned()));
            }
            "file" => case.files.push((rest.to_owned(), String::new())),
            "args" => case.args = shell_words::split(rest).unwrap(),
            "code" => case.code_only = true,
            "stop" => case.stop = true,
            "" if line.starts_with("    ") => {
                let (_, content) = case.files.last_mut().unwrap();
                content.push_str(&line[4..]);
                content.push('\n');
            }
            "" => {}
            other => panic!("unknown word {other:?} in case {:?}", case.name),
        }
    }
    cases
}

/// What the list says about a case: code, text, reason.
fn differences() -> BTreeMap<&'static str, (i32, &'static str, &'static str)> {
    let lines = DIFFERENCES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(" | ").collect();
            let [name, code, says, why] = parts.as_slice() else {
                panic!("four parts wanted: {line}")
            };
            (*name, (code.parse().unwrap(), *says, *why))
        })
        .collect()
}

fn run(case: &Case, server: Server, venv: &Path) -> Outcome {
    let folder = Folder::new();
    folder.write("hello.py", HELLO);
    for (name, content) in &case.files {
        folder.write(name, content);
    }
    let mut command = match server {
        Server::Gunicorn => {
            let mut python = Command::new(venv.join("bin/python"));
            python.args(["-m", "gunicorn"]);
            python
        }
        Server::Ours => {
            std::fs::create_dir(folder.join("bin")).unwrap();
            let gunicorn = folder.join("bin/gunicorn");
            symlink(tools::binary("trine-wsgi"), &gunicorn).unwrap();
            Command::new(gunicorn)
        }
    };
    command
        .args(&case.args)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .env("PWD", folder.path())
        .env("VIRTUAL_ENV", venv)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(case.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if case.stop {
        terminate_once_booted(&mut child);
    }
    let output = child.wait_with_output().unwrap();
    let plain = |bytes: &[u8]| normal(&String::from_utf8_lossy(bytes), folder.path());
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: plain(&output.stdout),
        err: plain(&output.stderr),
    }
}

/// Sends TERM when the log tells of the first worker, and goes on reading what there is to read.
fn terminate_once_booted(child: &mut Child) {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Booting worker") {
        line.clear();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "it ended before it had a worker"
        );
    }
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    thread::spawn(move || log.read_to_end(&mut vec![]));
}

/// Without the name of the folder, and tracebacks without the lines of either program and of Python itself.
fn normal(text: &str, folder: &Path) -> String {
    let folder = folder.to_str().unwrap();
    let mut normal = String::new();
    let mut foreign = false;
    for line in text.lines() {
        let frame = line.trim_start().starts_with("File \"");
        foreign =
            (frame && !line.contains(folder)) || (foreign && line.starts_with("    ") && !frame);
        // Python 3.11 and later mark the part of a line that failed.
        let marks =
            line.starts_with("    ") && line.trim().chars().all(|letter| "^~".contains(letter));
        if !foreign && !marks {
            let line = line.replace(folder, "FOLDER");
            let line = match line.split_once(" at 0x") {
                Some((before, after)) => format!(
                    "{before} at ADDRESS{}",
                    after.trim_start_matches(|c: char| c.is_ascii_hexdigit())
                ),
                None => line,
            };
            let _ = writeln!(normal, "{line}");
        }
    }
    normal.truncate(normal.trim_end().len());
    normal
}

#[test]
fn command_lines_end_as_gunicorns_do() {
    let Some(venv) = tools::venv() else { return };
    let cases = cases();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let allowed = differences();
    let known: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    for name in allowed.keys() {
        assert!(
            known.contains(name),
            "the list of differences names {name:?}, which is no case"
        );
    }
    let todo = Mutex::new(cases.iter());
    let wrong = Mutex::new(String::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = todo.lock().unwrap().next() else {
                        break;
                    };
                    let (theirs, found) = (
                        run(case, Server::Gunicorn, &venv),
                        run(case, Server::Ours, &venv),
                    );
                    if let Some(told) = judge(
                        case,
                        &theirs,
                        &found,
                        allowed.get(case.name.as_str()).copied(),
                    ) {
                        wrong.lock().unwrap().push_str(&told);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}

/// Everything that came out, as lines.
fn told(outcome: &Outcome) -> Vec<String> {
    let code = format!("exit code {}", outcome.code);
    let lines = outcome
        .out
        .lines()
        .chain(outcome.err.lines())
        .map(str::to_owned);
    std::iter::once(code).chain(lines).collect()
}

/// What is wrong with a case, if anything.
fn judge(
    case: &Case,
    theirs: &Outcome,
    ours: &Outcome,
    allowed: Option<(i32, &str, &str)>,
) -> Option<String> {
    let same = theirs.code == ours.code && (case.code_only || case.stop || theirs == ours);
    let told = |what: &str| {
        let (theirs, ours) = (told(theirs), told(ours));
        let only = |side: &[String], other: &[String], sign: &str| -> String {
            let lines = side.iter().filter(|line| !other.contains(line));
            lines.map(|line| format!("{sign} {line}\n")).collect()
        };
        Some(format!(
            "== {}: {what}; gunicorn -, ours +\n{}{}",
            case.name,
            only(&theirs, &ours, "-"),
            only(&ours, &theirs, "+")
        ))
    };
    match allowed {
        None if same => None,
        None => told("differs"),
        Some(_) if same => told("is the same, and stands in the list of differences"),
        Some((code, says, _))
            if ours.code == code && format!("{}{}", ours.out, ours.err).contains(says) =>
        {
            None
        }
        Some(_) => told("differs in another way than the list says"),
    }
}
