//! Programs that come from Debian packages: found, or installed when we may, or named.
//! Not here: Python packages (see `python`).

use std::process::Command;

use crate::step;
use crate::workspace::find_program;

/// A program, and the Debian package that brings it; several if more is needed beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    /// What cannot be done without it.
    pub(crate) for_what: &'static str,
}

/// Installs what is missing when we are root and apt is there; returns what is missing afterwards.
pub(crate) fn provide(tools: &[Tool], may_install: bool) -> Vec<Tool> {
    let missing = missing_of(tools);
    if missing.is_empty() {
        return missing;
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|tool| tool.package.split(' '))
        .collect();
    if may_install && can_install() && !install(&packages) {
        eprintln!("xtask: apt-get could not install {}", packages.join(" "));
    }
    missing_of(tools)
}

/// The command that a person would type for these tools.
pub(crate) fn advice(tools: &[Tool]) -> String {
    let packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    format!("apt-get install {}", packages.join(" "))
}

pub(crate) fn can_install() -> bool {
    nix::unistd::geteuid().is_root() && find_program("apt-get").is_some()
}

/// `apt-get install`, once more after `apt-get update` when the package lists are old or not there.
pub(crate) fn install(packages: &[&str]) -> bool {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // RUNLEVEL keeps packages from starting the service they bring.
        command
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        step::call(&mut command).is_ok()
    };
    let install: Vec<&str> = ["install", "-y", "-qq", "--no-install-recommends"]
        .iter()
        .chain(packages)
        .copied()
        .collect();
    apt(&install) || (apt(&["update", "-qq"]) && apt(&install))
}

fn missing_of(tools: &[Tool]) -> Vec<Tool> {
    tools
        .iter()
        .filter(|tool| find_program(tool.program).is_none())
        .copied()
        .collect()
}
