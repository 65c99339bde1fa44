//! Servers of others under trine-supervisor: gunicorn, nginx and redis, with held sockets and readiness.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use e2e::client::{self};
use e2e::folder::Folder;
use e2e::{port, process, tools, wait};

use super::{start, wait_state};

#[test]
fn gunicorn_on_a_held_socket_loses_no_connection_over_a_restart() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let address = port::free();
    let (supervisor, control) = start(
        &folder,
        &format!(
            "  web:
    command: ['{venv}/bin/gunicorn', --workers, '2', --chdir, '{apps}', 'rooms:app']
    sockets: {{ http: '{address}' }}
    ready: notify
  after:
    command: [sleep, '1000']
    startsecs: 0s
    depends_on: {{ web: ready }}
",
            venv = venv.display(),
            apps = tools::apps().display(),
        ),
    );
    let pid = control.wait_running("web");
    control.wait_running("after");
    assert_eq!(client::get(address, "/pid").status, 200);
    // While it restarts, whoever connects waits for an answer.
    let asking = std::thread::spawn(move || {
        (0..40)
            .map(|_| client::get(address, "/pid").status)
            .collect::<Vec<_>>()
    });
    control.post("/v1/programs/web/restart?wait=true");
    let answers = asking.join().unwrap();
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_ne!(control.wait_running("web"), pid);
    supervisor.stop();
}

#[test]
fn nginx_and_redis_are_ready_when_they_answer() {
    let (Some(nginx), Some(redis)) = (
        tools::nginx(),
        tools::program("redis-server", "redis-server"),
    ) else {
        return;
    };
    let folder = Folder::new();
    let (http, tcp) = (port::free(), port::free());
    folder.write(
        "nginx.conf",
        format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
             server {{ listen {http}; location /up {{ return 200 up; }} }} }}\n"
        ),
    );
    let (supervisor, control) = start(
        &folder,
        &format!(
            "  nginx:
    command: ['{nginx}', -p, '{dir}', -c, '{dir}/nginx.conf']
    stopsignal: QUIT
    ready: {{ http: 'http://{http}/up' }}
    liveness: {{ http: 'http://{http}/up' }}
    depends_on: {{ redis: ready }}
  redis:
    command: ['{redis}', --port, '{port}', --bind, 127.0.0.1, --save, '', --dir, '{dir}']
    ready: {{ log: Ready to accept connections }}
    liveness: {{ tcp: '{tcp}' }}
",
            nginx = nginx.display(),
            redis = redis.display(),
            dir = folder.path().display(),
            port = tcp.port(),
        ),
    );
    control.wait_running("redis");
    control.wait_running("nginx");
    assert_eq!(client::get(http, "/up").status, 200);
    let mut redis = TcpStream::connect(tcp).unwrap();
    redis.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    redis.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    // redis is needed: it goes last.
    supervisor.stop();
    let log = folder.read("logs/redis.log");
    assert!(log.contains("Ready to accept connections"), "{log}");
}

#[test]
fn five_hundred_programs() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  many:
    command: [sleep, '100000']
    numprocs: 500
    startsecs: 0s
    stdout_logfile: NONE
    stderr_logfile: NONE
",
    );
    let running = |wanted: usize| {
        wait::until("all of them", || {
            let programs = control.get("/v1/programs");
            let programs = programs["programs"].as_array().unwrap();
            let count = programs.iter().filter(|p| p["state"] == "RUNNING").count();
            (programs.len() == 500 && count == wanted).then_some(())
        });
    };
    running(500);
    control.kill_brain();
    running(500);
    control.post("/v1/programs/many/stop?wait=true");
    running(0);
    supervisor.stop();
}

#[test]
fn hostile_programs_harm_nobody_else() {
    let folder = Folder::new();
    let (supervisor, control) = start(
        &folder,
        "  good:
    command: [sh, -c, 'while true; do echo fine; sleep 0.05; done']
    startsecs: 0s
    stdout_logfile: good.log
  deaf:
    command: [sh, -c, 'trap \"\" TERM; while true; do sleep 0.05; done']
    startsecs: 0s
    stopwaitsecs: 1s
  closes_stdout:
    command: [sh, -c, 'exec >&- 2>&-; exec sleep 1000']
    startsecs: 0s
  floods:
    command: [sh, -c, 'head -c 200000000 /dev/zero | tr \"\\0\" x; echo; echo flooded; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: flood.log
    stdout_logfile_maxbytes: 10MB
    stdout_logfile_backups: 2
  garbage:
    command: [sh, -c, 'head -c 1000000 /dev/urandom; echo; echo end-of-garbage; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: garbage.log
  quits:
    command: 'true'
    startretries: 2
  no_such:
    command: [/no/such/program]
    startretries: 1
  forks_away:
    command: [sh, -c, 'rm -f there; setsid sh -c \"echo \\$\\$ >> away; : > there; exec sleep 1000\" & until test -e there; do sleep 0.02; done']
    startsecs: 100s
    startretries: 1
",
    );
    let good = control.wait_running("good");
    wait_state(&control, "quits", "FATAL");
    // It ends before it counts as started, and what it has put into the background ends with it, each time.
    wait_state(&control, "forks_away", "FATAL");
    let away = folder.read("away");
    let away: Vec<i32> = away.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(away.len(), 2);
    away.into_iter().for_each(process::wait_gone);
    wait_state(&control, "no_such", "FATAL");
    control.wait_running("closes_stdout");
    wait::until("the flood to be over", || {
        folder.read("flood.log").contains("flooded").then_some(())
    });
    wait::until("the garbage", || {
        let bytes = std::fs::read(folder.join("garbage.log")).unwrap();
        bytes.ends_with(b"end-of-garbage\n").then_some(())
    });
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |data| data.len());
    assert!(size("flood.log") <= 10 << 20 && size("flood.log.3") == 0);
    assert_eq!(size("garbage.log"), 1_000_000 + 16);
    control.post("/v1/programs/deaf/stop?wait=true");
    assert_eq!(control.program("deaf")["state"], "STOPPED");
    assert_eq!(control.wait_running("good"), good);
    supervisor.stop();
}
