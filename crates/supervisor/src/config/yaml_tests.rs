//! What YAML becomes, and which problems it has.

use super::*;
use crate::config::{Destination, Hangup, HttpPeer, Level, LogFormat, LogTarget, Ready};
use crate::program::state::{AutoRestart, Gate, Scope};
use std::time::Duration;

fn read(text: &str) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    std::fs::write(&file, text).unwrap();
    let mut config = load(&file, &BTreeMap::new())?;
    // A folder that is the same in every run.
    let text = serde_json::to_string(&config).unwrap();
    let folder = folder.path().to_str().unwrap();
    config = serde_json::from_str(&text.replace(folder, "/etc/house")).unwrap();
    Ok(config)
}

fn program(keys: &str) -> super::super::Process {
    let config = read(&format!("programs:\n  web:\n    command: [run]\n{keys}")).unwrap();
    (*config.processes[0]).clone()
}

#[track_caller]
fn check(keys: &str, problem: &str) {
    match read(&format!(
        "programs:\n  web:\n    command: [run]\n    {keys}\n"
    )) {
        Ok(config) => panic!("{keys}: good: {config:?}"),
        Err(err) => {
            let told = trine_service::exit::chain(&err);
            assert!(
                told.contains(problem) && told.contains("s.yaml:4:"),
                "{keys}: {told}"
            );
        }
    }
}

#[test]
fn an_empty_file_is_a_supervisor_without_programs() {
    let config = read("").unwrap();
    assert_eq!(
        (config.processes.len(), config.control, config.log.level),
        (0, None, Level::Info)
    );
}

#[test]
fn defaults() {
    let web = program("");
    assert_eq!(
        (web.id().as_str(), web.priority, web.autostart),
        ("web", 999, true)
    );
    assert_eq!(web.directory.as_deref(), Some(Path::new("/etc/house")));
    assert_eq!(web.log_files()[0].1, Path::new("/etc/house/logs/web.log"));
    assert_eq!(
        web.log_files()[1].1,
        Path::new("/etc/house/logs/web.err.log")
    );
    assert_eq!((web.stdout.max_bytes, web.stdout.backups), (50 << 20, 10));
    let policy = web.policy;
    assert_eq!(
        (policy.auto_restart, policy.exit_codes),
        (AutoRestart::Unexpected, vec![0])
    );
    assert_eq!(
        (policy.start_secs, policy.start_retries),
        (Duration::from_secs(1), 3)
    );
    assert_eq!(
        (policy.stop_signal, policy.stop_wait),
        (15, Duration::from_secs(10))
    );
    assert_eq!(
        (policy.stop_scope, policy.kill_scope, policy.gate),
        (Scope::Main, Scope::Group, Gate::Age)
    );
}

#[test]
fn every_key() {
    let web = program(
        "    directory: app
    environment: { A: b, N: 7, T: true }
    autostart: false
    autorestart: true
    exitcodes: [0, 2]
    startsecs: 500ms
    startretries: 9
    stopsignal: sigquit
    stopwaitsecs: 1m
    stopasgroup: true
    priority: -5
    stdout_logfile: out/{process}.txt
    stdout_logfile_maxbytes: 1MB
    stdout_logfile_backups: 2
    redirect_stderr: true
    user: nobody
    umask: '027'
    sockets: { http: 127.0.0.1:80, app: { listen: 'unix:run/app.sock', mode: '0600', backlog: 5 } }
    ready: notify
    ready_timeout: 5s
",
    );
    assert_eq!(web.directory.as_deref(), Some(Path::new("/etc/house/app")));
    assert_eq!(
        web.environment.into_iter().collect::<Vec<_>>(),
        [
            ("A".into(), "b".into()),
            ("N".into(), "7".into()),
            ("T".into(), "true".into())
        ]
    );
    assert_eq!(
        (web.autostart, web.priority, web.umask, web.user.as_deref()),
        (false, -5, Some(0o27), Some("nobody"))
    );
    assert!(web.redirect_stderr && web.stderr.to == Destination::Nowhere);
    let out = &web.stdout;
    assert_eq!(
        (out.path(), out.max_bytes, out.backups),
        (Some(Path::new("/etc/house/out/web.txt")), 1 << 20, 2)
    );
    let sockets: Vec<_> = web
        .sockets
        .iter()
        .map(|s| (s.name.as_str(), s.address.as_str(), s.mode, s.backlog))
        .collect();
    assert_eq!(
        sockets,
        [
            ("app", "unix:/etc/house/run/app.sock", 0o600, 5),
            ("http", "127.0.0.1:80", 0o660, 2048)
        ]
    );
    assert_eq!(
        (web.policy.auto_restart, web.policy.stop_signal),
        (AutoRestart::Always, 3)
    );
    assert_eq!(
        (web.policy.stop_scope, web.policy.gate),
        (
            Scope::Group,
            Gate::Told {
                within: Duration::from_secs(5)
            }
        )
    );
}

#[test]
fn processes_of_one_program() {
    let config =
        read("programs:\n  web: { command: sh -c 'echo \"a b\"', numprocs: 2 }\n").unwrap();
    let told: Vec<_> = config
        .processes
        .iter()
        .map(|p| (p.id(), p.log_files()[0].1.to_owned()))
        .collect();
    assert_eq!(
        told[1],
        ("web:web_01".into(), "/etc/house/logs/web_01.log".into())
    );
    assert_eq!(config.processes[0].command, ["sh", "-c", "echo \"a b\""]);
}

#[test]
fn ready_by_asking() {
    let by = |value: &str| program(&format!("    ready: {value}\n")).ready;
    let http = |peer, path: &str| Ready::Http {
        peer,
        path: path.to_owned(),
    };
    assert_eq!(
        by("{ http: 'http://localhost/up?a=b' }"),
        http(HttpPeer::Tcp("localhost:80".into()), "/up?a=b")
    );
    assert_eq!(
        by("{ http: 'http://[::1]:8000' }"),
        http(HttpPeer::Tcp("[::1]:8000".into()), "/")
    );
    assert_eq!(
        by("{ http: 'unix:run/a.sock:/health' }"),
        http(HttpPeer::Unix("/etc/house/run/a.sock".into()), "/health")
    );
    assert_eq!(
        by("{ tcp: 'localhost:1' }"),
        Ready::Tcp {
            address: "localhost:1".into()
        }
    );
}

#[test]
fn problems() {
    check("stopsignal: 99", "no signal");
    check("umask: 22", "octal");
    check("umask: '9'", "octal");
    check("exitcodes: [0, 256]", "0 to 255");
    check("exitcodes: many", "0 to 255");
    check(
        "killasgroup: false\n    stopasgroup: true",
        "would not be killed",
    );
    check(
        "ready: { http: 'https://x/' }",
        "expected http://HOST:PORT/PATH",
    );
    check(
        "ready: { http: 'http://x/', tcp: 'x:1' }",
        "says more than one thing",
    );
    check("ready: { fd: 1 }", "expected 3 or more");
    check("ready: soon", "is not known here");
    check("ready: 'exec:'", "is not known here");
    check("depends_on: { other: ready }", "no program or group");
    check("depends_on: web", "wait for one another: web, web");
    check("depends_on: { web: well }", "not a condition");
    check("liveness: notify", "can be asked only once");
    check("rlimits: { files: 1 }", "no limit files");
    check("rlimits: { nofile: '3:2' }", "not usable as a limit");
    check("nice: 20", "expected -20 to 19");
    check("cpu_max: half", "write a percentage");
    check("capabilities: [fly]", "no capability fly");
    check("schedule: '61 * * * *'", "no minute");
    check("timezone: UTC", "there is no schedule");
    check(
        "timezone: Mars/Base\n    schedule: '@daily'",
        "no time zone",
    );
    check("shutdown_on: sometimes", "there are never, failure, end");
    check("ready: { tcp: 'x:0' }", "HOST:PORT");
    check("ready_timeout: 0", "no time");
    check("environment: { 'A=B': c }", "name of a variable");
    check("sockets: { 'a b': ':80' }", "name of a socket");
    check("sockets: { web: {} }", "is missing");
    check(
        "stderr_logfile: x\n    redirect_stderr: true",
        "nothing would be written",
    );
    check("startsecs: [1]", "startsecs");
}

#[test]
fn programs_must_not_get_in_each_others_way() {
    let told = |text: &str| trine_service::exit::chain(&read(text).unwrap_err());
    let names = told(
        "groups: { all: { programs: [web, web_01] } }
programs:\n  web: { command: [a], numprocs: 2 }\n  web_01: { command: [a] }\n",
    );
    assert!(
        names.contains("two processes would be called all:web_01"),
        "{names}"
    );
    let logs = told(
        "programs:\n  a: { command: [a], stdout_logfile: x }\n  b: { command: [a], stderr_logfile: ./x }\n",
    );
    assert!(logs.contains("would write the same file"), "{logs}");
    read("programs:\n  a: { command: [a], numprocs: 2, stdout_logfile: x, stderr_logfile: y }\n")
        .unwrap();
}

#[test]
fn everything_that_supervisord_has() {
    let config = read(
        "identifier: house
nodaemon: false
silent: true
umask: '077'
directory: work
user: nobody
minfds: 4096
minprocs: 300
environment: { A: b }
childlogdir: children
nocleanup: true
strip_ansi: true
hangup: restart
log: { format: supervisord, level: blather, file: syslog, maxbytes: 1KB, backups: 0 }
servers:
  unix_http_server: { listen: 'unix:s.sock', mode: '0770', owner: 'root:root', username: me, password: '{SHA}x' }
  inet_http_server: { listen: '*:9001' }
  named: { listen: 'web.example:9002' }
rpcinterfaces: []
supervisorctl: { serverurl: 'unix:///s.sock', username: a, password: 1, prompt: p, history_file: h }
groups: { all: { programs: [web, php], priority: 5 }, none: {} }
programs:
  web: { command: run, numprocs: 2, numprocs_start: 7, priority: 3, directory: inherit, stdout_logfile: AUTO,
         stdout_syslog: true, stdout_capture_maxbytes: 1MB, stdout_events_enabled: true, serverurl: 'http://x:1' }
  php: { command: [run, a b], stdin_socket: { listen: 'unix:php.sock', mode: '0700', owner: nobody } }
  ears: { command: hear, events: [tick_60, PROCESS_STATE], buffer_size: 99 }
",
    )
    .unwrap();
    assert_eq!(config.hangup, Hangup::Restart);
    assert_eq!(
        (config.log.format, config.log.level, &config.log.target),
        (LogFormat::Supervisord, Level::Blather, &LogTarget::Syslog)
    );
    assert_eq!((config.log.max_bytes, config.log.backups), (1024, 0));
    let daemon = &config.daemon;
    assert!(daemon.daemonize && daemon.silent);
    assert_eq!(
        (daemon.umask, daemon.min_descriptors, daemon.min_processes),
        (Some(0o77), 4096, 300)
    );
    let servers: Vec<_> = config
        .servers
        .iter()
        .map(|server| (server.name.as_str(), server.url()))
        .collect();
    assert_eq!(
        servers,
        [
            ("inet_http_server", "http://localhost:9001".to_owned()),
            ("named", "http://web.example:9002".to_owned()),
            ("unix_http_server", "unix:///etc/house/s.sock".to_owned())
        ]
    );
    let groups: Vec<_> = config
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.priority))
        .collect();
    assert_eq!(groups, [("all", 5), ("ears", -1), ("none", 999)]);
    let listener = config.group("ears").unwrap().listener.clone().unwrap();
    assert_eq!(listener.events, ["PROCESS_STATE", "TICK_60"]);
    let ids: Vec<_> = config.processes.iter().map(|p| p.id()).collect();
    assert_eq!(ids, ["all:php", "all:web_07", "all:web_08", "ears"]);
    let (php, web) = (&config.processes[0], &config.processes[1]);
    assert_eq!(php.command_line, "run 'a b'");
    let socket = php.stdin_socket.as_ref().unwrap();
    assert_eq!(
        (socket.address.as_str(), socket.owner.as_deref()),
        ("unix:/etc/house/php.sock", Some("nobody"))
    );
    assert_eq!(
        (web.group_priority, web.priority, &web.directory),
        (5, 3, &None)
    );
    assert_eq!(web.stdout.to, Destination::Auto);
    assert!(web.stdout.syslog && web.stdout.events && web.stdout.capture_bytes == 1 << 20);
}

#[test]
fn waits_between_restarts() {
    use crate::program::backoff::{Backoff, Exponential};
    let by = |keys: &str| program(keys).policy.backoff;
    assert_eq!(by(""), Backoff::default());
    assert_eq!(
        by("    restart_delay: 100ms\n    restart_factor: 1.5\n    restart_jitter: false\n"),
        Backoff::Exponential(Exponential {
            first: Duration::from_millis(100),
            factor_percent: 150,
            jitter: false,
            ..Exponential::default()
        })
    );
    check("restart_factor: 0.5", "from 1 to 1000");
}
