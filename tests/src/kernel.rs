//! A Linux kernel for one test alone (User Mode Linux, an ordinary process), with control groups of version 2 and all their
//! controllers, whatever the machine has. The test runs itself in there again, on the machine's files, read-only, with an
//! empty /tmp.
//! Not here: what is done in there.

use std::env;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::folder::Folder;
use crate::{tools, wait};

const INSIDE: &str = "TRINE_TEST_INSIDE";
/// Everything takes longer in there.
const PATIENCE: Duration = Duration::from_secs(400);

/// Whether this is it.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// True inside, where the story goes on. Elsewhere the calling test is run inside, and has passed there if this returns;
/// or it is left out, visibly, where such a kernel cannot run.
#[must_use]
#[track_caller]
pub fn is_own() -> bool {
    if is_inside() {
        return true;
    }
    let Some(linux) = tools::program("linux.uml", "user-mode-linux") else {
        return false;
    };
    let folder = Folder::new();
    let test = thread::current().name().unwrap_or_default().to_owned();
    let init = folder.write(
        "init",
        format!(
            "#!/bin/sh
export PATH='{path}' HOME=/root {INSIDE}=1 RUST_BACKTRACE=1
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs run /run && mount -t tmpfs tmp /tmp
ip link set lo up 2>/dev/null
echo 'inside: begun'
'{exe}' --exact '{test}' --nocapture 2>&1
echo \"inside: ended $?\"
sleep 1
echo o > /proc/sysrq-trigger
sleep 60
",
            path = env::var("PATH").unwrap_or_default(),
            exe = env::current_exe().unwrap().display(),
        ),
    );
    std::fs::set_permissions(&init, PermissionsExt::from_mode(0o755)).unwrap();
    let out = folder.join("console");
    let console = File::create(&out).unwrap();
    let mut machine = Command::new(linux)
        .args(["rootfstype=hostfs", "rootflags=/", "ro", "mem=512M"])
        .args(["con=null", "con0=null,fd:1", "quiet"])
        .arg(format!("init={}", init.display()))
        .arg(format!("uml_dir={}/", folder.path().display()))
        .env("TMPDIR", folder.path()) // its memory is a file there
        .stdin(Stdio::null())
        .stdout(console.try_clone().unwrap())
        .stderr(console)
        .process_group(0)
        .spawn()
        .unwrap();
    let group = Pid::from_raw(i32::try_from(machine.id()).unwrap());
    let said = || folder.read("console");
    let _end = Ending(group);
    let over = wait::until_within("the end of a kernel", PATIENCE, || {
        let ended = machine.try_wait().unwrap().is_some();
        (ended || said().contains("inside: ended ")).then(said)
    });
    if !over.contains("inside: begun") {
        let last: Vec<&str> = over.lines().rev().take(3).collect();
        tools::skip_where_impossible(&format!("User Mode Linux does not run here: {last:?}"));
        return false;
    }
    assert!(
        over.contains("inside: ended 0"),
        "in a kernel of its own:\n{over}"
    );
    assert!(over.contains("1 passed"), "nothing was run:\n{over}");
    false
}

/// Ends all of its processes, whatever happens.
struct Ending(Pid);

impl Drop for Ending {
    fn drop(&mut self) {
        let _gone_already = killpg(self.0, Signal::SIGKILL);
    }
}
