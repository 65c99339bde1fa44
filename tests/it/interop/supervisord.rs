//! trine-wsgi and trine-proxy under stock supervisord.

use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::{port, process, tools, wait};
use nix::sys::signal::Signal;

use super::check_rooms;

#[test]
fn trine_wsgi_and_trine_proxy_under_supervisord() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let address = port::free();
    folder.write(
        "proxy.yaml",
        format!("servers:\n  - listen: ['{address}']\n    locations:\n      - {{ path: /, proxy: 'unix:app.sock' }}\n"),
    );
    folder.write(
        "supervisord.conf",
        format!(
            "[supervisord]
nodaemon=true
logfile={dir}/supervisord.log
pidfile={dir}/supervisord.pid
[unix_http_server]
file={dir}/supervisord.sock
[supervisorctl]
serverurl=unix://{dir}/supervisord.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:wsgi]
command={wsgi} -w 2 --chdir {apps} -b unix:{dir}/app.sock rooms:app
environment=VIRTUAL_ENV=\"{venv}\"
priority=1
stdout_logfile={dir}/wsgi.log
redirect_stderr=true
[program:proxy]
command={proxy} -c {dir}/proxy.yaml
stdout_logfile={dir}/proxy.log
redirect_stderr=true
",
            dir = folder.path().display(),
            wsgi = tools::binary("trine-wsgi").display(),
            proxy = tools::binary("trine-proxy").display(),
            apps = tools::apps().display(),
            venv = venv.display(),
        ),
    );
    let conf = folder.join("supervisord.conf");
    let supervisord = Launch::program(venv.join("bin/supervisord"))
        .arg("-c")
        .arg(&conf)
        .start(&folder);
    let ctl = |args: &[&str]| {
        daemon::run(
            Launch::program(venv.join("bin/supervisorctl"))
                .arg("-c")
                .arg(&conf)
                .args(args),
            &folder,
        )
        .1
    };
    let pid_of = |program: &str| -> i32 { ctl(&["pid", program]).trim().parse().unwrap_or(0) };
    let answers = || {
        e2e::client::Client::try_connect(&address.into())
            .ok()?
            .try_ask(&e2e::client::Request::get("/pid"))
            .ok()
    };
    wait::until("an answer", || {
        answers().filter(|reply| reply.status == 200)
    });
    check_rooms(address);

    // Its way of restarting: SIGTERM, then a new process; a kill is answered by a new start.
    let (wsgi, proxy) = (pid_of("wsgi"), pid_of("proxy"));
    assert!(ctl(&["restart", "wsgi"]).contains("wsgi: started"));
    check_rooms(address);
    assert_ne!(pid_of("wsgi"), wsgi);
    process::signal(proxy, Signal::SIGKILL);
    process::wait_gone(proxy);
    wait::until("an answer of the next proxy", || {
        answers().filter(|reply| reply.status == 200)
    });
    assert_ne!(pid_of("proxy"), proxy);
    wait::until("both RUNNING", || {
        (ctl(&["status"]).matches("RUNNING").count() == 2).then_some(())
    });
    supervisord.stop();
}
