//! Application servers of others that speak FastCGI, uwsgi and SCGI: php-fpm with tests/apps/php, uWSGI with
//! tests/apps/rooms.py.
//! Not here: what they are asked.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

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

fn says(log: &Path, what: &str) -> Option<()> {
    let text = std::fs::read_to_string(log).ok()?;
    text.contains(what).then_some(())
}
