//! Configurations in Python: what is refused and in which words, what a reload reads again, and that gunicorn's own
//! table of settings is ours.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use e2e::client::get;
use e2e::control::Control;
use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::{tools, wait};

use super::wsgi;

/// Starts it in a folder with this `gunicorn.conf.py` and returns code and output.
#[track_caller]
fn refused(config: &str, args: &[&str]) -> String {
    let Some(venv) = tools::venv() else {
        return String::new();
    };
    let folder = Folder::new();
    folder.write("gunicorn.conf.py", config);
    folder.write("hello.py", "def app(environ, start_response): return []\n");
    let launch = Launch::trine("trine-wsgi")
        .args(args)
        .arg("hello:app")
        .dir(folder.path())
        .env("VIRTUAL_ENV", &venv);
    let (code, output) = daemon::run(launch, &folder);
    assert_eq!(code, 1, "{args:?} {config}\n{output}");
    output
}

/// Refused in one line, which names the setting and the way out.
#[track_caller]
fn refused_in_words(config: &str, args: &[&str], setting: &str, says: &str) {
    if tools::venv().is_none() {
        return;
    }
    let output = refused(config, args);
    let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    let [line] = lines.as_slice() else {
        panic!("one line wanted:\n{output}")
    };
    assert!(line.starts_with("Error: "), "{line}");
    for text in [setting, says] {
        assert!(line.contains(text), "{text:?} is not in: {line}");
    }
}

#[test]
fn what_is_not_supported_is_refused_in_one_line_that_says_what_to_use() {
    for (config, args, setting, says) in [
        (
            "worker_class = 'gevent'",
            &[][..],
            "worker_class",
            "gthread",
        ),
        ("", &["-k", "gevent_pywsgi"], "worker_class", "gthread"),
        (
            "",
            &["-k", "egg:gunicorn#gevent"],
            "worker_class",
            "gthread",
        ),
        ("", &["-k", "eventlet"], "worker_class", "gthread"),
        ("", &["-k", "tornado"], "worker_class", "Tornado"),
        ("", &["-k", "asgi"], "worker_class", "uvicorn"),
        (
            "",
            &["-k", "uvicorn.workers.UvicornH11Worker"],
            "worker_class",
            "uvicorn",
        ),
        ("", &["-k", "my.Worker"], "worker_class", "hooks"),
        (
            "class Mine: pass\nworker_class = Mine",
            &[],
            "__config__.Mine",
            "hooks",
        ),
        (
            "def choose(): return 'gevent'\nworker_class = choose",
            &[],
            "worker_class",
            "gthread",
        ),
        ("", &["--http-protocols", "h2"], "http_protocols", "proxy"),
        ("http2_cleartext = True", &[], "http2_cleartext", "proxy"),
        (
            "",
            &["--http2-max-concurrent-streams", "7"],
            "http2_max_concurrent_streams",
            "proxy",
        ),
        (
            "",
            &["--http2-initial-window-size", "7"],
            "http2_initial_window_size",
            "proxy",
        ),
        (
            "",
            &["--http2-max-frame-size", "20000"],
            "http2_max_frame_size",
            "proxy",
        ),
        (
            "",
            &["--http2-max-header-list-size", "7"],
            "http2_max_header_list_size",
            "proxy",
        ),
        ("dirty_apps = ['a:B']", &[], "dirty_apps", "Celery"),
        ("", &["--dirty-workers", "1"], "dirty_workers", "Celery"),
        ("", &["--dirty-timeout", "1"], "dirty_timeout", "Celery"),
        ("", &["--dirty-threads", "2"], "dirty_threads", "Celery"),
        (
            "",
            &["--dirty-graceful-timeout", "1"],
            "dirty_graceful_timeout",
            "Celery",
        ),
        (
            "def on_dirty_starting(arbiter): pass",
            &[],
            "on_dirty_starting",
            "Celery",
        ),
        (
            "def dirty_post_fork(arbiter, worker): pass",
            &[],
            "dirty_post_fork",
            "Celery",
        ),
        (
            "def dirty_worker_init(worker): pass",
            &[],
            "dirty_worker_init",
            "Celery",
        ),
        (
            "def dirty_worker_exit(arbiter, worker): pass",
            &[],
            "dirty_worker_exit",
            "Celery",
        ),
        (
            "def ssl_context(config, factory): pass",
            &[],
            "ssl_context",
            "certfile",
        ),
        ("", &["--protocol", "scgi"], "protocol", "fastcgi"),
        ("", &["-e", "nothing"], "nothing", "invalid"),
    ] {
        refused_in_words(config, args, setting, says);
    }
}

#[test]
fn settings_that_are_refused_may_stand_there_with_their_defaults() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write("hello.py", "def app(environ, start_response): return []\n");
    folder.write(
        "gunicorn.conf.py",
        "http_protocols = 'h1'\nhttp2_cleartext = False\ndirty_workers = 0\ndirty_apps = []\nworker_class = 'gthread'\n",
    );
    let launch = Launch::trine("trine-wsgi")
        .args(["--check-config", "hello:app"])
        .dir(folder.path())
        .env("VIRTUAL_ENV", &venv);
    let (code, output) = daemon::run(launch, &folder);
    assert_eq!((code, output.as_str()), (0, ""));
}

#[test]
fn a_reload_reads_the_python_configuration_again() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let config = |workers: &str, colour: &str| {
        let text = format!(
            "import os\ncontrol_socket_mode = 0o660\nbind = {bind:?}\nworkers = {workers}\nraw_env = ['COLOUR={colour}']\nchdir = {:?}\ncontrol = {:?}\n",
            tools::apps(),
            folder.join("wsgi.sock"),
        );
        folder.write("gunicorn.conf.py", text);
    };
    config("1", "red");
    let launch = Launch::trine("trine-wsgi")
        .arg("rooms:app")
        .dir(folder.path())
        .env("VIRTUAL_ENV", &venv);
    let mut server = launch.notify().start(&folder).wait_ready();
    let app = folder.join("app.sock");
    let control = Control::new(folder.join("wsgi.sock"));
    let workers = || {
        control.status()["detail"]["workers"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let pid = || get(app.clone(), "/pid").text();
    let mode = std::fs::metadata(folder.join("wsgi.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    let first = pid();

    config("3", "green");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait::until("three workers", || {
        (workers() == 3 && pid() != first).then_some(())
    });

    // What is wrong now changes nothing, and is told.
    for (workers_now, says) in [
        ("1 / 0", "ZeroDivisionError"),
        ("-1", "Value must be positive"),
        ("(", "SyntaxError"),
    ] {
        config(workers_now, "blue");
        server.signal(nix::sys::signal::Signal::SIGHUP);
        wait::until("the failed reload is told", || {
            let report = control.status()["last_reload"].to_string();
            (report.contains(says) && report.contains("\"ok\":false")).then_some(())
        });
        assert_eq!(workers(), 3);
        assert_eq!(get(app.clone(), "/pid").status, 200);
    }

    config("2", "red");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait::until("two workers", || (workers() == 2).then_some(()));
    server.stop();
}

#[test]
fn spew_prints_what_is_run_in_every_thread() {
    let Some(venv) = tools::venv() else { return };
    for threads in ["1", "2"] {
        let folder = Folder::new();
        let bind = format!("unix:{}", folder.join("app.sock").display());
        let launch = wsgi(
            &venv,
            &["--spew", "--threads", threads, "-b", &bind, "rooms:app"],
        );
        let server = launch.notify().start(&folder).wait_ready();
        assert_eq!(get(folder.join("app.sock"), "/pid").status, 200);
        let run = wait::until("a line of the application", || {
            let output = server.output();
            let line = output
                .lines()
                .find(|line| line.starts_with("rooms:") && line.contains("start_response("));
            line.map(str::to_owned)
        });
        let number = run
            .split(':')
            .nth(1)
            .and_then(|number| number.parse::<u32>().ok());
        assert!(number.is_some(), "{run}");
        server.stop();
    }
}

#[test]
fn with_reload_a_changed_file_is_served_and_a_broken_one_is_a_page() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let write = |body: &str| {
        let text = format!(
            "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [{body}]\n"
        );
        folder.write("site_here.py", text);
    };
    write("b'one'");
    folder.write("words.txt", "one");
    let launch = Launch::trine("trine-wsgi")
        .args([
            "--reload",
            "--reload-extra-file",
            "words.txt",
            "-b",
            &bind,
            "site_here:app",
        ])
        .dir(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VIRTUAL_ENV", &venv);
    let server = launch.notify().start(&folder).wait_ready();
    let text = || get(folder.join("app.sock"), "/").text();
    assert_eq!(text(), "one");
    write("b'two'");
    wait::until("the changed file", || (text() == "two").then_some(()));
    write("b'three'(");
    wait::until("the syntax error's page", || {
        text().contains("SyntaxError").then_some(())
    });
    assert!(server.output().contains("SyntaxError"));
    write("b'four'");
    wait::until("the mended file", || (text() == "four").then_some(()));
    folder.write("words.txt", "two");
    wait::until("the extra file", || {
        server.output().contains("words.txt modified").then_some(())
    });
    server.stop();
}

#[test]
fn every_flag_of_gunicorn_is_in_the_list_of_parity() {
    let Some(venv) = tools::venv() else { return };
    let dump = "
from gunicorn.config import KNOWN_SETTINGS
for setting in KNOWN_SETTINGS:
    flags = ' '.join('`%s`' % flag for flag in setting.cli or [])
    print('%s: | `%s` | %s |' % (setting.section, setting.name, flags))
";
    let python = Command::new(venv.join("bin/python"))
        .args(["-c", dump])
        .output()
        .unwrap();
    let theirs = String::from_utf8(python.stdout).unwrap();
    let parity =
        std::fs::read_to_string(tools::repository().join("docs/wsgi/gunicorn-parity.md")).unwrap();
    let mut section = "";
    let mut ours = vec![];
    for line in parity.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if line.starts_with("| `") {
            ours.push(format!("{section}: {line}"));
        }
    }
    assert_eq!(theirs.lines().count(), ours.len());
    for line in theirs.lines() {
        assert!(
            ours.iter().any(|own| own.starts_with(line)),
            "not in the list: {line}"
        );
    }
}

#[test]
fn yaml_takes_every_setting() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let config = folder.write(
        "wsgi.yaml",
        "wsgi_app: rooms:app
bind: ['unix:app.sock', 9]
worker_class: gthread
threads: 2
timeout: 1m30s
raw_env: [A=1, B=2]
umask: 18
user: root
logconfig_dict:
  version: 1
  loggers: {x: {level: INFO}}
secure_scheme_headers: {X-FORWARDED-PROTO: https}
forwarded_allow_ips: [10.0.0.0/8, '::1']
pidfile: run/wsgi.pid
when_ready: os.path.basename
max_worker_memory: 512MiB
",
    );
    let launch = wsgi(&venv, &["--print-config", "-c"])
        .arg(&config)
        .dir(folder.path());
    let (code, output) = daemon::run(launch, &folder);
    assert_eq!(code, 0, "{output}");
    let at = folder.path().display();
    for (name, value) in [
        ("bind", format!("['unix:{at}/app.sock', '9']")),
        ("timeout", "90".to_owned()),
        ("raw_env", "['A=1', 'B=2']".to_owned()),
        ("umask", "18".to_owned()),
        ("user", "0".to_owned()),
        (
            "logconfig_dict",
            "{'version': 1, 'loggers': {'x': {'level': 'INFO'}}}".to_owned(),
        ),
        (
            "secure_scheme_headers",
            "{'X-FORWARDED-PROTO': 'https'}".to_owned(),
        ),
        ("forwarded_allow_ips", "['10.0.0.0/8', '::1']".to_owned()),
        ("pidfile", format!("{at}/run/wsgi.pid")),
        ("when_ready", "<basename()>".to_owned()),
        ("max_worker_memory", "536870912".to_owned()),
    ] {
        let line = output
            .lines()
            .find(|line| line.split(' ').next() == Some(name));
        assert_eq!(
            line.and_then(|line| line.split_once(" = "))
                .map(|(_, value)| value),
            Some(value.as_str()),
            "{name}"
        );
    }
}
