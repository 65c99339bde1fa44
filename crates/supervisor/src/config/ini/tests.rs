//! What supervisord.conf becomes, which problems it has, and which traps are told. That the values are supervisord's is
//! checked against the real one, in `tests/it/interop`.

use super::*;
use crate::config::{Destination, Hangup, LogTarget};
use crate::program::state::{AutoRestart, Scope};

fn load_in(folder: &Path, text: &str) -> Result<Loaded, String> {
    let file = folder.join("s.conf");
    std::fs::write(&file, text).unwrap();
    load(&file, &Overrides::default()).map_err(|err| trine_service::exit::chain(&err))
}

fn read(text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    load_in(folder.path(), text).unwrap_or_else(|err| panic!("{text}: {err}"))
}

fn program(keys: &str) -> crate::config::Process {
    let text = format!("[supervisord]\n[program:web]\ncommand=run\n{keys}\n");
    (*read(&text).config.processes.remove(0)).clone()
}

#[track_caller]
fn refused(text: &str, line: u32, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let told = load_in(folder.path(), text).err().unwrap_or_default();
    let is_it = |told: &str| told.contains(&format!("s.conf:{line}:")) && told.contains(words);
    assert!(
        told.lines().any(is_it),
        "line {line}, {words:?} is not in {told:?}"
    );
}

#[track_caller]
fn trapped(text: &str, line: u32, words: &str) {
    let told: Vec<_> = read(text).traps.iter().map(ToString::to_string).collect();
    let is_it = |told: &String| told.contains(&format!("s.conf:{line}:")) && told.contains(words);
    assert!(
        told.iter().any(is_it),
        "line {line}, {words:?} is not in {told:?}"
    );
}

#[test]
fn a_program_that_says_nothing() {
    let web = program("");
    assert_eq!(
        (web.id().as_str(), web.priority, web.autostart),
        ("web", 999, true)
    );
    assert_eq!(
        (web.directory, web.stdout.to, web.stderr.to),
        (None, Destination::Auto, Destination::Auto)
    );
    assert_eq!((web.stdout.max_bytes, web.stdout.backups), (50 << 20, 10));
    assert_eq!(web.policy.auto_restart, AutoRestart::Unexpected);
    assert_eq!(
        (web.policy.stop_scope, web.policy.kill_scope),
        (Scope::Main, Scope::Main)
    );
    let all = read("[supervisord]\n");
    let LogTarget::File(log) = all.config.log.target else {
        panic!()
    };
    assert!(log.ends_with("supervisord.log") && log.is_absolute());
    assert!(all.config.daemon.daemonize && all.config.hangup == Hangup::Restart);
    assert!(all.traps.is_empty() && all.config.rpc_namespaces.is_empty());
}

#[test]
fn numbered_processes_and_their_names() {
    let config = read(
        "[supervisord]
[group:all]
programs=web
[program:web]
command=run --port=80%(process_num)02d --of %(numprocs)d %(group_name)s/%(program_name)s %(ENV_N)s
process_name=%(program_name)s-%(process_num)d
numprocs=2
numprocs_start=7
environment=N=\"n%(process_num)d\",P=\"100%%\"
stdout_logfile=/var/log/%(program_name)s%%%%%(process_num)d
directory=/srv/%(ENV_N)s
",
    )
    .config;
    let web = &config.processes[1];
    assert_eq!(web.id(), "all:web-8");
    assert_eq!(
        web.command,
        ["run", "--port=8008", "--of", "2", "all/web", "n8"]
    );
    assert_eq!(web.environment["P"], "100%");
    assert_eq!(web.stdout.path(), Some(Path::new("/var/log/web%8")));
    assert_eq!(web.directory.as_deref(), Some(Path::new("/srv/n8")));
    assert_eq!(config.groups.len(), 1);
}

#[test]
fn includes_and_here() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let more = "[program:b]\ncommand=%(here)s/run\n[program:a]\nautostart=false\n";
    std::fs::write(folder.path().join("conf.d/b.conf"), more).unwrap();
    std::fs::write(folder.path().join("conf.d/.hidden.conf"), "[broken").unwrap();
    let loaded = load_in(
        folder.path(),
        "[supervisord]\n[program:a]\ncommand=%(here)s/run\n[include]\nfiles = conf.d/*.conf none/*.conf\n",
    )
    .unwrap();
    let command = |at: usize| loaded.config.processes[at].command[0].clone();
    let here = folder.path().display();
    assert_eq!(command(0), format!("{here}/run"));
    assert_eq!(command(1), format!("{here}/conf.d/run"));
    assert!(!loaded.config.processes[0].autostart);
    assert_eq!(loaded.infos.len(), 1);
    let traps = loaded.traps.to_string();
    assert!(
        traps.contains("no file matches")
            && traps.contains("b.conf:3: [program:a]: this section is there already"),
        "{traps}"
    );
}

#[test]
fn keys_that_only_we_have_are_written_as_in_yaml() {
    let web =
        program("ready = { http: 'http://127.0.0.1:80/up' }\nsockets = { http: '127.0.0.1:80' }");
    assert_eq!(web.sockets.len(), 1);
    let main = read("[supervisord]\ncontrol=/run/c.sock\nhangup=reload\n").config;
    assert_eq!(main.control.as_deref(), Some(Path::new("/run/c.sock")));
    assert_eq!(main.hangup, Hangup::Reload);
    let head = "[supervisord]\n[program:web]\ncommand=run\n";
    refused(
        &format!("{head}ready = soon\n"),
        4,
        "\"soon\" is not known here",
    );
    refused(
        &format!("{head}ready = {{ http: 7\n"),
        4,
        "[program:web].ready",
    );
}

#[test]
fn problems_are_told_at_once_with_their_lines() {
    let text = "[supervisord]
loglevel=loud
user=nobody-by-that-name
directory=/no/such/folder
[inet_http_server]
port=http
username=me
[program:web]
command=run %(nothing)s
autostart=maybe
stopsignal=PLEASE
exitcodes=999
numprocs=2
[eventlistener:ears]
command=hear
events=TICK_7
redirect_stderr=true
result_handler=my.module:handler
[group:all]
programs=wbe,ears
[rpcinterface:x]
supervisor.rpcinterface_factory=my.module:make
[fcgi-program:php]
command=php
socket=unix://php.sock
[program:no command]
";
    let told = [
        (2, "\"loud\" is no log level"),
        (3, "there is no user"),
        (4, "is no folder"),
        (6, "expected HOST:PORT"),
        (5, "give both username and password"),
        (9, "%(nothing) is not known here"),
        (10, "expected true or false"),
        (11, "\"PLEASE\" is no signal"),
        (12, "exit codes from 0 to 255"),
        (8, "%(program_name)s_%(process_num)02d"),
        (16, "there is no event TICK_7"),
        (17, "standard error"),
        (18, "Python code"),
        (20, "did you mean \"web\"?"),
        (20, "\"ears\""),
        (22, "my.module:make is Python code"),
        (25, "is not an absolute path"),
        (26, "not usable as a name"),
        (26, "is missing"),
    ];
    for (line, words) in told {
        refused(text, line, words);
    }
}

#[test]
fn traps_are_told_and_change_nothing() {
    let head = "[supervisord]\n[program:web]\ncommand=run\n";
    trapped(
        &format!("{head}autostrat=false\n"),
        4,
        "did you mean \"autostart\"?",
    );
    trapped(
        &format!("{head}environment=A=http://x/?q=1\n"),
        4,
        "is dropped",
    );
    trapped(
        &format!("{head}stdout_logfile=syslog\n"),
        4,
        "stdout_syslog = true",
    );
    trapped(
        &format!("{head}stdout_logfile_maxbytes=0\n"),
        4,
        "may fill the disk",
    );
    trapped(
        &format!("{head}redirect_stderr=1\nstderr_logfile=/x\n"),
        5,
        "nothing is written there",
    );
    trapped(
        &format!("{head}[porgram:x]\ncommand=a\n"),
        4,
        "did you mean \"program\"?",
    );
    trapped(
        &format!("{head}stdout_logfile=/l\n[program:x]\ncommand=a\nstderr_logfile=/l\n"),
        7,
        "would write the same file",
    );
}
