//! Where things lie: the repository, the target folder, built binaries.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::step;

/// The folder that holds the workspace's Cargo.toml.
pub(crate) fn root() -> PathBuf {
    // At run time cargo tells where the package is; the built-in path serves a binary that is run by hand.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package
        .ancestors()
        .nth(2)
        .map_or_else(|| package.clone(), PathBuf::from)
}

/// Cargo's target folder, absolute.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The cargo that runs us, so that a `+toolchain` stays the same.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Builds these packages' binaries in release; gives the folder they are in.
pub(crate) fn build_release(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(cargo());
    command
        .args(["build", "--release", "--bins"])
        .current_dir(root());
    packages.iter().for_each(|package| {
        command.args(["--package", package]);
    });
    step::call(&mut command)?;
    Ok(target().join("release"))
}

/// Whether a missing tool must fail the run instead of shortening it.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Finds a program in PATH, and in the folders that only root has there.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs =
        env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    if let Some(start) = name.strip_suffix('*') {
        return dirs
            .filter_map(|dir| dir.read_dir().ok())
            .flat_map(|entries| entries.flatten())
            .find(|entry| entry.file_name().to_string_lossy().starts_with(start))
            .map(|entry| entry.path());
    }
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}
