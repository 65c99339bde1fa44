//! What the files may be called, how long they are, and what they may say.

use std::path::{Path, PathBuf};

use super::{none, sources, text, tracked};

#[test]
fn files_are_short_and_main_is_shorter() {
    let lengths: Vec<(usize, PathBuf)> = sources()
        .into_iter()
        .map(|file| (text(&file).lines().count(), file))
        .collect();
    let long: Vec<String> = lengths
        .iter()
        .filter(|(lines, _)| *lines >= 400)
        .map(|(lines, file)| format!("{} ({lines})", file.display()))
        .collect();
    assert!(
        long.len() * 10 <= lengths.len(),
        "of {} files, {} have 400 lines or more: {long:?}",
        lengths.len(),
        long.len()
    );
    let mains = lengths
        .iter()
        .filter(|(lines, file)| file.ends_with("src/main.rs") && *lines >= 60);
    let mains: Vec<String> = mains
        .map(|(lines, file)| format!("{} ({lines})", file.display()))
        .collect();
    none("main.rs of 60 lines or more", &mains);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|file| {
            !file.to_string_lossy().ends_with("tests.rs") && !text(file).starts_with("//! ")
        })
        .map(|file| file.display().to_string())
        .collect();
    none("modules that do not start with a //! header", &silent);
}

#[test]
fn no_room_is_a_lumber_room() {
    const FORBIDDEN: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|file| {
            let mut names = file
                .iter()
                .map(|part| Path::new(part).file_stem().unwrap_or_default());
            names.any(|name| FORBIDDEN.iter().any(|forbidden| name == *forbidden))
        })
        .map(|file| file.display().to_string())
        .collect();
    none("files that could hold anything", &found);
}

/// Source files outside `allowed` with a line of code (not a comment) that holds one of `words`.
fn saying(words: &[String], allowed: &[&str]) -> Vec<String> {
    let outside = |file: &PathBuf| !allowed.iter().any(|prefix| file.starts_with(prefix));
    let mut found = vec![];
    for file in sources().into_iter().filter(outside) {
        for (number, line) in text(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word.as_str())) {
                found.push(format!(
                    "{}:{}: {}",
                    file.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    found
}

#[test]
fn python_has_one_door() {
    // Put together here, so that this file does not say it.
    let words = ["::", ""].map(|tail| format!("py{}{tail}", "o3"));
    none(
        "the Python bindings outside crates/wsgi/src/python",
        &saying(&words, &["crates/wsgi/src/python", "crates/wsgi/build.rs"]),
    );
}

#[test]
fn unsafe_code_has_two_doors() {
    let words = ["allow", "expect"].map(|level| format!("{level}({}_code", "unsafe"));
    none(
        "doors to unsafe code",
        &saying(&words, &["crates/sys", "crates/wsgi/src/python"]),
    );
}

#[test]
fn the_project_stands_alone() {
    let outside = [format!("..{}", "/shared"), format!("/work{}", "/")];
    let found: Vec<String> = tracked()
        .into_iter()
        .filter(|file| {
            outside
                .iter()
                .any(|word| text(file).contains(word.as_str()))
        })
        .map(|file| file.display().to_string())
        .collect();
    none("files that name a place outside the repository", &found);
}

#[test]
fn everything_in_examples_and_deploy_is_started_or_told_about() {
    let tellers = tracked().into_iter().filter(|file| {
        file.starts_with("tests/it")
            || file.starts_with("tests/src")
            || file.starts_with("crates/xtask")
            || file.ends_with("README.md")
    });
    let told: String = tellers.map(|file| text(&file)).collect();
    let mut unknown = vec![];
    for file in tracked()
        .into_iter()
        .filter(|file| file.starts_with("examples") || file.starts_with("deploy"))
    {
        // A folder below examples/ or deploy/ is told about as a whole; a file right there by its name.
        let room: PathBuf = file.iter().take(2).collect();
        if !told.contains(room.to_str().unwrap()) {
            unknown.push(file.display().to_string());
        }
    }
    none("files that no test starts and no README names", &unknown);
}
