//! Checks of a configuration that must be refused: all problems at once, each with its place and a way out, exit
//! code 78, and nothing started or left behind.

use std::fs;

use crate::daemon::{self, Launch};
use crate::folder::Folder;

/// A line of a configuration file that is wrong, and what its message must hold.
#[derive(Debug)]
pub struct Wrong {
    pub line: usize,
    pub says: &'static str,
}

#[must_use]
pub const fn wrong(line: usize, says: &'static str) -> Wrong {
    Wrong { line, says }
}

/// Starts the program on a file with these problems.
#[track_caller]
pub fn check(program: &str, args: &[&str], file: &str, text: &str, problems: &[Wrong]) {
    let folder = Folder::new();
    folder.write(file, text);
    let (code, output) = daemon::run(Launch::trine(program).args(args), &folder);
    assert_eq!(code, 78, "{program} on a bad {file}:\n{output}");
    for problem in problems {
        let place = format!("{file}:{}:", problem.line);
        let told = output.lines().any(|line| {
            let Some((_, message)) = line.split_once(&place) else {
                return false;
            };
            // The way out: what to do after a semicolon, or what was expected instead.
            let way_out = message.contains("; ") || message.contains("expected");
            way_out && message.contains(problem.says)
        });
        assert!(
            told,
            "no line with {place:?}, {:?} and a way out:\n{output}",
            problem.says
        );
    }
    let told = output
        .lines()
        .filter(|line| line.contains(&format!("{file}:")))
        .count();
    assert_eq!(told, problems.len(), "each problem once:\n{output}");
    assert_nothing_made(&folder, file);
}

/// Starts the program on a file that is not there.
#[track_caller]
pub fn check_missing(program: &str, args: &[&str], file: &str) {
    let folder = Folder::new();
    let (code, output) = daemon::run(Launch::trine(program).args(args), &folder);
    assert_eq!(code, 78, "{program} without its {file}:\n{output}");
    assert!(
        output.contains(file),
        "the message names the file: {output}"
    );
    assert_nothing_made(&folder, file);
}

/// No socket, pid file or log beside the configuration.
#[track_caller]
fn assert_nothing_made(folder: &Folder, file: &str) {
    for entry in fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(
            name == file || name.ends_with(".out"),
            "left behind: {name}"
        );
    }
}
