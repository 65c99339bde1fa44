//! What a test needs beside our own binaries: peers, a virtual environment. A test whose tool is missing leaves
//! itself out, loudly; with CI set it fails.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The folder with the test's own small Python applications.
#[must_use]
pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("apps")
}

/// One of our binaries, built before the tests and found two folders above the test executable.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let file = test.ancestors().nth(2).unwrap().join(name);
    assert!(
        file.is_file(),
        "{} is not built; `cargo xtask test` builds it, or: cargo build --workspace --bins",
        file.display()
    );
    file
}

/// A program of the system, or `None` after saying that the test is left out.
#[must_use]
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(&format!(
            "no `{name}` here; on Debian: apt-get install {package}"
        ));
    }
    found
}

/// A program of the system whose name begins so: the version behind it is Debian's affair.
#[must_use]
pub fn program_like(start: &str, package: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .filter_map(|dir| dir.read_dir().ok())
        .flat_map(|entries| entries.flatten())
        .find(|entry| entry.file_name().to_string_lossy().starts_with(start));
    if found.is_none() {
        skip(&format!(
            "no `{start}` here; on Debian: apt-get install {package}"
        ));
    }
    found.map(|entry| entry.path())
}

#[must_use]
pub fn nginx() -> Option<PathBuf> {
    program("nginx", "nginx")
}

/// The virtual environment with the packages of tests/requirements.txt.
#[must_use]
pub fn venv() -> Option<PathBuf> {
    let dir = env::var_os("TRINE_TEST_VENV").map_or_else(
        || {
            // target/debug/deps/it-… is the test; the environment lies in target/.
            env::current_exe()
                .unwrap()
                .ancestors()
                .nth(3)
                .unwrap()
                .join("test-venv")
        },
        PathBuf::from,
    );
    if dir.join("bin/python").exists() {
        return Some(dir);
    }
    skip(&format!(
        "no virtual environment at {}; `cargo xtask test` makes it",
        dir.display()
    ));
    None
}

/// The certbot of tests/requirements-certbot.txt, whose virtual environment lies beside the other one.
#[must_use]
pub fn certbot() -> Option<PathBuf> {
    let certbot = venv()?.with_file_name("certbot-venv").join("bin/certbot");
    if certbot.exists() {
        return Some(certbot);
    }
    skip(&format!(
        "no {}; `cargo xtask test` installs it",
        certbot.display()
    ));
    None
}

/// Says that the running test is left out, and why; fails it instead when CI is set.
pub fn skip(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let in_ci = env::var_os("CI")
        .is_some_and(|value| !value.is_empty() && value != "false" && value != "0");
    assert!(!in_ci, "{test} cannot be left out in CI: {why}");
    skip_where_impossible(why);
}

/// As [`skip`], also in CI: for what no installation can bring, such as a right that the machine's owner keeps.
pub fn skip_where_impossible(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {test}: {why}");
    if let Some(file) = env::var_os("TRINE_TEST_SKIPPED") {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        // One write, so that tests side by side do not mix their lines.
        file.write_all(format!("{test}: {why}\n").as_bytes())
            .unwrap();
    }
}
