//! Two daemons and two commands that should not be told apart, and what of their words has to differ.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{tools, wait};

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Stock,
    Ours,
}

/// One of our binaries under the name of the program whose place it takes.
fn called(folder: &Folder, binary: &str, name: &str) -> PathBuf {
    let path = folder.join(name);
    if !path.exists() {
        symlink(tools::binary(binary), &path).unwrap();
    }
    path
}

pub(super) fn supervisorctl(whose: Whose, venv: &Path, folder: &Folder) -> PathBuf {
    match whose {
        Whose::Stock => venv.join("bin/supervisorctl"),
        Whose::Ours => called(folder, "trine", "supervisorctl"),
    }
}

/// A daemon of this configuration, in which DIR stands for the folder.
pub(super) struct Lane {
    pub(super) folder: Folder,
    pub(super) daemon: Daemon,
    venv: PathBuf,
}

const HEAD: &str = "[supervisord]
nodaemon=true
logfile=DIR/main.log
pidfile=DIR/main.pid
childlogdir=DIR
[unix_http_server]
file=DIR/s.sock
[supervisorctl]
serverurl=unix://DIR/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
";

impl Lane {
    #[track_caller]
    pub(super) fn start(whose: Whose, venv: &Path, programs: &str) -> Self {
        let folder = Folder::new();
        let lane_conf = folder.join("supervisord.conf");
        let dir = folder.path().display().to_string();
        fs::write(&lane_conf, format!("{HEAD}{programs}").replace("DIR", &dir)).unwrap();
        let program = match whose {
            Whose::Stock => venv.join("bin/supervisord"),
            Whose::Ours => called(&folder, "trine-supervisor", "supervisord"),
        };
        let path = format!(
            "{}:{}",
            venv.join("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let daemon = Launch::program(program)
            .arg("-c")
            .arg(&lane_conf)
            .env("PATH", path)
            .start(&folder);
        let lane = Self {
            folder,
            daemon,
            venv: venv.to_owned(),
        };
        wait::until("the daemon's server", || {
            std::os::unix::net::UnixStream::connect(lane.folder.join("s.sock")).ok()
        });
        lane
    }

    pub(super) fn rewrite(&self, programs: &str) {
        let dir = self.folder.path().display().to_string();
        let text = format!("{HEAD}{programs}").replace("DIR", &dir);
        fs::write(self.folder.join("supervisord.conf"), text).unwrap();
    }

    /// Runs the command for each line; exit codes and outputs, made comparable.
    #[track_caller]
    pub(super) fn ctl_each(&self, whose: Whose, actions: &str) -> Vec<(i32, String)> {
        if whose == Whose::Ours {
            return actions
                .lines()
                .map(|action| self.ctl(whose, action))
                .collect();
        }
        let mut stock = Command::new(self.venv.join("bin/python"))
            .arg(tools::apps().join("stock_ctl.py"))
            .arg(self.folder.join("supervisord.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        stock
            .stdin
            .take()
            .unwrap()
            .write_all(actions.as_bytes())
            .unwrap();
        let output = stock.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        let read = |line| -> (i32, String) {
            let (code, text): (i32, String) = serde_json::from_str(line).unwrap();
            (code, self.comparable(&text))
        };
        said.lines().map(read).collect()
    }

    /// The same for one line, in a process of its own.
    #[track_caller]
    pub(super) fn ctl(&self, whose: Whose, action: &str) -> (i32, String) {
        let words: Vec<&str> = action.split_whitespace().collect();
        self.ctl_words(whose, &words)
    }

    #[track_caller]
    pub(super) fn ctl_words(&self, whose: Whose, action: &[&str]) -> (i32, String) {
        let output = Command::new(supervisorctl(whose, &self.venv, &self.folder))
            .arg("-c")
            .arg(self.folder.join("supervisord.conf"))
            .args(action)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), self.comparable(&text))
    }

    /// Process ids, times, folders and the places of Python's code differ, and the words of help are ours.
    fn comparable(&self, text: &str) -> String {
        let dir = self.folder.path().display().to_string();
        let mut out = String::new();
        for line in text.replace(&dir, "DIR").lines() {
            let line = line.split(": file: ").next().unwrap_or(line);
            let line = if let Some((head, _)) = line.split_once("pid ") {
                format!("{head}pid P")
            } else if line.len() > 43 && (line.ends_with(" AM") || line.ends_with(" PM")) {
                format!("{}DATE", &line[..43])
            } else if !line.is_empty() && line != "0" && line.bytes().all(|b| b.is_ascii_digit()) {
                "PID".to_owned()
            } else {
                line.replace("4.3.0+trine.0.1.0", "4.3.0")
            };
            out.push_str(line.trim_end());
            out.push('\n');
            let explains = line.starts_with("Error: ") && !line.contains("bad ");
            if explains || line.starts_with("ERROR: no process name") {
                break; // what follows explains the command, each in its own words
            }
        }
        out
    }
}
