//! Programs come up, get ready, fail, stop and go, each as its settings say.

mod rig;

use nix::sys::signal::Signal;
use rig::{Rig, is_alive, signal, until};
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn start_stop_and_restart_wait_for_the_outcome() {
    let rig = Rig::start(
        "  one:
    command: sleep 1000
    startsecs: 200ms
  many:
    command: [sh, -c, 'echo $SUPERVISOR_PROCESS_NAME $SUPERVISOR_GROUP_NAME $SUPERVISOR_ENABLED $KIND; exec sleep 1000']
    environment: { KIND: 7 }
    numprocs: 3
    startsecs: 0s
    stdout_logfile: many.log
  idle:
    command: sleep 1000
    autostart: false
    startsecs: 0s
  broken:
    command: [sh, -c, 'exit 3']
    autostart: false
    startretries: 0
  missing:
    command: [no-such-command-anywhere]
    autostart: false
    startretries: 0
",
    );
    let first = rig.running_pid("one");
    let done = rig.post("/v1/programs/one/restart?wait=true");
    assert_eq!(
        (&done["ok"], &done["programs"][0]["state"]),
        (&true.into(), &"RUNNING".into()),
        "{done}"
    );
    assert_ne!(rig.running_pid("one"), first);
    assert!(!is_alive(first));
    assert_eq!(
        rig.post("/v1/programs/one/stop?wait=true")["programs"][0]["state"],
        "STOPPED"
    );

    assert_eq!(rig.program("idle")["description"], "Not started");
    assert_eq!(
        rig.post("/v1/programs/idle/start?wait=true")["message"],
        "idle: started"
    );

    let group = rig.post("/v1/programs/many:*/stop?wait=true");
    assert_eq!(group["programs"].as_array().unwrap().len(), 3, "{group}");
    rig.post("/v1/programs/many_01/start?wait=true");
    assert_eq!(rig.program("many:many_01")["state"], "RUNNING");
    assert_eq!(rig.program("many:many_02")["state"], "STOPPED");
    until("the names", || {
        let log = rig.read("many.log");
        (0..3)
            .all(|n| log.contains(&format!("many_0{n} many 1 7")))
            .then_some(())
    });

    let broken = rig.post("/v1/programs/broken/start?wait=true");
    assert_eq!(broken["ok"], false);
    assert_eq!(rig.program("broken")["state"], "FATAL");
    assert!(
        rig.program("broken")["description"]
            .as_str()
            .unwrap()
            .contains("exit status 3")
    );
    rig.post("/v1/programs/missing/start?wait=true");
    assert_eq!(
        rig.program("missing")["description"],
        "can't find command 'no-such-command-anywhere'"
    );
    assert_eq!(
        rig.call("POST", "/v1/programs/nobody/start").unwrap().0,
        404
    );
    assert_eq!(rig.call("POST", "/v1/programs/one/dance").unwrap().0, 405);
    rig.stop();
}

#[test]
fn readiness_by_word_by_connection_and_by_answer() {
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let (web_at, free_at) = (web.local_addr().unwrap(), free.local_addr().unwrap());
    drop(free);
    let rig = Rig::start_with(
        &format!(
            "  by_http:
    command: sleep 1000
    ready: {{ http: 'http://{web_at}/health' }}
  by_tcp:
    command: sleep 1000
    ready: {{ tcp: '{free_at}' }}
  by_word:
    command: [python3, speak.py]
    ready: notify
  never:
    command: sleep 1000
    ready: notify
    ready_timeout: 300ms
    startretries: 0
"
        ),
        |folder| {
            let speak = "import os, socket, time
while not os.path.exists('word'):
    time.sleep(0.01)
pid = os.fork()  # a helper of the program may speak for it
if pid == 0:
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.sendto(b'STATUS=warming up\\nREADY=1', '\\0' + os.environ['NOTIFY_SOCKET'][1:])
time.sleep(1000)
";
            std::fs::write(folder.join("speak.py"), speak).unwrap();
        },
    );
    let answer = |status: &str| {
        let (mut caller, _) = web.accept().unwrap();
        let mut request = [0; 1024];
        let count = caller.read(&mut request).unwrap();
        assert!(request[..count].starts_with(b"GET /health HTTP/1.1\r\n"));
        write!(
            caller,
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
    };
    answer("503 Not Yet");
    assert_eq!(rig.program("by_http")["ready"], false);
    answer("204 No Content");
    rig.running_pid("by_http");
    assert_eq!(rig.program("by_tcp")["state"], "STARTING");
    let _listener = TcpListener::bind(free_at).unwrap();
    rig.running_pid("by_tcp");
    assert_eq!(rig.program("by_word")["state"], "STARTING");
    std::fs::write(rig.path("word"), "").unwrap();
    rig.running_pid("by_word");
    rig.wait_state("never", "FATAL");
    until("the reason", || {
        rig.read("supervisor.log")
            .contains("never was not ready in time")
            .then_some(())
    });
    rig.stop();
}

#[test]
fn ready_is_told_upwards_by_the_process_that_was_started() {
    use std::os::unix::net::UnixDatagram;
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(rig::PATIENCE)).unwrap();
    let config = "programs:\n  web: { command: [sleep, '1000'], startsecs: 100ms }\n  env: { command: [env], startsecs: 0s, stdout_logfile: env.log }\n";
    std::fs::write(folder.path().join("s.yaml"), config).unwrap();
    let mut daemon = std::process::Command::new(rig::binary())
        .args(["-c", "s.yaml"])
        .current_dir(folder.path())
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "1")
        .spawn()
        .unwrap();
    let mut message = [0; 1024];
    let count = socket.recv(&mut message).unwrap();
    assert!(message[..count].starts_with(b"READY=1"));
    signal(daemon.id() as i32, Signal::SIGINT);
    let count = socket.recv(&mut message).unwrap();
    assert_eq!(&message[..count], b"STOPPING=1");
    assert_eq!(
        until("the end", || daemon.try_wait().unwrap()).code(),
        Some(0)
    );
    let env = std::fs::read_to_string(folder.path().join("env.log")).unwrap();
    assert!(
        !env.contains("NOTIFY_SOCKET") && !env.contains("WATCHDOG"),
        "{env}"
    );
}

#[test]
fn sockets_are_handed_down_and_stay_while_nobody_serves_them() {
    let serve = "import os, socket
assert os.environ['LISTEN_PID'] == str(os.getpid()), os.environ
assert (os.environ['LISTEN_FDS'], os.environ['LISTEN_FDNAMES']) == ('2', 'app:web'), os.environ
assert sorted(map(int, os.listdir('/proc/self/fd')))[:5] == [0, 1, 2, 3, 4]
server = socket.socket(fileno=4)
while True:
    caller, _ = server.accept()
    caller.sendall(str(os.getpid()).encode())
    caller.close()
";
    let rig = Rig::start_with(
        "  web:
    command: [python3, serve.py]
    startsecs: 0s
    sockets:
      web: 127.0.0.1:0
      app: { listen: 'unix:run/app.sock', mode: '0600' }
",
        |folder| std::fs::write(folder.join("serve.py"), serve).unwrap(),
    );
    let status = rig.get("/v1/status");
    let addresses: Vec<&str> = status["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["address"].as_str().unwrap())
        .collect();
    let tcp = addresses
        .iter()
        .find(|address| address.starts_with("127"))
        .unwrap();
    let ask = || {
        let mut text = String::new();
        std::net::TcpStream::connect(tcp)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let first = rig.running_pid("web");
    assert_eq!(ask(), first.to_string());
    rig.post("/v1/programs/web/stop?wait=true");
    let waiting = std::net::TcpStream::connect(tcp).unwrap();
    rig.post("/v1/programs/web/start?wait=true");
    let mut text = String::new();
    (&waiting).read_to_string(&mut text).unwrap();
    assert_eq!(text, rig.running_pid("web").to_string());
    let socket = rig.path("run/app.sock");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let _ = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    rig.stop();
}

#[test]
fn the_end_comes_in_reverse_order_and_by_force_where_needed() {
    let mut rig = Rig::start(
        "  last:
    command: [sleep, '1000']
    priority: 1
    startsecs: 0s
  middle:
    command: [sh, -c, 'trap \"\" TERM; sleep 1000 & echo $! > child; wait; while true; do sleep 0.05; done']
    priority: 5
    startsecs: 0s
    stopwaitsecs: 300ms
  first:
    command: [sh, -c, 'trap \"sleep 0.2; exit 0\" TERM; : > trapped; while true; do sleep 0.02; done']
    startsecs: 0s
",
    );
    let child: i32 = until("the child", || rig.read("child").trim().parse().ok());
    until("the trap", || rig.path("trapped").exists().then_some(()));
    rig.signal(Signal::SIGTERM);
    assert_eq!(rig.wait_exit().code(), Some(0));
    let log = rig.read("supervisor.log");
    let at = |what: &str| {
        log.find(what)
            .unwrap_or_else(|| panic!("{what} is not in\n{log}"))
    };
    assert!(at("stopped: first (exit status 0)") < at("killing 'middle'"));
    assert!(at("stopped: middle (terminated by SIGKILL)") < at("waiting for last to stop"));
    assert!(at("waiting for last to stop") < at("stopped: last (terminated by SIGTERM)"));
    until("the grandchild to be gone", || {
        (!is_alive(child)).then_some(())
    });
}

#[test]
fn what_happens_is_told_on_the_event_stream_and_in_the_metrics() {
    let rig = Rig::start(
        "  flaky:\n    command: [sh, -c, 'read x </dev/null; exit 5']\n    startsecs: 0s\n    autostart: false\n    autorestart: false\n",
    );
    let mut events = rig.stream("/v1/events?kinds=program.state");
    events.by_ref().find(|line| line.contains("hello")).unwrap();
    rig.post("/v1/programs/flaky/start");
    let told: Vec<serde_json::Value> = events
        .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .map(|data| serde_json::from_str(&data).unwrap())
        .take(3)
        .collect();
    let steps: Vec<String> = told
        .iter()
        .map(|event| {
            format!(
                "{}>{}",
                event["data"]["from"].as_str().unwrap_or("?"),
                event["data"]["to"].as_str().unwrap_or("?")
            )
        })
        .collect();
    assert_eq!(
        steps,
        ["STOPPED>STARTING", "STARTING>RUNNING", "RUNNING>EXITED"],
        "{told:?}"
    );
    assert_eq!(told[2]["data"]["exit_code"], 5);
    let (_, metrics) = rig.call("GET", "/metrics").unwrap();
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("trine_program_state{group=\"flaky\",name=\"flaky\"} 100\n"),
        "{metrics}"
    );
    rig.stop();
}
