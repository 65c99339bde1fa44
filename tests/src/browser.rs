//! Chromium without a window, alone with us. Not here: finding it (`tools::program`).

use std::path::Path;
use std::process::Command;

/// The command, which is ended after `seconds`; arguments for what to do with which page are to follow.
#[must_use]
pub fn headless(chromium: &Path, profile: &Path, seconds: u32) -> Command {
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(chromium).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command
}
