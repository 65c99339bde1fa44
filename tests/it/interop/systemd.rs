//! deploy/systemd: the units are valid, and each daemon starts by the protocol that they promise: LISTEN_FDS for the
//! socket, NOTIFY_SOCKET for readiness and stopping, SIGTERM for the end.

use std::fs;
use std::path::PathBuf;

use e2e::client::get;
use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::{port, tools};

fn units() -> Vec<PathBuf> {
    let dir = tools::repository().join("deploy/systemd");
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|kind| kind == "service" || kind == "socket")
    });
    files.sort();
    files
}

#[test]
fn the_units_are_valid() {
    let Some(analyze) = tools::program("systemd-analyze", "systemd") else {
        return;
    };
    let folder = Folder::new();
    let files = units();
    for daemon in ["trine-proxy", "trine-wsgi", "trine-supervisor"] {
        assert!(
            files.iter().any(|file| file
                .file_stem()
                .is_some_and(|stem| stem.to_string_lossy().starts_with(daemon))),
            "{daemon}: {files:?}"
        );
    }
    // The units name installed binaries; verify looks for them, so they are checked with ours in their place.
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut text = fs::read_to_string(file).unwrap();
        for binary in ["trine-proxy", "trine-wsgi", "trine-supervisor"] {
            for dir in ["/usr/bin", "/usr/local/bin"] {
                text = text.replace(
                    &format!("{dir}/{binary}"),
                    &tools::binary(binary).display().to_string(),
                );
            }
        }
        folder.write(&name, text);
    }
    let names = files
        .iter()
        .map(|file| folder.join(file.file_name().unwrap()));
    let (code, output) = daemon::run(
        Launch::program(analyze)
            .args(["verify", "--man=no"])
            .args(names),
        &folder,
    );
    assert_eq!(code, 0, "{output}");
    let ours: Vec<&str> = output
        .lines()
        .filter(|line| line.contains(&folder.path().display().to_string()))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn the_units_promise_what_the_daemons_do() {
    for file in units() {
        let text = fs::read_to_string(&file).unwrap();
        if file.extension().is_some_and(|kind| kind == "service") {
            // The supervisor's programs may need what a server must not have.
            let server = !file.ends_with("trine-supervisor.service");
            let hardening = if server {
                &["NoNewPrivileges=", "ProtectSystem="][..]
            } else {
                &["ProtectKernelModules="]
            };
            for line in hardening.iter().chain(&["Type=notify"]) {
                assert!(text.contains(line), "{}: no {line}", file.display());
            }
        } else {
            assert!(
                text.contains("FileDescriptorName="),
                "{}: the daemon's config names its socket",
                file.display()
            );
        }
    }
}

#[test]
fn trine_wsgi_speaks_the_protocol() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (addr, socket) = port::listening();
    let launch = Launch::trine("trine-wsgi")
        .arg("--chdir")
        .arg(tools::apps())
        .args(["-b", "fd:http", "rooms:app"]);
    let launch = launch
        .env("VIRTUAL_ENV", venv)
        .listener("http", socket.try_clone().unwrap());
    let mut wsgi = launch.notify().start(&folder).wait_ready();
    assert_eq!(get(addr, "/pid").status, 200);
    wsgi.terminate();
    wsgi.wait_notified("STOPPING=1");
    assert_eq!(wsgi.exit_code(), 0, "{}", wsgi.output());
}

#[test]
fn trine_wsgi_takes_the_inherited_socket_with_the_address_it_should_bind() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (addr, socket) = port::listening();
    let launch = Launch::trine("trine-wsgi")
        .arg("--chdir")
        .arg(tools::apps())
        .args(["-b", &addr.to_string(), "rooms:app"]);
    let launch = launch.env("VIRTUAL_ENV", venv).listener("any", socket);
    let wsgi = launch.notify().start(&folder).wait_ready();
    assert_eq!(get(addr, "/pid").status, 200);
    wsgi.stop();
}

#[test]
fn trine_proxy_speaks_the_protocol() {
    let folder = Folder::new();
    folder.write("www/index.html", "hello\n");
    folder.write(
        "proxy.yaml",
        "servers:\n  - listen: ['fd:http']\n    locations:\n      - { path: /, files: ./www }\n",
    );
    let (addr, socket) = port::listening();
    let launch = Launch::trine("trine-proxy")
        .args(["-c", "proxy.yaml"])
        .listener("http", socket);
    let mut proxy = launch.notify().start(&folder).wait_ready();
    assert_eq!(get(addr, "/index.html").text(), "hello\n");
    proxy.terminate();
    proxy.wait_notified("STOPPING=1");
    assert_eq!(proxy.exit_code(), 0, "{}", proxy.output());
}

#[test]
fn trine_supervisor_speaks_the_protocol_and_passes_the_socket_on() {
    let folder = Folder::new();
    folder.write("www/index.html", "hello\n");
    folder.write(
        "proxy.yaml",
        "servers:\n  - listen: ['fd:http']\n    locations:\n      - { path: /, files: ./www }\n",
    );
    folder.write(
        "supervisor.yaml",
        "control: s.sock\nprograms:\n  proxy:\n    command: [trine-proxy, -c, proxy.yaml]\n    directory: .\n    \
         sockets: { http: 'fd:web' }\n    ready: notify\n",
    );
    let (addr, socket) = port::listening();
    let launch = Launch::trine("trine-supervisor")
        .args(["-c", "supervisor.yaml"])
        .listener("web", socket);
    let mut supervisor = launch.notify().start(&folder).wait_ready();
    assert_eq!(get(addr, "/index.html").text(), "hello\n");
    supervisor.terminate();
    supervisor.wait_notified("STOPPING=1");
    assert_eq!(supervisor.exit_code(), 0, "{}", supervisor.output());
    supervisor.assert_nothing_left();
}
