//! `trine logs` beside a supervisor that runs: several programs and a group in one stream, followed over rotation and the
//! death of a brain.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use e2e::client::Request;
use e2e::control::Control;
use e2e::folder::Folder;
use e2e::{tools, wait};

use super::start;

struct Logs {
    command: Child,
    lines: Receiver<String>,
}

impl Logs {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        let mut command = Command::new(tools::binary("trine"))
            .arg("logs")
            .args(args)
            .arg("--control")
            .arg(folder.join("supervisor.sock"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let out = BufReader::new(command.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { command, lines }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.lines.recv_timeout(wait::PATIENCE).unwrap()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

/// Has a program say a line.
#[track_caller]
fn say(control: &Control, program: &str, line: &str) {
    let call = format!(
        "<methodCall><methodName>supervisor.sendProcessStdin</methodName><params><param><value><string>{program}</string></value></param><param><value><string>{line}\n</string></value></param></params></methodCall>"
    );
    let reply = control.call(Request::post("/RPC2", call)).unwrap();
    assert!(reply.text().contains("<boolean>1<"), "{}", reply.text());
}

#[test]
fn logs_of_several_programs_and_of_a_group_are_followed_in_one_stream() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  echo:
    command: cat
    numprocs: 2
    startsecs: 0s
    stdout_logfile: '{process}.log'
    stdout_logfile_maxbytes: 1KB
    stdout_logfile_backups: 50
  json:
    command: cat
    startsecs: 0s
    logfile_format: json
    stdout_logfile: json.log
  other:
    command: cat
    startsecs: 0s
    stdout_logfile: other.log
    stderr_logfile: NONE
",
    );
    let programs = ["echo:echo_00", "echo:echo_01", "json"];
    for program in programs.iter().chain(&["other"]) {
        say(&control, program, "first");
    }
    for log in ["echo_00.log", "echo_01.log", "json.log", "other.log"] {
        wait::until("the first line", || {
            folder.read(log).contains("first").then_some(())
        });
    }
    // A program, and a group by its name: what there is, and whose it is.
    let logs = Logs::start(&folder, &["-f", "json", "echo"]);
    let mut first: Vec<String> = (0..3).map(|_| logs.next()).collect();
    first.sort();
    assert_eq!(first[0], "echo_00 | first");
    assert_eq!(first[1], "echo_01 | first");
    assert!(
        first[2].starts_with("json    | {\"time\":\"") && first[2].contains("\"first\""),
        "{}",
        first[2]
    );

    // What is added, over rotations and the death of a brain, each line whole, once and in its program's order.
    const COUNT: usize = 60;
    for number in 0..COUNT {
        if number == COUNT / 2 {
            control.kill_brain();
        }
        for program in programs {
            say(&control, program, &format!("{number:0>100}"));
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..COUNT * programs.len() {
        let line = logs.next();
        let (label, text) = line.split_once(" | ").unwrap();
        let next = seen.entry(label.trim_end().to_owned()).or_default();
        assert!(text.contains(&format!("{next:0>100}")), "{line}");
        *next += 1;
    }
    let want = ["echo_00", "echo_01", "json"].map(|label| (label.to_owned(), COUNT));
    assert_eq!(seen, BTreeMap::from(want));
    assert!(folder.join("echo_00.log.1").exists());
    let more = logs.lines.recv_timeout(Duration::from_millis(300));
    assert!(more.is_err(), "nobody has asked for this: {more:?}");

    // One alone stands without a name, and from a time on; without -f the command ends.
    let mut one = Logs::start(&folder, &["--since", "1h", "-n", "1", "other"]);
    assert_eq!(one.next(), "first");
    assert_eq!(one.command.wait().unwrap().code(), Some(0));
    supervisor.stop();
}
