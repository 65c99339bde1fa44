//! CGI: `trine-proxy cgi-helper` behind trine-proxy and behind nginx, beside fcgiwrap with the same scripts; and a
//! Flask application by `wsgiref`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use e2e::client::{Client, Request, ask, get};
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::gateways::cgi_helper as helper;
use e2e::reply::Reply;
use e2e::{gateways, port, process, tools, wait};

use super::behind::proxy;
use super::nginx_conf;

const LOCATION: &str = "location /cgi/ {
        include @params@/fastcgi_params;
        fastcgi_param SCRIPT_FILENAME @apps@$uri;
        fastcgi_param SCRIPT_NAME $uri;
        fastcgi_pass unix:@dir@/cgi.sock;
    }
    location /own/ {
        include @params@/fastcgi_params;
        fastcgi_param SCRIPT_FILENAME @dir@/cgi$uri;
        fastcgi_param SCRIPT_NAME $uri;
        fastcgi_pass unix:@dir@/cgi.sock;
    }";

fn location(keep: &str) -> String {
    let apps = tools::apps().display().to_string();
    let text = LOCATION.replace("@apps@", &apps);
    text.replace("location /cgi/ {", &format!("location /cgi/ {{ {keep}"))
}

#[track_caller]
fn check_scripts(front: SocketAddr) {
    let env = ask(
        front,
        &Request::get("/cgi/probe.sh/env?a=b+c")
            .header("Proxy", "http://evil")
            .header("X-Thing", "one"),
    );
    let text = env.text();
    let has = |line: &str| text.lines().any(|one| one == line);
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "PATH_INFO=/env",
        "SCRIPT_NAME=/cgi/probe.sh",
        "QUERY_STRING=a=b+c",
        "REQUEST_METHOD=GET",
        "HTTP_X_THING=one",
        "REMOTE_ADDR=127.0.0.1",
        "SERVER_PROTOCOL=HTTP/1.1",
        // A query without `=` is no command line either.
        "arguments 0",
    ] {
        assert!(has(line), "{line} in:\n{text}");
    }
    for absent in [
        "HTTP_PROXY=",
        "CONTENT_LENGTH=",
        "LISTEN_PID=",
        "NOTIFY_SOCKET=",
    ] {
        assert!(!text.contains(absent), "{absent} in:\n{text}");
    }
    let words = get(front, "/cgi/probe.sh/env?one+two").text();
    assert!(words.contains("\narguments 0\n"), "{words}");
    let body = ask(
        front,
        &Request::post("/cgi/probe.sh/body", vec![b'b'; 1_000_000]),
    );
    assert_eq!(body.text(), "1000000\n");
    // One that is not read at all.
    let unread = ask(
        front,
        &Request::post("/cgi/probe.sh", vec![b'b'; 1_000_000]),
    );
    assert_eq!(unread.text(), "probe POST\n");
    let mut client = Client::connect(front);
    let status = client.ask(&Request::get("/cgi/probe.sh/status"));
    assert_eq!((status.status, status.text().as_str()), (404, "none\n"));
    let away: Reply = client.ask(&Request::get("/cgi/probe.sh/away"));
    assert_eq!(
        (away.status, away.header("location")),
        (302, Some("http://other.test/x"))
    );
    let local = client.ask(&Request::get("/cgi/probe.sh/local"));
    assert_eq!(local.status, 200);
    assert!(
        local.text().contains("QUERY_STRING=from=local\n"),
        "{}",
        local.text()
    );
    assert!(get(front, "/cgi/probe.sh/loop").status >= 400);
    let large = get(front, "/cgi/probe.sh/large");
    assert_eq!(large.body.len(), 3_000_000);
    for (target, status) in [
        ("/cgi/probe.sh/nothing", 500),
        ("/cgi/probe.sh/malformed", 500),
        ("/cgi/none.sh", 404),
        ("/cgi/not-executable.sh", 403),
        ("/cgi/../load.py", 404),
    ] {
        assert_eq!(get(front, target).status, status, "{target}");
    }
}

#[test]
fn scripts_behind_trine_proxy_and_behind_nginx() {
    let folder = Folder::new();
    let helper = helper(&folder, &[]);
    for keep in ["", "fastcgi_keep_conn on;"] {
        let (proxy, front) = proxy(&folder, "", &location(keep));
        check_scripts(front);
        // What was cut off must not look whole.
        let mut client = Client::connect(front);
        assert!(
            client
                .try_ask(&Request::get("/cgi/probe.sh/killed"))
                .is_err()
        );
        assert_eq!(get(front, "/cgi/probe.sh/words").status, 200);
        wait::until("the script's words in the log", || {
            let words = "FastCGI sent in stderr: \"some words\"";
            proxy.output().contains(words).then_some(())
        });
        proxy.stop();
    }
    if let Some(nginx) = tools::nginx() {
        let front = port::free();
        let params = tools::repository().join("deploy/params");
        let location = location("")
            .replace("@params@", &params.display().to_string())
            .replace("@dir@", &folder.path().display().to_string());
        folder.write(
            "nginx.conf",
            nginx_conf(folder.path(), &front.to_string(), &location),
        );
        let nginx = Launch::program(nginx)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .start(&folder);
        wait::until("nginx", || std::net::TcpStream::connect(front).ok());
        // It passes the field on; the helper does not.
        check_scripts(front);
        nginx.stop();
    }
    helper.stop();
}

#[test]
fn the_same_scripts_by_fcgiwrap() {
    let folder = Folder::new();
    let helper = helper(&folder, &[]);
    let Some(wrap) = gateways::fcgiwrap(&folder, "theirs.sock") else {
        return;
    };
    let location = |name: &str, socket: &str| {
        format!(
            "location /{name}/ {{ fastcgi_param DOCUMENT_ROOT {};
             fastcgi_param SCRIPT_NAME $script; fastcgi_param QUERY_STRING $query_string;
             fastcgi_param REQUEST_METHOD $request_method; fastcgi_param SERVER_PROTOCOL $server_protocol;
             fastcgi_param SERVER_SOFTWARE trine; fastcgi_param CONTENT_TYPE $content_type;
             fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param GATEWAY_INTERFACE CGI/1.1;
             fastcgi_pass unix:@dir@/{socket}.sock; }}",
            tools::apps().display()
        )
    };
    let both = location("ours", "cgi") + &location("theirs", "theirs");
    let map = "map $uri $script { ~^/[a-z]+(/.*)$ /cgi$1; }";
    let (proxy, front) = proxy(&folder, map, &both);
    // Variables that differ by what is asked, or that one of the two adds.
    let own = [
        "DOCUMENT_URI",
        "REQUEST_URI",
        "SCRIPT_",
        "FCGI_ROLE",
        "PATH=",
        "PATH_",
        "OLDPWD",
        "REMOTE_PORT",
    ];
    let shown = |reply: &Reply| {
        let text = reply.text();
        let lines = text
            .lines()
            .filter(|line| !own.iter().any(|name| line.starts_with(name)));
        // What is empty is left out by one and not by the other, which RFC 3875 has as the same.
        let lines: Vec<_> = lines.filter(|line| !line.ends_with('=')).collect();
        format!(
            "{} {:?}\n{}",
            reply.status,
            reply.header("location"),
            lines.join("\n")
        )
    };
    for (target, body) in [
        ("probe.sh", ""),
        ("probe.sh/env?a=b", ""),
        ("probe.sh/body", "some body"),
        ("probe.sh/status", ""),
        ("probe.sh/away", ""),
        ("probe.sh/words", ""),
        ("probe.sh/large", ""),
    ] {
        let request = |start: &str| {
            let target = format!("{start}{target}");
            match body {
                "" => Request::get(&target),
                body => Request::post(&target, body),
            }
        };
        let (ours, theirs) = (
            ask(front, &request("/ours/")),
            ask(front, &request("/theirs/")),
        );
        assert_eq!(shown(&ours), shown(&theirs), "{target}");
    }
    proxy.stop();
    // It knows no orderly end.
    drop(wrap);
    helper.stop();
}

#[test]
fn a_script_that_takes_too_long_goes_with_all_that_it_started() {
    let folder = Folder::new();
    let slow = folder.join("slow");
    let env = format!("SLOW_FILE={}", slow.display());
    let helper = helper(&folder, &["--timeout", "1s", "--env", &env]);
    let (proxy, front) = proxy(&folder, "", &location(""));
    for pid in timed_out(front, "/cgi/probe.sh/slow", &slow).split_whitespace() {
        process::wait_gone(pid.parse().unwrap());
    }
    assert_eq!(get(front, "/cgi/probe.sh").status, 200);
    proxy.stop();
    helper.stop();
}

/// Asks for a script that takes too long, until it has come as far as to name itself and what it has started in a file.
#[track_caller]
fn timed_out(front: SocketAddr, target: &str, file: &Path) -> String {
    wait::until("a script that names two processes", || {
        assert_eq!(get(front, target).status, 504);
        let text = fs::read_to_string(file).ok()?;
        (text.split_whitespace().count() == 2).then_some(text)
    })
}

/// What it has started does not heed the request to end, and goes all the same.
#[test]
fn those_who_do_not_listen_are_killed() {
    let folder = Folder::new();
    let helper = helper(&folder, &["--timeout", "1s"]);
    let pids = folder.join("pids");
    let text = format!(
        "#!/bin/sh\ntrap '' TERM\nsh -c 'trap \"\" TERM; while :; do sleep 1; done' &\necho \"$$ $!\" > {}\nwait\nwait\n",
        pids.display()
    );
    let script = folder.write("cgi/own/deaf.sh", text);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (proxy, front) = proxy(&folder, "", &location(""));
    let pids = timed_out(front, "/own/deaf.sh", &pids);
    for pid in pids.split_whitespace() {
        process::wait_gone(pid.parse().unwrap());
    }
    proxy.stop();
    helper.stop();
}

/// The variables of RFC 3875, section 4.1, its folder, and nothing of the helper's own environment.
#[test]
fn a_script_is_given_what_the_rfc_says() {
    let folder = Folder::new();
    let helper = helper(&folder, &["--env", "OWN=given"]);
    let script = folder.write(
        "cgi/own/all.sh",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv\necho \"in $(pwd)\"\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    folder.write("users", "ann:{PLAIN}word\n");
    let location = format!(
        "server_name site.test; location /own/ {{ auth_basic x; auth_basic_user_file @dir@/users;
         include @params@/fastcgi_params; fastcgi_param SCRIPT_FILENAME @dir@/cgi$uri;
         fastcgi_param SCRIPT_NAME $uri; fastcgi_param AUTH_TYPE Basic; fastcgi_param REMOTE_USER $remote_user;
         fastcgi_param DOCUMENT_ROOT {}; fastcgi_pass unix:@dir@/cgi.sock; }}",
        folder.path().display()
    );
    let (proxy, front) = proxy(&folder, "", &location);
    // `ann:word`
    let request = Request::post("/own/all.sh/more/info?a=b", "12345")
        .header("Content-Type", "text/x-own")
        .header("Authorization", "Basic YW5uOndvcmQ=");
    let reply = ask(front, &request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let dir = folder.path().display();
    for line in [
        "AUTH_TYPE=Basic",
        "CONTENT_LENGTH=5",
        "CONTENT_TYPE=text/x-own",
        "GATEWAY_INTERFACE=CGI/1.1",
        "PATH_INFO=/more/info",
        &format!("PATH_TRANSLATED={dir}/more/info"),
        "QUERY_STRING=a=b",
        "REMOTE_ADDR=127.0.0.1",
        "REMOTE_USER=ann",
        "REQUEST_METHOD=POST",
        "SCRIPT_NAME=/own/all.sh",
        "SERVER_NAME=site.test",
        &format!("SERVER_PORT={}", front.port()),
        "SERVER_PROTOCOL=HTTP/1.1",
        "OWN=given",
        &format!("in {dir}/cgi/own"),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
    }
    assert!(text.contains("\nSERVER_SOFTWARE="), "{text}");
    for absent in ["\nHOME=", "\nUSER=", "TRINE_E2E_MARK", "NOTIFY_SOCKET"] {
        assert!(!text.contains(absent), "{absent} in:\n{text}");
    }
    proxy.stop();
    helper.stop();
}

#[test]
fn a_script_that_nobody_waits_for_is_ended() {
    let folder = Folder::new();
    let slow = folder.join("slow");
    let env = format!("SLOW_FILE={}", slow.display());
    let helper = helper(&folder, &["--env", &env]);
    let (proxy, front) = proxy(&folder, "", &location(""));
    let mut client = Client::connect(front);
    client
        .write(&Request::get("/cgi/probe.sh/slow").encode())
        .unwrap();
    let pids = wait::until("the script", || {
        let text = fs::read_to_string(&slow).ok()?;
        text.ends_with('\n').then_some(text)
    });
    drop(client);
    for pid in pids.split_whitespace() {
        process::wait_gone(pid.parse().unwrap());
    }
    proxy.stop();
    helper.stop();
}

/// The script is gone, but what it left in the background can still write: the answer goes on, and nobody spins.
#[test]
fn what_a_script_leaves_behind_is_waited_for_in_peace() {
    let folder = Folder::new();
    let helper = helper(&folder, &[]);
    let script = folder.write(
        "cgi/own/behind.sh",
        "#!/bin/sh\nprintf 'X: y\\n\\nfirst '\n(sleep 2; printf last) &\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (proxy, front) = proxy(&folder, "", &location(""));
    let before = process::cpu_ticks(helper.pid());
    assert_eq!(get(front, "/own/behind.sh").text(), "first last");
    let used = process::cpu_ticks(helper.pid()) - before;
    assert!(
        used < 50,
        "{used} hundredths of a second for two of waiting"
    );
    proxy.stop();
    helper.stop();
}

#[test]
fn only_so_many_scripts_run_at_once() {
    let folder = Folder::new();
    let held = folder.join("held");
    let env = format!("HELD_FILE={}", held.display());
    let helper = helper(&folder, &["--max-scripts", "2", "--env", &env]);
    let (proxy, front) = proxy(&folder, "", &location(""));
    let asking: Vec<_> = (0..5)
        .map(|_| thread::spawn(move || get(front, "/cgi/probe.sh/held")))
        .collect();
    let running = || fs::read_to_string(folder.join("held.running")).unwrap_or_default();
    wait::until("two scripts", || {
        (running().lines().count() == 2).then_some(())
    });
    // The others have come as far as they will: the socket's queue, which the helper does not read.
    wait::until("all requests at the helper", || {
        (proxy_upstream_connections(&folder) >= 5).then_some(())
    });
    assert_eq!(running().lines().count(), 2);
    fs::write(&held, "").unwrap();
    for one in asking {
        assert_eq!(one.join().unwrap().text(), "held\n");
    }
    assert_eq!(running().lines().count(), 5);
    proxy.stop();
    helper.stop();
}

/// Connections to `cgi.sock`, the accepted ones and those that wait.
fn proxy_upstream_connections(folder: &Folder) -> usize {
    let path = folder.join("cgi.sock").display().to_string();
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    // One line is the listening socket itself.
    table
        .lines()
        .filter(|line| line.ends_with(&path))
        .count()
        .saturating_sub(1)
}

#[test]
fn limits_hold_and_a_stop_waits_for_scripts() {
    let folder = Folder::new();
    let held = folder.join("held");
    let env = format!("HELD_FILE={}", held.display());
    let mut helper = helper(&folder, &["--limit", "nofile=33", "--env", &env]);
    let script = folder.write(
        "cgi/own/limit.sh",
        "#!/bin/sh\nprintf 'X: y\\n\\n'\nulimit -n\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (proxy, front) = proxy(&folder, "", &location(""));
    assert_eq!(get(front, "/own/limit.sh").text(), "33\n");
    let asking = thread::spawn(move || get(front, "/cgi/probe.sh/held"));
    wait::until("the script", || {
        fs::metadata(folder.join("held.running")).ok()
    });
    helper.terminate();
    fs::write(&held, "").unwrap();
    assert_eq!(asking.join().unwrap().text(), "held\n");
    helper.stop();
    proxy.stop();
}

#[test]
fn flask_as_a_cgi_script() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let helper = helper(&folder, &[]);
    gateways::flask_script(&folder, &venv);
    let (proxy, front) = proxy(&folder, "", &location(""));
    let first = get(front, "/own/app.py/hello/ann?q=%C3%A9");
    assert_eq!(
        (first.status, first.text().as_str()),
        (200, "GET ann \u{e9} None 1")
    );
    let cookie = first
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let form = Request::form("/own/app.py/hello/bob", &[("f", "x y")]).header("Cookie", cookie);
    assert_eq!(ask(front, &form).text(), "POST bob None x y 2");
    assert_eq!(get(front, "/own/app.py/nowhere").status, 404);
    proxy.stop();
    helper.stop();
}
