//! Application servers that speak FastCGI, uwsgi and SCGI: php-fpm with tests/apps/php, uWSGI with tests/apps/rooms.py, Perl,
//! fcgiwrap and our own helper for CGI scripts.
//! Not here: what they are asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{Daemon, Launch};
use crate::folder::Folder;
use crate::{tools, wait};

/// php-fpm with so many processes on `listen`, a path or an address. `None`: the test is left out.
#[track_caller]
pub fn php_fpm(folder: &Folder, name: &str, listen: &str, processes: u32) -> Option<Daemon> {
    php_fpm_on(folder, name, listen, processes, None)
}

/// The same in a network namespace.
#[track_caller]
pub fn php_fpm_on(
    folder: &Folder,
    name: &str,
    listen: &str,
    processes: u32,
    namespace: Option<&str>,
) -> Option<Daemon> {
    let program = tools::program_like("php-fpm", "php-fpm")?;
    let root = nix::unistd::geteuid().is_root();
    let user = if root {
        "user = root\ngroup = root\n"
    } else {
        ""
    };
    let dir = folder.path().display();
    let conf = folder.write(
        &format!("{name}.conf"),
        format!(
            "[global]\nerror_log = {dir}/{name}.log\ndaemonize = no\nprocess_control_timeout = 5s\n[www]\nlisten = {listen}\npm = static\n\
             pm.max_children = {processes}\n{user}catch_workers_output = no\n"
        ),
    );
    let launch = match namespace {
        None => Launch::program(program),
        Some(namespace) => Launch::program("ip")
            .args(["netns", "exec", namespace])
            .arg(program),
    };
    let daemon = launch.args(["-R", "-F", "-y"]).arg(conf).start(folder);
    let log = folder.join(format!("{name}.log"));
    wait::until("php-fpm", || says(&log, "ready to handle connections"));
    Some(daemon)
}

/// uWSGI on `uwsgi.sock`, `fastcgi.sock` and `scgi.sock` in the folder. `None`: the test is left out.
#[track_caller]
pub fn uwsgi(folder: &Folder, application: &str) -> Option<Daemon> {
    let program = tools::program("uwsgi_python3", "uwsgi-plugin-python3")?;
    let mut launch = Launch::program(program)
        .args([
            "--master",
            "--processes",
            "2",
            "--die-on-term",
            "--need-app",
        ])
        .args(["--buffer-size", "32768", "--module", application, "--chdir"])
        .arg(tools::apps());
    let sockets =
        ["uwsgi", "fastcgi", "scgi"].map(|name| (name, folder.join(format!("{name}.sock"))));
    for (name, socket) in &sockets {
        launch = launch.arg(format!("--{name}-socket")).arg(socket);
    }
    let daemon = launch.start(folder);
    wait::until("uWSGI", || {
        let ready = |(_, path): &(&str, PathBuf)| UnixStream::connect(path).is_ok();
        (sockets.iter().all(ready) && daemon.output().contains("spawned uWSGI worker 2"))
            .then_some(())
    });
    Some(daemon)
}

/// A script of tests/apps in Perl, on a socket of that name in the folder. `None`: the test is left out.
#[track_caller]
pub fn perl(folder: &Folder, script: &str, socket: &str) -> Option<Daemon> {
    let there = Command::new("perl").args(["-MFCGI", "-e", "1"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        tools::skip("no FCGI for perl here; on Debian: apt-get install libfcgi-perl");
        return None;
    }
    let socket = folder.join(socket);
    let perl = Launch::program(tools::program("perl", "perl")?)
        .arg(tools::apps().join(script))
        .arg(&socket)
        .start(folder);
    wait::until("perl", || UnixStream::connect(&socket).ok());
    Some(perl)
}

/// fcgiwrap on a socket of that name in the folder; it knows no orderly end. `None`: the test is left out.
#[track_caller]
pub fn fcgiwrap(folder: &Folder, socket: &str) -> Option<Daemon> {
    let socket = folder.join(socket);
    // It hands its own environment on to scripts.
    let wrap = Launch::program("/usr/bin/env")
        .args(["-i", "PATH=/usr/bin:/bin"])
        .arg(tools::program("fcgiwrap", "fcgiwrap")?)
        .args(["-f", "-s"])
        .arg(format!("unix:{}", socket.display()))
        .start(folder);
    wait::until("fcgiwrap", || UnixStream::connect(&socket).ok());
    Some(wrap)
}

/// `trine-proxy cgi-helper` on `cgi.sock` for the scripts of tests/apps/cgi and of `cgi` in the folder.
#[track_caller]
#[must_use]
pub fn cgi_helper(folder: &Folder, more: &[&str]) -> Daemon {
    fs::create_dir_all(folder.join("cgi")).unwrap();
    Launch::trine("trine-proxy")
        .args(["cgi-helper", "--listen"])
        .arg(format!("unix:{}", folder.join("cgi.sock").display()))
        .arg("--scripts")
        .arg(tools::apps().join("cgi"))
        .arg("--scripts")
        .arg(folder.join("cgi"))
        .args(more)
        .notify()
        .start(folder)
        .wait_ready()
}

/// Makes tests/apps/flask_cgi.py the script `/own/app.py` of [`cgi_helper`].
#[track_caller]
pub fn flask_script(folder: &Folder, venv: &Path) {
    let text = fs::read_to_string(tools::apps().join("flask_cgi.py")).unwrap();
    let text = format!("#!{}/bin/python\n{text}", venv.display());
    let script = folder.write("cgi/own/app.py", text);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
}

fn says(log: &Path, what: &str) -> Option<()> {
    let text = fs::read_to_string(log).ok()?;
    text.contains(what).then_some(())
}
