//! Python: the interpreter, its headers, and virtual environments under the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::debian;
use crate::step;
use crate::workspace::find_program;

/// Makes sure that `python3` is there and can be linked against.
pub(crate) fn provide(may_install: bool) -> anyhow::Result<()> {
    if headers().is_some() {
        return Ok(());
    }
    if may_install && debian::can_install() {
        debian::install(&["python3", "python3-dev", "python3-venv"]);
    }
    if headers().is_none() {
        bail!("no `python3` with headers; on Debian: apt-get install python3-dev python3-venv");
    }
    Ok(())
}

/// The folder of Python.h, if `python3` has one.
fn headers() -> Option<PathBuf> {
    let out = Command::new("python3")
        .args([
            "-c",
            "import sysconfig; print(sysconfig.get_path('include'))",
        ])
        .output()
        .ok()?;
    let dir = PathBuf::from(String::from_utf8(out.stdout).ok()?.trim());
    dir.join("Python.h").is_file().then_some(dir)
}

/// Makes the virtual environment `dir` hold exactly what `requirements` names; does nothing when it does already.
pub(crate) fn virtualenv(
    dir: &Path,
    requirements: &[PathBuf],
    may_install: bool,
) -> anyhow::Result<()> {
    let stamp = dir.join("made-from.txt");
    let wanted = wanted(requirements)?;
    if dir.join("bin/python").exists()
        && fs::read_to_string(&stamp).is_ok_and(|made| made == wanted)
    {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    create(dir, may_install)?;
    let mut pip = Command::new(dir.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    for file in requirements {
        pip.arg("-r").arg(file);
    }
    step::call(&mut pip)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Installs more into an environment that is there already.
pub(crate) fn add(dir: &Path, requirements: &Path) -> anyhow::Result<()> {
    let mut pip = Command::new(dir.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    step::call(pip.arg(requirements))
}

fn create(dir: &Path, may_install: bool) -> anyhow::Result<()> {
    let make = || step::call(Command::new("python3").args(["-m", "venv"]).arg(dir));
    if make().is_ok() {
        return Ok(());
    }
    if may_install && debian::can_install() && debian::install(&["python3-venv"]) && make().is_ok()
    {
        return Ok(());
    }
    bail!("`python3 -m venv` does not work; on Debian: apt-get install python3-venv")
}

/// Everything the environment depends on: the interpreter and the requirement files.
fn wanted(requirements: &[PathBuf]) -> anyhow::Result<String> {
    if find_program("python3").is_none() {
        bail!("no `python3` in PATH");
    }
    let version = Command::new("python3")
        .args(["-c", "import sys; print(sys.base_prefix, sys.version)"])
        .output()?;
    let mut text = String::from_utf8_lossy(&version.stdout).into_owned();
    for file in requirements {
        text +=
            &fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(text)
}
