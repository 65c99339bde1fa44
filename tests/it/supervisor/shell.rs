//! `trine ctl` as supervisorctl's interactive shell, on a pseudo-terminal: prompt, completion, history, end.

use std::process::Command;
use std::sync::{Arc, Mutex};

use e2e::folder::Folder;
use e2e::{tools, wait};

use super::pty::Pty;
use super::{start, wait_state};

/// The shell, and everything it has written so far.
struct Shell {
    pty: Pty,
    written: Arc<Mutex<Vec<u8>>>,
    /// How much of that was looked at.
    seen: usize,
}

impl Shell {
    fn start(folder: &Folder) -> Self {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        let url = format!("unix://{}", folder.join("supervisor.sock").display());
        let mut command = Command::new(tools::binary("trine"));
        command
            .args(["ctl", "-r", "history", "-s", &url])
            .current_dir(folder.path());
        let pty = Pty::start(&mut command, move |bytes| {
            sink.lock().unwrap().extend_from_slice(bytes);
        });
        let mut shell = Self {
            pty,
            written,
            seen: 0,
        };
        shell.wait_for("supervisor> ");
        shell
    }

    /// Waits for a text after what was waited for before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        self.seen = wait::until(&format!("{text:?} from the shell"), || {
            let written = self.written.lock().unwrap();
            let new = &written[self.seen..];
            let at = new
                .windows(text.len())
                .position(|window| window == text.as_bytes())?;
            Some(self.seen + at + text.len())
        });
    }

    fn press(&mut self, keys: &str) {
        self.pty.press(keys);
    }

    #[track_caller]
    fn leave(mut self) {
        self.press("\x04");
        assert_eq!(self.pty.wait_exit(), Some(0));
    }
}

#[test]
fn the_shell_completes_remembers_and_does_what_is_typed() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  webserver:
    command: [sleep, '1000']
    startsecs: 0s
  worker:
    command: [sleep, '1000']
    numprocs: 2
    startsecs: 0s
",
    );
    let mut shell = Shell::start(&folder);
    // What only one command can mean is completed, with the blank that follows; then the name.
    shell.press("sto\t");
    shell.wait_for("stop ");
    shell.press("we\t");
    shell.wait_for("stop webserver ");
    shell.press("\r");
    shell.wait_for("webserver: stopped");
    shell.wait_for("supervisor> ");
    wait_state(&control, "webserver", "STOPPED");
    shell.press("stop worker:worker_01\r");
    shell.wait_for("worker:worker_01: stopped");
    shell.wait_for("supervisor> ");
    // The line before the last one, changed and sent again.
    shell.press("\x1b[A\x1b[A");
    shell.wait_for("stop webserver");
    shell.press("\x01\x0bstart webserver\r");
    shell.wait_for("webserver: started");
    shell.wait_for("supervisor> ");
    control.wait_running("webserver");
    // Words that mean nothing are told, and nothing ends.
    shell.press("dance\r");
    shell.wait_for("*** Unknown syntax: dance");
    shell.wait_for("supervisor> ");
    shell.leave();
    // The next shell knows the lines of this one.
    let mut shell = Shell::start(&folder);
    shell.press("\x1b[A");
    shell.wait_for("dance");
    shell.press("\x1b[A");
    shell.wait_for("start webserver");
    shell.press("\x15quit\r");
    assert_eq!(shell.pty.wait_exit(), Some(0));
    assert!(folder.read("history").contains("stop worker:worker_01"));
    supervisor.stop();
}
