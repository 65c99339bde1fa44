//! trine-supervisor alone, with small shell programs: life, logs, readiness, the death of its brain, refusals.

mod brain;
mod cgroups;
mod container;
mod logs;
mod metrics;
mod peers;
mod programs;
mod pty;
mod shell;
mod top;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use e2e::client::Request;
use e2e::control::Control;
use e2e::daemon::{self, Daemon, Launch};
use e2e::folder::Folder;
use e2e::refusal::{self, wrong};
use e2e::upstream::Upstream;
use e2e::{port, process, wait};
use nix::sys::signal::Signal;

/// A supervisor with these programs (YAML, two spaces in) that does not wait for them.
#[track_caller]
fn launch(folder: &Folder, programs: &str) -> (Daemon, Control) {
    folder.write(
        "supervisor.yaml",
        format!("control: supervisor.sock\npidfile: supervisor.pid\nprograms:\n{programs}"),
    );
    let launch = Launch::trine("trine-supervisor").args(["-c", "supervisor.yaml"]);
    (
        launch.notify().start(folder),
        Control::new(folder.join("supervisor.sock")),
    )
}

/// A supervisor whose programs have all become ready, or have failed.
#[track_caller]
fn start(folder: &Folder, programs: &str) -> (Daemon, Control) {
    let (supervisor, control) = launch(folder, programs);
    (supervisor.wait_ready(), control)
}

#[track_caller]
fn wait_state(control: &Control, program: &str, state: &str) {
    wait::until(&format!("{program} to be {state}"), || {
        (control.program(program)["state"] == state).then_some(())
    });
}

#[test]
fn programs_start_stop_and_restart_on_command() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  sleeper:
    command: [sleep, '1000']
    startsecs: 0s
  later:
    command: sleep 1000
    autostart: false
    startsecs: 0s
  many:
    command: [sh, -c, 'echo $KIND; exec sleep 1000']
    environment: { KIND: of-many }
    numprocs: 3
    startsecs: 0s
    stdout_logfile: '{process}.log'
",
    );
    let mode = fs::metadata(control.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "the control socket is for its owner");
    let first = control.wait_running("sleeper");
    assert_eq!(process::command(first), "sleep 1000");
    assert_eq!(control.program("later")["state"], "STOPPED");
    control.post("/v1/programs/later/start?wait=true");
    let later = control.wait_running("later");
    control.post("/v1/programs/later/stop?wait=true");
    assert_eq!(control.program("later")["state"], "STOPPED");
    assert!(!process::is_alive(later));

    control.post("/v1/programs/sleeper/restart?wait=true");
    let second = control.wait_running("sleeper");
    assert_ne!(first, second);
    assert!(!process::is_alive(first));

    let listed = control.get("/v1/programs").to_string();
    for name in ["sleeper", "later", "many_00", "many_01", "many_02"] {
        assert!(listed.contains(&format!("\"{name}\"")), "{listed}");
    }
    for log in ["many_00.log", "many_01.log", "many_02.log"] {
        wait::until("its line", || {
            (folder.read(log) == "of-many\n").then_some(())
        });
    }
    let unknown = control
        .call(Request::post("/v1/programs/nobody/start", ""))
        .unwrap();
    assert_eq!(
        (unknown.status, unknown.header("content-type")),
        (404, Some("application/problem+json"))
    );
    supervisor.stop();
    assert!(!folder.join("supervisor.sock").exists());
    assert!(!folder.join("supervisor.pid").exists());
}

#[test]
fn a_crash_is_answered_by_a_new_start_and_a_hopeless_program_is_given_up() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  crasher:
    command: [sleep, '1000']
    startsecs: 0s
  hopeless:
    command: [sh, -c, 'exit 3']
    startsecs: 1s
    startretries: 1
  done:
    command: [sh, -c, 'exit 0']
    startsecs: 0s
  missing:
    command: [./no-such-program]
    startretries: 0
",
    );
    let first = control.wait_running("crasher");
    process::signal(first, Signal::SIGKILL);
    assert_ne!(control.wait_replaced("crasher", first), first);
    wait_state(&control, "done", "EXITED");
    wait_state(&control, "hopeless", "FATAL");
    wait_state(&control, "missing", "FATAL");
    let missing = control.program("missing").to_string();
    assert!(
        missing.contains("no-such-program") || missing.contains("No such file"),
        "{missing}"
    );
    supervisor.stop();
}

#[test]
fn a_stop_reaches_the_whole_group_and_ends_by_force_at_last() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  stubborn:
    command: [sh, -c, 'trap \"\" TERM; sleep 1000 & echo $! > child.pid; wait; while true; do sleep 1; done']
    directory: .
    startsecs: 0s
    stopwaitsecs: 300ms
",
    );
    let pid = control.wait_running("stubborn");
    let child: i32 = wait::until("the pid of the child", || {
        folder.read("child.pid").trim().parse().ok()
    });
    control.post("/v1/programs/stubborn/stop?wait=true");
    assert!(!process::is_alive(pid));
    process::wait_gone(child);
    supervisor.stop();
}

#[test]
fn readiness_is_what_the_program_says_or_answers() {
    let folder = Folder::new();
    let web = Upstream::holding_requests();
    let tcp = port::free();
    folder.write(
        "notify.py",
        "import os, socket, time
while not os.path.exists('word'):
    time.sleep(0.01)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
    out.sendto(b'STATUS=all is well\\nREADY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))
time.sleep(1000)
",
    );
    let (mut supervisor, control) = launch(
        &folder,
        &format!(
            "  by_http:
    command: [sleep, '1000']
    ready: {{ http: 'http://{}/health' }}
  by_tcp:
    command: [sleep, '1000']
    ready: {{ tcp: '{tcp}' }}
  by_word:
    command: [python3, notify.py]
    directory: .
    ready: notify
",
            web.addr()
        ),
    );
    web.wait_until_holding(1);
    control.wait_phase("starting");
    assert_eq!(control.program("by_http")["ready"], false);
    assert_eq!(control.program("by_tcp")["ready"], false);
    web.release_all();
    control.wait_running("by_http");
    let _listener = std::net::TcpListener::bind(tcp).unwrap();
    control.wait_running("by_tcp");
    assert_eq!(control.program("by_word")["ready"], false);
    folder.write("word", "");
    control.wait_running("by_word");
    supervisor.wait_notified("READY=1");
    supervisor.stop();
}

#[test]
fn a_held_socket_keeps_callers_waiting_while_its_program_is_replaced() {
    let folder = Folder::new();
    let address = port::free();
    let program = folder.write(
        "serve.py",
        "import os, socket, sys
assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDNAMES'] == 'web', os.environ
server = socket.socket(fileno=3)
while True:
    caller, _ = server.accept()
    caller.recv(4096)
    body = str(os.getpid()).encode()
    caller.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (len(body), body))
    caller.close()
",
    );
    let (supervisor, control) = start(
        &folder,
        &format!(
            "  web:
    command: [python3, '{}']
    startsecs: 0s
    sockets: {{ web: '{address}' }}
    stdout_logfile: web.log
    redirect_stderr: true
",
            program.display()
        ),
    );
    let first = control.wait_running("web");
    assert_eq!(
        e2e::client::get(address, "/").text(),
        first.to_string(),
        "{}",
        folder.read("web.log")
    );
    control.post("/v1/programs/web/stop?wait=true");
    let waiting = thread::spawn(move || e2e::client::get(address, "/").text());
    wait::until("the caller to be connected", || {
        connected_to(address.port()).then_some(())
    });
    control.post("/v1/programs/web/start");
    let answered = waiting.join().unwrap();
    assert_eq!(answered, control.wait_running("web").to_string());
    supervisor.stop();
}

/// Whether /proc/net/tcp shows an established connection to this local port.
fn connected_to(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words
            .get(1)
            .is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
            && words.get(3) == Some(&"01")
    })
}

#[test]
fn a_bad_config_is_told_whole_and_starts_nothing() {
    refusal::check(
        "trine-supervisor",
        &["-c", "supervisor.yaml"],
        "supervisor.yaml",
        "control: run.sock
programs:
  web:
    comand: [sleep, '1000']
    command: []
    stopsignal: PLEASE
    startretries: many
    startsecs: 5 moons
    ready: eventually
    sockets: { http: '127.0.0.1:99999' }
  fine:
    command: [touch, started]
",
        &[
            wrong(4, "comand"),
            wrong(5, "command"),
            wrong(6, "PLEASE"),
            wrong(7, "startretries"),
            wrong(8, "startsecs"),
            wrong(9, "eventually"),
            wrong(10, "99999"),
        ],
    );
    refusal::check_missing("trine-supervisor", &["-c", "none.yaml"], "none.yaml");
    let folder = Folder::new();
    folder.write(
        "good.yaml",
        "control: s.sock\nprograms:\n  web:\n    command: [touch, started]\n",
    );
    let (code, output) = daemon::run(
        Launch::trine("trine-supervisor").args(["--check", "good.yaml"]),
        &folder,
    );
    assert_eq!(code, 0, "{output}");
    assert!(!folder.join("started").exists() && !folder.join("s.sock").exists());
}

#[test]
fn a_socket_that_cannot_be_bound_is_named_and_nothing_is_left() {
    let folder = Folder::new();
    let (addr, _holder) = port::listening();
    folder.write(
        "supervisor.yaml",
        format!("control: s.sock\nprograms:\n  web:\n    command: [sleep, '1000']\n    sockets: {{ web: '{addr}' }}\n"),
    );
    let (code, output) = daemon::run(
        Launch::trine("trine-supervisor").args(["-c", "supervisor.yaml"]),
        &folder,
    );
    assert_eq!(code, 75, "{output}");
    assert!(output.contains(&addr.to_string()), "{output}");
}
