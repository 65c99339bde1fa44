//! nginx before trine-wsgi, gunicorn behind trine-proxy, and both under trine-supervisor on held sockets.

use e2e::client::{self, Client, Request};
use e2e::control::Control;
use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::{port, process, site, tools, wait};
use nix::sys::signal::Signal;

use super::{check_rooms, nginx_conf};

#[test]
fn nginx_in_front_of_trine_wsgi() {
    let (Some(nginx), Some(venv)) = (tools::nginx(), tools::venv()) else {
        return;
    };
    let folder = Folder::new();
    let socket = folder.join("app.sock");
    let bind = format!("unix:{}", socket.display());
    let launch = Launch::trine("trine-wsgi")
        .args(["-w", "2", "--chdir"])
        .arg(tools::apps());
    let launch = launch
        .args(["-b", &bind, "rooms:app"])
        .env("VIRTUAL_ENV", &venv);
    let wsgi = launch.notify().start(&folder).wait_ready();

    let address = port::free();
    // Once as nginx speaks by itself (HTTP/1.0, a connection per request), once with keep-alive.
    for (upstream, more) in [
        ("", ""),
        (
            "keepalive 8;",
            "proxy_http_version 1.1; proxy_set_header Connection '';",
        ),
    ] {
        let location = format!(
            "location / {{ proxy_pass http://app; {more} proxy_set_header Host $host; proxy_buffering off; }}"
        );
        let conf = nginx_conf(folder.path(), &address.to_string(), &location).replace(
            "    server {",
            &format!(
                "    upstream app {{ server unix:{}; {upstream} }}\n    server {{",
                socket.display()
            ),
        );
        folder.write("nginx.conf", conf);
        let (code, output) = daemon::run(
            Launch::program(&nginx)
                .args(["-t", "-c"])
                .arg(folder.join("nginx.conf")),
            &folder,
        );
        assert_eq!(code, 0, "{output}");
        let front = Launch::program(&nginx)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .start(&folder);
        wait::until("nginx", || std::net::TcpStream::connect(address).ok());
        for _ in 0..5 {
            check_rooms(address);
        }
        front.stop();
    }
    wsgi.stop();
}

#[test]
fn trine_proxy_in_front_of_gunicorn() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let address = port::free();
    folder.write(
        "proxy.yaml",
        format!("servers:\n  - listen: ['{address}']\n    locations:\n      - {{ path: /, proxy: 'unix:app.sock' }}\n"),
    );
    let proxy = Launch::trine("trine-proxy")
        .args(["-c", "proxy.yaml"])
        .notify()
        .start(&folder)
        .wait_ready();
    for worker in [&["-k", "sync"][..], &["-k", "gthread", "--threads", "4"]] {
        let bind = format!("unix:{}", folder.join("app.sock").display());
        let launch = Launch::program(venv.join("bin/gunicorn"))
            .args(["-w", "2", "-b", &bind])
            .args(worker);
        let gunicorn = launch
            .arg("--chdir")
            .arg(tools::apps())
            .arg("rooms:app")
            .notify()
            .start(&folder)
            .wait_ready();
        for _ in 0..5 {
            check_rooms(address);
        }
        gunicorn.stop();
    }
    proxy.stop();
}

#[test]
fn gunicorn_and_nginx_under_trine_supervisor_on_held_sockets() {
    let (Some(nginx), Some(venv)) = (tools::nginx(), tools::venv()) else {
        return;
    };
    let folder = Folder::new();
    let (address, backend) = (port::free(), port::free());
    let location = format!(
        "location / {{ proxy_pass http://{backend}; proxy_set_header Host $host; proxy_buffering off; }}"
    );
    folder.write(
        "nginx.conf",
        nginx_conf(folder.path(), &address.to_string(), &location),
    );
    // gunicorn takes LISTEN_FDS and says READY=1 by itself; nginx takes its sockets from the variable NGINX.
    folder.write(
        "supervisor.yaml",
        format!(
            "control: supervisor.sock
programs:
  gunicorn:
    command: ['{gunicorn}', -w, '2', --chdir, '{apps}', 'rooms:app']
    sockets: {{ app: '{backend}' }}
    ready: notify
    stdout_logfile: gunicorn.log
    redirect_stderr: true
    priority: 1
  nginx:
    command: ['{nginx}', -c, '{dir}/nginx.conf']
    environment: {{ NGINX: '3;' }}
    sockets: {{ http: '{address}' }}
    stopsignal: QUIT
    ready: {{ http: 'http://{address}/pid' }}
    stdout_logfile: nginx.out
    redirect_stderr: true
",
            gunicorn = venv.join("bin/gunicorn").display(),
            apps = tools::apps().display(),
            nginx = nginx.display(),
            dir = folder.path().display(),
        ),
    );
    let supervisor = Launch::trine("trine-supervisor")
        .args(["-c", "supervisor.yaml"])
        .start(&folder);
    let control = Control::new(folder.join("supervisor.sock"));
    let before = (
        control.wait_running("gunicorn"),
        control.wait_running("nginx"),
    );
    assert!(
        folder.read("nginx.out").contains("using inherited sockets"),
        "{}",
        folder.read("nginx.out")
    );
    check_rooms(address);

    // Both sockets stay while their programs are replaced, one after the other.
    control.post("/v1/programs/gunicorn/restart?wait=true");
    control.post("/v1/programs/nginx/restart?wait=true");
    let after = (
        control.wait_running("gunicorn"),
        control.wait_running("nginx"),
    );
    assert!(before.0 != after.0 && before.1 != after.1);
    check_rooms(address);
    process::signal(after.0, Signal::SIGKILL);
    control.wait_replaced("gunicorn", after.0);
    let body = e2e::client::ask(address, &Request::get("/pid"));
    assert_eq!(body.status, 200, "{}", body.text());
    supervisor.stop();
}

#[test]
fn trine_wsgi_and_trine_proxy_are_found_by_name_under_the_supervisor() {
    // The binaries beside the supervisor, without PATH naming their folder.
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let address = port::free();
    folder.write(
        "supervisor.yaml",
        format!(
            "control: s.sock\nprograms:\n  wsgi:\n    command: [trine-wsgi, --chdir, '{}', -b, 'fd:http', 'rooms:app']\n    \
             sockets: {{ http: '{address}' }}\n    ready: notify\n",
            tools::apps().display()
        ),
    );
    let launch = Launch::trine("trine-supervisor")
        .args(["-c", "supervisor.yaml"])
        .env("VIRTUAL_ENV", &venv);
    let supervisor = launch.start(&folder);
    Control::new(folder.join("s.sock")).wait_running("wsgi");
    check_rooms(address);
    assert!(!site::path_with_binaries().is_empty());
    supervisor.stop();
}

/// One worker that does one thing at a time, and a client that takes 20 MB as slowly as it can.
#[test]
fn a_slow_reader_leaves_the_only_worker_of_gunicorn_to_others() {
    const LENGTH: usize = 20_000_000;
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write(
        "large.py",
        format!(
            "def app(environ, start_response):\n    length = {LENGTH} if environ['PATH_INFO'] == '/large' else 2\n    \
             start_response('200 OK', [('Content-Length', str(length))])\n    return [b'x' * length]\n"
        ),
    );
    let address = port::free();
    folder.write(
        "proxy.yaml",
        format!("servers:\n  - listen: ['{address}']\n    locations:\n      - {{ path: /, proxy: 'unix:app.sock' }}\n"),
    );
    let proxy = Launch::trine("trine-proxy")
        .args(["-c", "proxy.yaml"])
        .notify()
        .start(&folder)
        .wait_ready();
    let bind = format!("unix:{}", folder.join("app.sock").display());
    let gunicorn = Launch::program(venv.join("bin/gunicorn"))
        .args(["-w", "1", "-k", "sync", "-b", &bind, "--chdir"])
        .arg(folder.path())
        .arg("large:app")
        .notify()
        .start(&folder)
        .wait_ready();
    let mut slow = Client::connect(address);
    slow.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let begin = slow.read_exact(1000).unwrap();
    // The worker answers the next one while the first client has read a thousand bytes.
    assert_eq!(client::get(address, "/small").body, b"xx");
    let text = String::from_utf8_lossy(&begin).into_owned();
    let head = text.find("\r\n\r\n").expect("a whole head") + 4;
    let rest = slow.read_exact(LENGTH - (begin.len() - head)).unwrap();
    assert!(rest.iter().all(|&byte| byte == b'x'));
    gunicorn.stop();
    proxy.stop();
}
