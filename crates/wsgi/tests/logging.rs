//! Both logs: written by the server in gunicorn's form, or through Python's loggers when something asks for them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::mpsc;

use harness::{Server, wait_for};
use nix::sys::signal::Signal;

const APP: &str = "logging_app:app";

/// The lines that hold `text`.
fn lines(log: &str, text: &str) -> Vec<String> {
    let found = log.lines().filter(|line| line.contains(text));
    found.map(str::to_owned).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until `path` has this text.
#[track_caller]
fn wait_text(path: &Path, text: &str) -> String {
    wait_for(&format!("{text:?} in {}", path.display()), || {
        Some(read(path)).filter(|log| log.contains(text))
    })
}

/// `[2026-11-25 21:37:12 +0000] [10587] [INFO] message` without what changes from run to run.
fn shape(line: &str) -> String {
    let mut parts = line.splitn(3, "] ");
    let (time, pid, rest) = (parts.next().unwrap(), parts.next().unwrap(), parts.next());
    assert!(
        jiff::Zoned::strptime("[%Y-%m-%d %H:%M:%S %z", time).is_ok(),
        "{line}"
    );
    assert!(pid.trim_start_matches('[').parse::<u32>().is_ok(), "{line}");
    rest.unwrap_or_default().to_owned()
}

#[test]
fn the_servers_lines_and_the_applications_are_alike_and_go_to_the_same_files() {
    for threads in ["1", "2"] {
        let dir = tempfile::tempdir().unwrap();
        let (error, access) = (dir.path().join("error"), dir.path().join("access"));
        let server = Server::start(&[
            "--threads",
            threads,
            "--error-logfile",
            error.to_str().unwrap(),
            "--access-logfile",
            access.to_str().unwrap(),
            APP,
        ]);
        assert_eq!(server.get("/one"), "hello");
        let log = wait_text(&error, "the application at /one");
        let said = lines(&log, "the application at");
        assert_eq!(shape(&said[0]), "[WARNING] the application at /one");
        assert!(shape(&lines(&log, "Booting worker")[0]).starts_with("[INFO] Booting worker"));
        server.get("/raise");
        let log = wait_text(&error, "100% on purpose");
        assert!(
            log.contains(
                "[ERROR] Error handling request GET /raise\nTraceback (most recent call last):\n"
            ),
            "{log}"
        );
        wait_text(&access, "/raise");

        // logrotate: both writers of both files go on in new ones.
        for path in [&error, &access] {
            fs::rename(path, path.with_extension("1")).unwrap();
        }
        server.signal(Signal::SIGUSR1);
        wait_for("the files to be there again", || {
            // The worker opens its own after the arbiter has; it has when a line of the application comes.
            server.get("/two");
            (read(&error).contains("the application at /two") && read(&access).contains("/two"))
                .then_some(())
        });
        server.get("/raise");
        wait_text(&error, "Error handling request GET /raise");
        server.stop();
    }
}

#[test]
fn a_logger_class_writes_both_logs() {
    let conf = harness::apps().join("logger_conf.py");
    for threads in ["1", "2"] {
        let args = ["-c", conf.to_str().unwrap(), "--threads", threads, APP];
        let server = Server::start(&args);
        server.ask(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        server.ask(b"GET /a?b=\"c\" HTTP/1.1\r\nHost: h\r\nUser-Agent: x\"y\r\nAuthorization: Basic dXNlcjpwdw==\r\nConnection: close\r\n\r\n");
        server.ask(b"GET /raise HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        server.signal(Signal::SIGHUP);
        server.wait_notified("READY=1");
        let log = wait_text(&server.dir.path().join("log"), "GET /raise HTTP");
        assert_eq!(
            lines(&log, "HTTP/1.1"),
            [
                r#" [now] "GET /a?b=\"c\" HTTP/1.1" 200 5 redacted x\"y GET user"#,
                r#" [now] "GET /raise HTTP/1.1" 500 0 redacted - GET -"#,
            ]
        );
        let set_up = lines(&log, "Redacting is set up with 1 workers");
        assert!(set_up.len() >= 2, "with every reload: {log}");
        assert!(log.contains("[INFO] info: Booting worker"), "{log}");
        assert!(log.contains("Traceback (most recent call last):"), "{log}");
        server.stop();
    }
}

/// What a configuration of logging says of one file.
fn to_file(path: &Path) -> String {
    format!(
        r#"{{"version": 1, "root": {{"level": "INFO", "handlers": []}},
            "loggers": {{
                "gunicorn.error": {{"level": "DEBUG", "handlers": ["file"], "propagate": false}},
                "gunicorn.access": {{"level": "INFO", "handlers": ["file"], "propagate": false}}}},
            "handlers": {{"file": {{"class": "logging.FileHandler", "filename": "{}", "formatter": "short"}}}},
            "formatters": {{"short": {{"format": "%(name)s|%(levelname)s|%(message)s"}}}}}}"#,
        path.display()
    )
}

const INI: &str = "[loggers]\nkeys=root,error,access\n[handlers]\nkeys=file\n[formatters]\nkeys=short\n\
    [logger_root]\nlevel=INFO\nhandlers=\n\
    [logger_error]\nlevel=DEBUG\nhandlers=file\npropagate=0\nqualname=gunicorn.error\n\
    [logger_access]\nlevel=INFO\nhandlers=file\npropagate=0\nqualname=gunicorn.access\n\
    [handler_file]\nclass=FileHandler\nargs=('LOG',)\nformatter=short\n\
    [formatter_short]\nformat=%(name)s|%(levelname)s|%(message)s\n";

#[test]
fn a_configuration_of_logging_is_followed_in_all_three_forms() {
    for form in ["dict", "json", "ini"] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("both.log");
        let file = dir
            .path()
            .join(format!("conf.{}", if form == "dict" { "py" } else { form }));
        let (flag, text) = match form {
            "dict" => (
                "-c",
                format!(
                    "logconfig_dict = {}",
                    to_file(&log).replace("false", "False")
                ),
            ),
            "json" => ("--log-config-json", to_file(&log)),
            _ => ("--log-config", INI.replace("LOG", log.to_str().unwrap())),
        };
        fs::write(&file, text).unwrap();
        let server = Server::start(&["--preload", flag, file.to_str().unwrap(), APP]);
        server.get("/one");
        let text = wait_text(&log, "GET /one");
        assert!(
            text.starts_with("gunicorn.error|INFO|Starting "),
            "{form}: {text}"
        );
        assert!(
            text.contains("gunicorn.error|INFO|Booting worker with pid"),
            "{form}: {text}"
        );
        assert!(text.contains("application|WARNING|the application at /one") || form != "dict");
        assert!(
            text.contains("gunicorn.access|INFO| - - ["),
            "{form}: {text}"
        );
        fs::rename(&log, dir.path().join("old")).unwrap();
        server.signal(Signal::SIGUSR1);
        wait_for("the file to be there again", || {
            server.get("/two");
            read(&log).contains("GET /two").then_some(())
        });
        server.stop();
    }
}

#[test]
fn a_configuration_of_logging_that_is_wrong_ends_the_start_but_not_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("conf.py"), dir.path().join("log"));
    let broken =
        "logconfig_dict = {'version': 1, 'handlers': {'console': {'class': 'no.such.Handler'}}}";
    fs::write(&file, broken).unwrap();
    let mut refused = Server::spawn(&["-c", file.to_str().unwrap(), APP]);
    assert_eq!(refused.exit_code(), 1);
    assert!(
        refused.log().contains("Error: Unable to configure handler"),
        "{}",
        refused.log()
    );

    fs::write(
        &file,
        format!(
            "logconfig_dict = {}",
            to_file(&log).replace("false", "False")
        ),
    )
    .unwrap();
    let server = Server::start(&["-c", file.to_str().unwrap(), APP]);
    let before = server.workers();
    fs::write(&file, broken).unwrap();
    server.signal(Signal::SIGHUP);
    wait_text(&log, "the reload failed, the old workers serve on");
    assert_eq!(server.get("/one"), "hello");
    assert_eq!(server.workers(), before);
    let status = server.status();
    let problems = status["last_reload"]["problems"].to_string();
    assert!(
        problems.contains("Unable to configure handler"),
        "{problems}"
    );
    server.stop();
}

/// Datagrams until one has this text.
#[track_caller]
fn receive(mut next: impl FnMut(&mut [u8]) -> std::io::Result<usize>, last: &str) -> Vec<String> {
    let mut heard: Vec<String> = Vec::new();
    let mut part = [0; 4096];
    while heard.last().is_none_or(|text| !text.contains(last)) {
        match next(&mut part) {
            Ok(count) => heard.push(String::from_utf8_lossy(&part[..count]).into_owned()),
            Err(error) => panic!("no {last:?} ({error}) in {heard:#?}"),
        }
    }
    heard
}

/// Without numbers that are times.
fn steady(heard: &[String]) -> Vec<String> {
    let plain = heard.iter().map(|text| match text.split_once("duration:") {
        Some((name, rest)) => format!("{name}duration:{}", rest.split_once('|').unwrap().1),
        None => text.clone(),
    });
    plain.collect()
}

#[test]
fn statsd_hears_of_requests_workers_and_errors() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let args = [
        "--statsd-host",
        &address,
        "--statsd-prefix",
        "pre",
        "--dogstatsd-tags",
        "a:b",
    ];
    let server = Server::start(
        &[
            &args[..],
            &[
                "-w",
                "2",
                "--enable-backlog-metric",
                "-b",
                "127.0.0.1:0",
                APP,
            ],
        ]
        .concat(),
    );
    let heard = receive(|part| udp.recv(part), "gunicorn.backlog");
    assert!(
        heard.contains(&"pre.gunicorn.workers:2|g|#a:b".to_owned()),
        "{heard:?}"
    );
    assert_eq!(heard.last().unwrap(), "pre.gunicorn.backlog:0|h|#a:b");
    server.get("/raise");
    let mut heard = receive(|part| udp.recv(part), "request.status");
    heard.retain(|text| !text.contains("backlog"));
    assert_eq!(
        steady(&heard),
        [
            "pre.gunicorn.log.exception:1|c|@1.0|#a:b",
            "pre.gunicorn.request.duration:ms|#a:b",
            "pre.gunicorn.requests:1|c|@1.0|#a:b",
            "pre.gunicorn.request.status.500:1|c|@1.0|#a:b",
        ]
    );
    server.stop();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("statsd");
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    let server = Server::start(&[
        "--statsd-host",
        &format!("unix://{}", path.display()),
        "--threads",
        "2",
        APP,
    ]);
    server.get("/one");
    let heard = receive(|part| unix.recv(part), "request.status");
    assert_eq!(
        heard.last().unwrap(),
        "gunicorn.request.status.200:1|c|@1.0"
    );
    server.stop();
}

#[test]
fn syslog_gets_both_logs() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    let to = format!("udp://{}", udp.local_addr().unwrap());
    let server = Server::start(&[
        "--log-syslog",
        "--log-syslog-to",
        &to,
        "--log-syslog-prefix",
        "site",
        "--log-syslog-facility",
        "local3",
        APP,
    ]);
    server.get("/one");
    let heard = receive(|part| udp.recv(part), "GET /one");
    // local3 is 19; info is 6, warning 4 (RFC 5424, section 6.2.1).
    assert!(
        heard[0].starts_with("<158>gunicorn.site.error: ["),
        "{heard:?}"
    );
    assert!(
        heard
            .iter()
            .any(|text| text.starts_with("<156>") && text.contains("the application at /one"))
    );
    assert!(
        heard
            .last()
            .unwrap()
            .starts_with("<158>gunicorn.site.access: ["),
        "{heard:?}"
    );
    server.stop();
}

/// A syslog server on a stream: every message of every connection, each ended by a NUL as Python's handler does.
struct StreamLog(mpsc::Receiver<String>);

impl StreamLog {
    /// `accept` waits for the next connection.
    fn start<S: Read + Send + 'static>(
        mut accept: impl FnMut() -> std::io::Result<S> + Send + 'static,
    ) -> Self {
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(stream) = accept() {
                let tell = tell.clone();
                std::thread::spawn(move || {
                    let messages = BufReader::new(stream).split(0);
                    for message in messages.map_while(Result::ok) {
                        let _ = tell.send(String::from_utf8_lossy(&message).into_owned());
                    }
                });
            }
        });
        Self(heard)
    }

    /// What is heard until all of `texts` were.
    #[track_caller]
    fn wait_for(&self, texts: &[&str]) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        let has = |heard: &[String], text: &str| heard.iter().any(|line| line.contains(text));
        while !texts.iter().all(|text| has(&heard, text)) {
            match self.0.recv_timeout(harness::PATIENCE) {
                Ok(message) => heard.push(message),
                Err(error) => panic!("{error}: not all of {texts:?} in {heard:#?}"),
            }
        }
        heard
    }
}

#[test]
fn syslog_is_reached_over_tcp_and_unix_sockets_of_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let bound = || {
        let _ = fs::remove_file(&path);
        UnixListener::bind(&path).unwrap()
    };
    for to in ["tcp", "#stream", ""] {
        let (address, log) = if to == "tcp" {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("tcp://{}", listener.local_addr().unwrap());
            let log = StreamLog::start(move || Ok(listener.accept()?.0));
            (address, log)
        } else {
            let listener = bound();
            let log = StreamLog::start(move || Ok(listener.accept()?.0));
            (format!("unix://{}{to}", path.display()), log)
        };
        for threads in ["1", "2"] {
            let args = ["--log-syslog", "--log-syslog-to", &address];
            let more = ["--threads", threads, "--log-syslog-prefix", "site", APP];
            let server = Server::start(&[&args[..], &more].concat());
            server.get("/one");
            let wanted = ["the application at /one", "GET /one HTTP/1.1"];
            let heard = log.wait_for(&wanted);
            let line = |text: &str| heard.iter().find(|line| line.contains(text)).unwrap();
            // user is 1; info is 6, warning 4.
            let (error, access) = (line(wanted[0]), line(wanted[1]));
            assert!(error.starts_with("<12>gunicorn.site.error: ["), "{error}");
            assert!(
                access.starts_with("<14>gunicorn.site.access: ["),
                "{access}"
            );
            server.stop();
        }
    }
    let _ = fs::remove_file(&path);
    let datagrams = UnixDatagram::bind(&path).unwrap();
    datagrams.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    let address = format!("unix://{}#dgram", path.display());
    let server = Server::start(&["--log-syslog", "--log-syslog-to", &address, APP]);
    server.get("/one");
    receive(|part| datagrams.recv(part), "GET /one HTTP/1.1");
    server.stop();
}

#[test]
fn captured_output_lies_in_the_error_log() {
    let dir = tempfile::tempdir().unwrap();
    let error = dir.path().join("error");
    let server = Server::start(&[
        "--capture-output",
        "--error-logfile",
        error.to_str().unwrap(),
        APP,
    ]);
    server.get("/print");
    let log = wait_text(&error, "the application at /print");
    assert!(
        log.contains("printed\n") && log.contains("printed to stderr\n"),
        "{log}"
    );
    assert!(!server.log().contains("printed"), "{}", server.log());
    server.stop();
}
