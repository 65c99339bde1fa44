//! Rules of the house that no compiler keeps: arrows between crates, sizes, headers, names, and who may say what.

mod crates;
mod files;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::tools::repository;

/// Every file of the repository that git knows or would take, by its path from the top.
fn tracked() -> Vec<PathBuf> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let listed = String::from_utf8(out.stdout).unwrap();
    listed
        .lines()
        .map(PathBuf::from)
        .filter(|file| repository().join(file).is_file())
        .collect()
}

fn sources() -> Vec<PathBuf> {
    tracked()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "rs"))
        .collect()
}

/// The text of a file; empty for what is not text.
fn text(file: &Path) -> String {
    fs::read(repository().join(file))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

/// Fails with every offender, not only the first.
#[track_caller]
fn none(rule: &str, offenders: &[String]) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}
