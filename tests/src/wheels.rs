//! The wheels of trine-wsgi and trine-gunicorn, built once per test run, and fresh virtual environments with them.
//! Not here: what is served from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::tools::{self, repository};

/// The versions of CPython that there are wheels for.
const VERSIONS: [&str; 4] = ["3.10", "3.11", "3.12", "3.13"];

/// A Python to build for.
#[derive(Debug, Clone)]
pub struct Python {
    pub program: PathBuf,
    /// `3.11`
    pub version: String,
}

/// A virtual environment into which the wheels were installed with pip, and Flask with them.
#[derive(Debug)]
pub struct Installed {
    pub dir: PathBuf,
    pub version: String,
}

impl Installed {
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Runs pip in it.
    #[track_caller]
    pub fn pip(&self, args: &[&str]) {
        let mut pip = Command::new(self.bin("python"));
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        run(pip.args(args));
    }

    /// Installs packages as tests/requirements.txt has them.
    #[track_caller]
    pub fn install_pinned(&self, packages: &[&str]) {
        let list = self.dir.join("pinned.txt");
        fs::write(&list, requirements(packages)).unwrap();
        self.pip(&["install", "--require-hashes", "-r", list.to_str().unwrap()]);
    }

    /// Installs a wheel that we built, and what of ours it needs.
    #[track_caller]
    pub fn install_ours(&self, package: &str) {
        let dist = work().join("dist");
        self.pip(&[
            "install",
            "--no-index",
            "-f",
            dist.to_str().unwrap(),
            package,
        ]);
    }

    /// Runs a line of Python in it and returns what it prints.
    #[track_caller]
    pub fn python(&self, code: &str) -> String {
        let out = run(Command::new(self.bin("python")).args(["-c", code]));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

/// `python3`, and one of another version, each with an environment of its own; the first also has trine-gunicorn. `None` after saying that the test is
/// left out.
#[must_use]
#[track_caller]
pub fn installed() -> Option<&'static [Installed]> {
    static MADE: OnceLock<Option<Vec<Installed>>> = OnceLock::new();
    MADE.get_or_init(make).as_deref()
}

fn make() -> Option<Vec<Installed>> {
    let tools = tools::venv()?;
    if !tools.join("bin/maturin").exists() {
        tools::skip("no maturin in the test environment; `cargo xtask test` installs it");
        return None;
    }
    let pythons = pythons(&tools);
    if pythons.len() < 2 {
        tools::skip(&format!(
            "there is only one Python of {VERSIONS:?}: {pythons:?}"
        ));
    }
    let work = work();
    let dist = work.join("dist");
    let _ = fs::remove_dir_all(&dist);
    build_names(&tools, &dist);
    let made = pythons.iter().map(|python| {
        build_server(&tools, python, &dist);
        install(&work, python)
    });
    let made: Vec<Installed> = made.collect();
    if let Some(first) = made.first() {
        first.install_ours("trine-gunicorn");
    }
    Some(made)
}

/// `target/wheel`: a target folder of its own, because pyo3 is built otherwise for an extension module.
fn work() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("wheel")
}

/// The Python of the test environment first, then one other.
fn pythons(tools: &Path) -> Vec<Python> {
    let mut candidates = vec![tools.join("bin/python")];
    let home = std::env::var_os("HOME").map(PathBuf::from);
    for version in VERSIONS.iter().rev() {
        candidates.push(PathBuf::from(format!("python{version}")));
        let pyenv = home.iter().map(|home| home.join(".pyenv/versions"));
        let installed = pyenv.flat_map(fs::read_dir).flatten().flatten();
        let matching = installed.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{version}."))
        });
        candidates.extend(matching.map(|path| path.join("bin/python")));
    }
    let mut found: Vec<Python> = Vec::new();
    for python in candidates.iter().filter_map(|program| look_at(program)) {
        if found.iter().all(|other| other.version != python.version) && found.len() < 2 {
            found.push(python);
        }
    }
    found
}

/// The real interpreter behind `program`, if there is one that can make virtual environments.
fn look_at(program: &Path) -> Option<Python> {
    let ask = "import sys, venv, ensurepip; print(sys._base_executable); print('%d.%d' % sys.version_info[:2])";
    let out = Command::new(program).args(["-c", ask]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let (program, version) = text.trim().split_once('\n')?;
    let known = VERSIONS.contains(&version);
    known.then(|| Python {
        program: program.into(),
        version: version.to_owned(),
    })
}

#[track_caller]
fn build_server(tools: &Path, python: &Python, dist: &Path) {
    let mut maturin = Command::new(tools.join("bin/maturin"));
    maturin.args(["build", "--profile", "dev", "--manifest-path"]);
    maturin.arg(repository().join("crates/wsgi/Cargo.toml"));
    maturin
        .arg("--interpreter")
        .arg(&python.program)
        .arg("--target-dir")
        .arg(work());
    // Built once and thrown away: nothing to debug, nothing to build again.
    maturin
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0");
    // What cargo and the test run say about the build of the tests must not reach this one.
    for name in ["CARGO_MANIFEST_DIR", "PYO3_PYTHON", "VIRTUAL_ENV"] {
        maturin.env_remove(name);
    }
    run(maturin.arg("--out").arg(dist));
}

/// The small distribution is pure Python: built once.
#[track_caller]
fn build_names(tools: &Path, dist: &Path) {
    let source = repository().join("crates/wsgi/packaging/gunicorn");
    let mut pip = Command::new(tools.join("bin/python"));
    pip.args(["-m", "pip", "wheel", "--quiet", "--no-deps"]);
    pip.args(["--no-build-isolation", "--wheel-dir"]).arg(dist);
    run(pip.arg(source));
}

#[track_caller]
fn install(work: &Path, python: &Python) -> Installed {
    let dir = work.join(format!("venv-{}", python.version));
    let _ = fs::remove_dir_all(&dir);
    run(Command::new(&python.program).args(["-m", "venv"]).arg(&dir));
    let made = Installed {
        dir,
        version: python.version.clone(),
    };
    made.install_pinned(&[
        "flask",
        "blinker",
        "click",
        "itsdangerous",
        "jinja2",
        "markupsafe",
        "werkzeug",
    ]);
    made.install_ours("trine-wsgi");
    made
}

/// The lines of tests/requirements.txt about these packages.
fn requirements(packages: &[&str]) -> String {
    let all = fs::read_to_string(repository().join("tests/requirements.txt")).unwrap();
    let mut kept = String::new();
    let mut keep = false;
    for line in all.lines() {
        if let Some((name, _)) = line.split_once("==") {
            keep = packages.contains(&name);
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let out = command
        .output()
        .unwrap_or_else(|problem| panic!("{command:?}: {problem}"));
    assert!(
        out.status.success(),
        "{command:?}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    out
}
