//! Called `supervisord`, with supervisord's file: the command line, the background, the log, signals, exit codes.
//! Not here: that values are read as the real one reads them (`tests/it/interop`), HTTP.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, also in a helper"
)]

mod rig;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::{is_alive, until};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder with the daemon in it under that name, and a file.
struct House {
    folder: TempDir,
}

impl House {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(rig::binary(), folder.path().join("supervisord")).unwrap();
        let house = Self { folder };
        house.write(config);
        house
    }

    fn write(&self, config: &str) {
        std::fs::write(self.path("s.conf"), config).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("./supervisord");
        command.args(args).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).output().unwrap();
        let text = [stdout, stderr].concat();
        (status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Puts it into the background, where a guard ends it whatever happens.
    #[track_caller]
    fn start(&self, args: &[&str]) -> Daemon {
        let (code, told) = self.run(args);
        assert_eq!((code, told.as_str()), (Some(0), ""));
        Daemon {
            pid: self.read("supervisord.pid").trim().parse().unwrap(),
        }
    }

    #[track_caller]
    fn until_logged(&self, words: &str) {
        self.until_logged_times(words, 1);
    }

    #[track_caller]
    fn until_logged_times(&self, words: &str, count: usize) {
        until(&format!("{words:?} in the log"), || {
            (self.read("supervisord.log").matches(words).count() >= count).then_some(())
        });
    }
}

struct Daemon {
    pid: i32,
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    #[track_caller]
    fn until_gone(&self) {
        until("the end", || (!is_alive(self.pid)).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if is_alive(self.pid) {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
        }
    }
}

fn pid_in(log: &str, name: &str) -> i32 {
    let line = log
        .lines()
        .rfind(|line| line.contains(&format!("spawned: '{name}' with pid ")));
    let pid = line.and_then(|line| line.rsplit(' ').next());
    pid.unwrap().parse().unwrap()
}

#[test]
fn a_day_in_the_background() {
    let house = House::new(
        "[supervisord]
[program:stays]
command=sh -c 'echo hello; exec sleep 1000'
stdout_logfile=%(here)s/stays.log
[program:ends]
command=sh -c 'exit 3'
startsecs=0
autorestart=false
[program:fails]
command=/nonexistent/program
startretries=0
[group:pair]
programs=left
[program:left]
command=sleep 1000
process_name=%(program_name)s_%(process_num)02d
numprocs=2
",
    );
    let daemon = house.start(&["-c", "s.conf"]);
    let own = std::fs::read_link(format!("/proc/{}/fd/2", daemon.pid)).unwrap();
    assert_eq!(own, Path::new("/dev/null"));
    house.until_logged("success: stays entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)");
    house.until_logged("success: left_01 entered RUNNING state");
    house.until_logged("exited: ends (exit status 3; not expected)");
    house.until_logged("gave up: fails entered FATAL state, too many start retries too quickly");
    let log = house.read("supervisord.log");
    assert!(
        log.contains(&format!("INFO supervisord started with pid {}", daemon.pid)),
        "{log}"
    );
    for line in log.lines() {
        let (time, rest) = line.split_at(23);
        assert!(
            time.as_bytes()[4] == b'-' && time.as_bytes()[19] == b',',
            "{line}"
        );
        let level = rest.split(' ').nth(1);
        assert!(
            matches!(level, Some("CRIT" | "WARN" | "INFO" | "ERRO")),
            "{line}"
        );
    }
    assert_eq!(house.read("stays.log"), "hello\n");

    // Restart reads the file again; a bad one changes nothing.
    let first = pid_in(&log, "stays");
    house.write("[supervisord]\n[program:other]\ncommand=sleep 1000\nstartsecs=0\n");
    daemon.signal(Signal::SIGHUP);
    house.until_logged("received SIGHUP indicating restart request");
    house.until_logged("success: other entered RUNNING state");
    let log = house.read("supervisord.log");
    assert!(
        log.contains("stopped: stays (terminated by SIGTERM)") && !is_alive(first),
        "{log}"
    );
    assert_eq!(
        log.matches("supervisord started with pid").count(),
        2,
        "{log}"
    );
    let other = pid_in(&log, "other");
    house.write("[supervisord]\n[program:other]\n");
    daemon.signal(Signal::SIGHUP);
    house.until_logged("s.conf:2: [program:other].command: is missing");
    assert!(is_alive(other));

    // Logs that were moved away are opened again.
    std::fs::rename(house.path("supervisord.log"), house.path("old.log")).unwrap();
    daemon.signal(Signal::SIGUSR2);
    until("a new log", || {
        house.path("supervisord.log").exists().then_some(())
    });
    assert!(house.read("old.log").contains("supervisord logreopen"));

    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
    house.until_logged("received SIGTERM indicating exit request");
    assert!(
        house
            .read("supervisord.log")
            .contains("waiting for other to die")
    );
    assert!(!is_alive(other) && !house.path("supervisord.pid").exists());
}

#[test]
fn mistakes_in_supervisords_words() {
    let house = House::new("[supervisord]\nloglevel=loud\n");
    let told = |args: &[&str]| {
        let (code, text) = house.run(args);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.ends_with("For help, use ./supervisord -h\n"), "{text}");
        text
    };
    assert!(told(&["-x"]).starts_with("Error: option -x not recognized\n"));
    assert!(told(&["-c", "none"]).starts_with("Error: could not find config file none\n"));
    assert!(told(&["run"]).starts_with("Error: positional arguments are not supported: ['run']\n"));
    assert!(
        told(&["-c", "s.conf"])
            .contains("s.conf:2: [supervisord].loglevel: \"loud\" is no log level")
    );
    house.write("[program:x]\n");
    assert!(told(&["-c", "s.conf"]).contains("has no [supervisord] section"));
    house.write("[supervisord]\nminfds=99999999999\n");
    assert!(told(&["-c", "s.conf", "-n"]).contains("wanted by minfds"));
    assert_eq!(house.run(&["-v"]), (Some(0), "4.3.0\n".to_owned()));
    let (code, help) = house.run(&["-h"]);
    assert!(code == Some(0) && help.contains("--nocleanup"), "{help}");
    // What only the process in the background finds out is still told here.
    house.write("[supervisord]\nlogfile=/proc/none/s.log\n");
    let text = told(&["-c", "s.conf"]);
    assert!(text.contains("/proc/none"), "{text}");
}

#[test]
fn the_file_is_found_and_the_command_line_wins() {
    let house = House::new("");
    std::fs::create_dir(house.path("etc")).unwrap();
    let config = "[supervisord]\nloglevel=debug\nlogfile=wrong.log\nidentifier=a\n[program:x]\ncommand=sleep 1000\n";
    std::fs::write(house.path("etc/supervisord.conf"), config).unwrap();
    let log = house.path("right.log");
    let mut command = house.command(&[
        "-n",
        "-l",
        "right.log",
        "-j",
        "right.pid",
        "-e",
        "warn",
        "-k",
    ]);
    let mut daemon = command.stdout(Stdio::piped()).spawn().unwrap();
    until("the pid file", || {
        (house.read("right.pid").trim() == daemon.id().to_string()).then_some(())
    });
    kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGINT).unwrap();
    let echoed = std::io::read_to_string(daemon.stdout.take().unwrap()).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("WARN received SIGINT indicating exit request"),
        "{log}"
    );
    assert!(!log.contains("INFO"), "{log}");
    assert_eq!(echoed, log, "the foreground repeats the log");
}

#[test]
fn automatic_logs_are_made_and_cleared() {
    let config = "[supervisord]\nchildlogdir=%(here)s\nidentifier=me\n[program:x]\ncommand=sh -c 'echo out; echo err >&2; exec sleep 1000'\nstartsecs=0\n";
    let house = House::new(config);
    let logs = || {
        let names = std::fs::read_dir(house.folder.path()).unwrap();
        let mut names: Vec<String> = names
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.contains("---me-"))
            .collect();
        names.sort();
        names
    };
    let daemon = house.start(&["-c", "s.conf"]);
    until("both logs", || {
        let texts: Vec<String> = logs().iter().map(|name| house.read(name)).collect();
        (texts == ["err\n", "out\n"]).then_some(())
    });
    let first = logs();
    assert!(first[0].starts_with("x-stderr---me-") && first[1].starts_with("x-stdout---me-"));
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
    assert_eq!(logs(), first, "what was said is still there after the end");
    let daemon = house.start(&["-c", "s.conf"]);
    house.until_logged_times("success: x entered RUNNING state", 2);
    assert!(logs().iter().all(|name| !first.contains(name)));
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
}

#[test]
fn the_main_log_is_begun_anew_at_its_size() {
    let house = House::new(
        "[supervisord]\nlogfile_maxbytes=1KB\nlogfile_backups=2\n[program:x]\ncommand=sleep 1000\n",
    );
    let daemon = house.start(&["-c", "s.conf"]);
    until("two old files", || {
        daemon.signal(Signal::SIGUSR2);
        house.path("supervisord.log.2").exists().then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
    for name in ["supervisord.log", "supervisord.log.1", "supervisord.log.2"] {
        let text = house.read(name);
        assert!(text.len() <= 1024 && text.ends_with('\n'), "{name}: {text}");
    }
    assert!(!house.path("supervisord.log.3").exists());
}

/// Only root can become somebody: what the programs and we ourselves then are, from the inside.
#[test]
fn users() {
    let identity = "command=sh -c 'id -u; id -g; id -G; umask; pwd; echo $HOME'\nstartsecs=0\nautorestart=false\n";
    if !nix::unistd::Uid::effective().is_root() {
        // The next test is about this.
        return;
    }
    let config = format!(
        "[supervisord]\n[program:as]\n{identity}user=daemon\numask=027\ndirectory=/\nstdout_logfile=%(here)s/as.log
[program:own]\n{identity}stdout_logfile=%(here)s/own.log\n"
    );
    let house = House::new(&config);
    let daemon = house.start(&["-c", "s.conf"]);
    house.until_logged("exited: as (exit status 0; expected)");
    house.until_logged("exited: own (exit status 0; expected)");
    let is_whole = |name: &str| (house.read(name).lines().count() == 6).then_some(());
    until("all that was said", || {
        is_whole("as.log").and_then(|()| is_whole("own.log"))
    });
    let said: Vec<String> = house.read("as.log").lines().map(str::to_owned).collect();
    assert_eq!((said[0].as_str(), said[1].as_str()), ("1", "1"));
    assert!(
        !said[2].split(' ').any(|group| group == "0"),
        "root's groups are gone: {}",
        said[2]
    );
    assert_eq!((said[3].as_str(), said[4].as_str()), ("0027", "/"));
    assert_eq!(
        said.get(5),
        house
            .read("own.log")
            .lines()
            .nth(5)
            .map(str::to_owned)
            .as_ref(),
        "HOME stays"
    );
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();

    in_the_new_users_shoes();

    // The supervisor itself; then its programs cannot become anybody else.
    std::os::unix::fs::chown(house.folder.path(), Some(1), Some(1)).unwrap();
    std::fs::remove_file(house.path("supervisord.log")).unwrap();
    house.write(&format!(
        "[supervisord]\nuser=daemon\n[program:as]\n{identity}stdout_logfile=%(here)s/daemon.log\n[program:no]\ncommand=true\nuser=nobody\nstartretries=0\n"
    ));
    let daemon = house.start(&["-c", "s.conf"]);
    house.until_logged("Set uid to user daemon succeeded");
    house.until_logged("exited: as (exit status 0; expected)");
    house.until_logged("gave up: no entered FATAL state");
    assert!(
        house
            .read("supervisord.log")
            .contains("only root can run it as 'nobody'")
    );
    until("all that was said", || is_whole("daemon.log"));
    assert_eq!(house.read("daemon.log").lines().next(), Some("1"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid)).unwrap();
    let line = |key: &str| {
        status
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(line("Uid:"), "Uid:\t1\t1\t1\t1");
    assert!(
        !line("Groups:").split_whitespace().any(|group| group == "0"),
        "{status}"
    );
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
}

/// A supervisor that an ordinary user started: it cannot become anybody, nor can its programs.
#[test]
fn an_ordinary_user() {
    let is_root = nix::unistd::Uid::effective().is_root();
    let house = House::new("[supervisord]\nuser=root\n");
    if is_root {
        // The program and all it needs lie where that user may go.
        std::fs::remove_file(house.path("supervisord")).unwrap();
        std::fs::copy(rig::binary(), house.path("supervisord")).unwrap();
        std::os::unix::fs::chown(house.folder.path(), Some(1), Some(1)).unwrap();
    }
    let run = || {
        let mut command = house.command(&["-c", "s.conf"]);
        if is_root {
            command.uid(1).gid(1);
        }
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8_lossy(&stderr).into_owned())
    };
    let (code, text) = run();
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("Can't drop privilege as nonroot user"),
        "{text}"
    );

    house.write(
        "[supervisord]\n[program:own]\ncommand=sh -c 'id -u; id -G'\nstartsecs=0\nautorestart=false
stdout_logfile=%(here)s/own.log\n[program:no]\ncommand=true\nuser=root\nstartretries=0\n",
    );
    assert_eq!(run(), (Some(0), String::new()));
    let daemon = Daemon {
        pid: house.read("supervisord.pid").trim().parse().unwrap(),
    };
    house.until_logged("exited: own (exit status 0; expected)");
    house.until_logged("gave up: no entered FATAL state");
    assert!(
        house
            .read("supervisord.log")
            .contains("only root can run it as 'root'")
    );
    let said = until("all that was said", || {
        let text = house.read("own.log");
        (text.lines().count() == 2).then_some(text)
    });
    if is_root {
        assert_eq!(said, "1\n1\n");
    }
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
}

#[test]
fn a_fastcgi_socket_is_standard_input_and_outlives_its_program() {
    // Says so on each connection, and ends after one.
    let program = "import socket, sys
listener = socket.socket(fileno=0)
peer, _ = listener.accept()
peer.sendall(b'served')
";
    let house = House::new(
        "[supervisord]
directory=%(here)s
[group:g]
programs=app
[fcgi-program:app]
command=python3 app.py
socket=unix://%(here)s/app.sock
socket_mode=0711
autostart=false
autorestart=false
startsecs=0
[program:starter]
command=sh -c 'pwd; exec sleep 1000'
stdout_logfile=%(here)s/pwd.log
startsecs=0
[unix_http_server]
file=%(here)s/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
",
    );
    std::fs::write(house.path("app.py"), program).unwrap();
    let daemon = house.start(&["-c", "s.conf"]);
    let socket = house.path("app.sock");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o711);
    // Nobody runs, and nobody is refused: both wait until there is a program.
    let mut first = UnixStream::connect(&socket).unwrap();
    let mut second = UnixStream::connect(&socket).unwrap();
    start(&house, "g:app");
    assert_eq!(std::io::read_to_string(&mut first).unwrap(), "served");
    house.until_logged("exited: app (exit status 0; expected)");
    start(&house, "g:app");
    assert_eq!(std::io::read_to_string(&mut second).unwrap(), "served");
    until("the folder", || {
        let here = house.folder.path().canonicalize().unwrap();
        (house.read("pwd.log").trim() == here.to_str().unwrap()).then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
}

/// By XML-RPC, as supervisorctl does.
fn start(house: &House, name: &str) {
    let call = format!(
        "<methodCall><methodName>supervisor.startProcess</methodName><params><param><value><string>{name}</string></value></param></params></methodCall>"
    );
    let mut peer = UnixStream::connect(house.path("s.sock")).unwrap();
    let head = format!(
        "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    peer.write_all(head.as_bytes()).unwrap();
    let reply = std::io::read_to_string(&mut peer).unwrap();
    assert!(reply.contains("<boolean>1</boolean>"), "{reply}");
}

/// Nothing happens any more by itself then, so nothing may be waited for.
#[test]
fn a_program_between_two_attempts_holds_up_neither_the_end_nor_a_restart() {
    let config = "[supervisord]
[program:fails]
command=false
startretries=1000
[program:stays]
command=sleep 1000
priority=1
startsecs=0
";
    let house = House::new(config);
    let daemon = house.start(&["-c", "s.conf"]);
    house.until_logged_times("exited: fails (exit status 1; not expected)", 2);
    house.until_logged("success: stays entered RUNNING state");
    daemon.signal(Signal::SIGHUP);
    house.until_logged_times("supervisord started with pid", 2);
    house.until_logged_times("success: stays entered RUNNING state", 2);
    house.until_logged_times("exited: fails (exit status 1; not expected)", 4);
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
    assert!(!house.read("supervisord.log").contains("asked to end again"));
}

#[test]
fn who_puts_it_into_the_background_learns_that_an_address_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let house = House::new(&format!(
        "[supervisord]
[inet_http_server]
port={address}
username=u
password=p
"
    ));
    let (code, told) = house.run(&["-c", "s.conf"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains(&address.to_string()), "{told}");
    assert!(!house.path("supervisord.pid").exists());
}

/// As root: the user is switched before the folder is changed to and the program is looked at, so rights are the new
/// user's; all of its ids are the new ones; and a folder that only root may enter keeps it from starting, in words.
fn in_the_new_users_shoes() {
    let house = House::new(
        "[supervisord]
[program:ids]
command=sh -c 'umask; grep -E \"^(Uid|Gid|Groups|NoNewPrivs)\" /proc/self/status; ps -o pgid= -o pid= -p $$'
user=daemon
umask=077
startsecs=0
autorestart=false
stdout_logfile=%(here)s/ids.log
[program:shut_out]
command=sleep 1000
user=daemon
directory=%(here)s/private
startretries=0
[program:not_its_file]
command=%(here)s/private/program
user=daemon
startretries=0
",
    );
    let private = house.path("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::copy("/bin/sleep", private.join("program")).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode;
    std::fs::set_permissions(&private, mode(0o700)).unwrap();
    std::fs::set_permissions(house.folder.path(), mode(0o755)).unwrap();
    let daemon = house.start(&["-c", "s.conf"]);
    house.until_logged("exited: ids (exit status 0; expected)");
    house.until_logged("gave up: shut_out entered FATAL state");
    house.until_logged("gave up: not_its_file entered FATAL state");
    until("all that was said", || {
        (house.read("ids.log").lines().count() == 6).then_some(())
    });
    let said = house.read("ids.log");
    for line in ["0077", "Uid:\t1\t1\t1\t1", "Gid:\t1\t1\t1\t1"] {
        assert!(said.lines().any(|told| told == line), "{line:?}: {said}");
    }
    let last: Vec<&str> = said
        .lines()
        .last()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(
        last.first(),
        last.get(1),
        "it leads a group of its own: {said}"
    );
    let log = house.read("supervisord.log");
    let why = |name: &str| {
        let mut lines = log.lines();
        lines
            .find(|line| line.contains("spawnerr: ") && line.contains(name))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(why("shut_out").contains("Permission denied"), "{log}");
    assert!(why("not_its_file").contains("ermission"), "{log}");
    daemon.signal(Signal::SIGTERM);
    daemon.until_gone();
}
