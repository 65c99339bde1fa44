//! `trine top` and the other orders of `trine`, on a real terminal (a pseudo-terminal) and a real supervisor.

use std::process::Command;
use std::sync::{Arc, Mutex};

use e2e::folder::Folder;
use e2e::{tools, wait};

use super::pty::{COLUMNS, Pty, ROWS};
use super::start;

/// What a terminal of that size shows: as much of one as `trine top` needs, which is moving and writing.
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// An escape sequence that has begun.
    sequence: Option<String>,
}

impl Screen {
    fn new() -> Self {
        Self {
            cells: vec![vec![' '; COLUMNS]; ROWS],
            row: 0,
            column: 0,
            sequence: None,
        }
    }

    fn write(&mut self, text: &str) {
        for c in text.chars() {
            match &mut self.sequence {
                Some(sequence) => {
                    let is_end = c.is_ascii_alphabetic() && !sequence.is_empty();
                    sequence.push(c);
                    if is_end {
                        let sequence = self.sequence.take().unwrap_or_default();
                        self.obey(&sequence);
                    }
                }
                None if c == '\x1b' => self.sequence = Some(String::new()),
                None => {
                    if let Some(cell) = self
                        .cells
                        .get_mut(self.row)
                        .and_then(|r| r.get_mut(self.column))
                    {
                        *cell = c;
                    }
                    self.column += 1;
                }
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        let Some(place) = sequence.strip_prefix('[').and_then(|s| s.strip_suffix('H')) else {
            return; // colours and modes
        };
        let (row, column) = place.split_once(';').unwrap_or(("1", "1"));
        let number = |text: &str| text.parse::<usize>().unwrap_or(1).saturating_sub(1);
        (self.row, self.column) = (number(row), number(column));
    }

    fn text(&self) -> String {
        let rows = self.cells.iter().map(|row| row.iter().collect::<String>());
        rows.collect::<Vec<_>>().join("\n")
    }
}

/// `trine top` on a terminal.
struct Top {
    pty: Pty,
    screen: Arc<Mutex<Screen>>,
}

impl Top {
    fn start(folder: &Folder) -> Self {
        let screen = Arc::new(Mutex::new(Screen::new()));
        let sink = screen.clone();
        let mut command = Command::new(tools::binary("trine"));
        command
            .args(["top", "--control"])
            .arg(folder.join("supervisor.sock"));
        let pty = Pty::start(&mut command, move |bytes| {
            let text = String::from_utf8_lossy(bytes);
            sink.lock().unwrap().write(&text);
        });
        Self { pty, screen }
    }

    fn press(&mut self, keys: &str) {
        self.pty.press(keys);
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait::until(&format!("{text:?} on the screen"), || {
            let shown = self.screen.lock().unwrap().text();
            shown.contains(text).then_some(())
        });
    }
}

#[test]
fn top_shows_programs_and_logs_and_obeys_keys() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  busy:
    command: [sh, -c, 'while true; do echo tick of busy; sleep 0.05; done']
    startsecs: 0s
  quiet:
    command: [sh, -c, 'echo word of quiet; exec sleep 1000']
    startsecs: 0s
",
    );
    let mut top = Top::start(&folder);
    top.wait_for("2 of 2 programs running");
    top.wait_for("MEMORY");
    top.wait_for("MiB");
    top.wait_for("tick of busy");
    top.press("j");
    top.wait_for("word of quiet");
    let before = control.wait_running("quiet");
    top.press("r");
    wait::until("the restart", || {
        let said = control.program("quiet");
        (said["state"] == "RUNNING" && said["pid"] != before).then_some(())
    });
    top.press("x");
    wait::until("the stop", || {
        (control.program("quiet")["state"] == "STOPPED").then_some(())
    });
    top.wait_for("1 of 2");
    top.press("s");
    control.wait_running("quiet");
    top.press("q");
    assert_eq!(top.pty.wait_exit(), Some(0));
    supervisor.stop();
}

#[track_caller]
fn trine(folder: &Folder, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(tools::binary("trine"))
        .args(args)
        .arg("--control")
        .arg(folder.join("supervisor.sock"))
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    (
        out.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn scale_restart_update_and_upgrade_by_the_command() {
    let folder = Folder::new();
    let programs = "  web:
    command: [sleep, '1000']
    numprocs: 2
    startsecs: 0s
";
    let (supervisor, control) = start(&folder, programs);
    let done = |code: i32, text: &str| (Some(code), format!("{text}\n"));
    assert_eq!(
        trine(&folder, &["scale", "web", "3"]),
        done(0, "web: 3 processes")
    );
    let first = control.wait_running("web:web_00");
    assert_eq!(
        trine(&folder, &["rolling-restart", "web", "--batch", "2"]),
        done(0, "web: restarted 3 processes")
    );
    let second = control.wait_running("web:web_00");
    assert_ne!(first, second);
    let (code, said) = trine(&folder, &["scale", "nobody", "3"]);
    assert_eq!(code, Some(1), "{said}");

    assert_eq!(
        trine(&folder, &["update", "--dry-run"]),
        done(0, "nothing to change")
    );
    let path = folder.join("supervisor.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text + "  more:\n    command: [sleep, '1']\n    autostart: false\n",
    )
    .unwrap();
    assert_eq!(
        trine(&folder, &["update", "--dry-run"]),
        done(0, "start   more")
    );
    assert_eq!(trine(&folder, &["update"]), done(0, "start   more"));
    assert_eq!(control.program("more")["state"], "STOPPED");

    let (code, said) = trine(&folder, &["supervisor", "upgrade", "/bin/false"]);
    assert!(
        code == Some(1) && said.contains("cannot take over"),
        "{said}"
    );
    let (code, said) = trine(&folder, &["supervisor", "upgrade"]);
    assert!(
        code == Some(0) && said.contains("as before"),
        "{code:?} {said}"
    );
    assert_eq!(control.wait_running("web:web_00"), second);
    supervisor.stop();
}
