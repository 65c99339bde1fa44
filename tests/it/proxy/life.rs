//! The proxy's life as nginx's scripts know it: into the background, reloads, upgrades of the binary and the way back
//! out of one, all under load with every answer counted.
//!
//! Not here: what a reload changes for requests (`crates/proxy/tests`).

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use e2e::client::{Client, get};
use e2e::daemon::{self, Daemon, Launch};
use e2e::folder::Folder;
use e2e::load::{Load, Mix};
use e2e::upstream::Upstream;
use e2e::{port, process, tools, wait, websocket};
use nix::sys::signal::Signal;

/// Answers GETs with their target, POSTs with their body, and echoes frames of WebSockets.
fn echo() -> Upstream {
    Upstream::start(|request, conversation| {
        if request.header("upgrade").is_some() {
            let accept = websocket::ACCEPT;
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            conversation.write(head.as_bytes())?;
            return conversation.echo_frames();
        }
        match request.method.as_str() {
            "POST" => conversation.reply("200 OK", &request.body),
            _ => conversation.reply("200 OK", request.target.as_bytes()),
        }
    })
}

fn load(to: SocketAddr, close: bool) -> Load {
    let mix = Mix {
        connections: 4,
        gets: vec!["/a?{id}", "/own?{id}"],
        post: Some("/b"),
        pause: Duration::from_millis(1),
        close,
    };
    Load::start(to, &mix)
}

/// An nginx in the background.
struct Nginx {
    folder: Folder,
    addr: SocketAddr,
    app: Upstream,
    /// What started it has ended; it stands for what is still to be cleaned up.
    _daemon: Daemon,
}

impl Nginx {
    fn start() -> Self {
        let (folder, addr, app) = (Folder::new(), port::free(), echo());
        write(&folder, addr, &app, "");
        let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
        let mut daemon = launch.start(&folder);
        assert_eq!(daemon.exit_code(), 0, "{}", daemon.output());
        Self {
            folder,
            addr,
            app,
            _daemon: daemon,
        }
    }

    fn pid(&self, name: &str) -> Option<i32> {
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        text.trim().parse().ok()
    }

    fn signal(&self, name: &str, signal: Signal) {
        process::signal(self.pid(name).unwrap(), signal);
    }

    /// Waits until the error log has so many lines with this.
    #[track_caller]
    fn wait_log(&self, what: &str, count: usize) {
        wait::until(&format!("{count} times {what:?} in the log"), || {
            (self.folder.read("error.log").matches(what).count() >= count).then_some(())
        });
    }

    /// USR2; the pid of the new process, once it serves.
    #[track_caller]
    fn upgrade(&self) -> i32 {
        let serving = self.folder.read("error.log").matches("serving on").count();
        self.signal("nginx.pid", Signal::SIGUSR2);
        self.wait_log("serving on", serving + 1);
        let (old, new) = (self.pid("nginx.pid.oldbin"), self.pid("nginx.pid"));
        assert!(
            new.is_some() && old.is_some() && new != old,
            "{old:?} {new:?}"
        );
        new.unwrap()
    }

    #[track_caller]
    fn wait_gone(&self, name: &str) {
        wait::until(&format!("the end of {name}"), || {
            (!self.folder.join(name).exists()).then_some(())
        });
    }
}

fn write(folder: &Folder, addr: SocketAddr, app: &Upstream, more: &str) {
    let text = format!(
        "daemon on; pid nginx.pid; error_log error.log info; worker_processes 2;
         events {{}}
         http {{
           access_log off;
           server {{
             listen {addr};
             location / {{ proxy_pass http://{}; proxy_set_header Host $host; }}
             location /own {{ return 200 $args; }}
             location = /pid {{ return 200 $pid; }}
           }}
           {more}
         }}",
        app.addr()
    );
    folder.write("nginx.conf", text);
}

#[test]
fn a_hundred_reloads_lose_nothing() {
    let nginx = Nginx::start();
    let mut chat = Client::connect(nginx.addr);
    websocket::upgrade(&mut chat, "/chat");
    let load = load(nginx.addr, false);
    let dir = nginx.folder.path().display().to_string();
    for round in 1..=100 {
        // A listener comes and goes, the one under load stays.
        let more = format!("server {{ listen unix:{dir}/more.sock; return 204; }}");
        let more = if round % 2 == 0 { "" } else { more.as_str() };
        write(&nginx.folder, nginx.addr, &nginx.app, more);
        nginx.signal("nginx.pid", Signal::SIGHUP);
        nginx.wait_log("reloaded; serving on", round);
        assert_eq!(nginx.folder.join("more.sock").exists(), round % 2 == 1);
        load.wait_for_more(5);
    }
    websocket::send_text(&mut chat, "still here").unwrap();
    assert_eq!(websocket::read_text(&mut chat).unwrap(), "still here");
    let report = load.stop();
    report.assert_none_failed();
    assert!(report.answers.len() >= 500);
    assert!(process::descendants(nginx.pid("nginx.pid").unwrap()).is_empty());
}

#[test]
fn a_bad_file_is_refused_and_the_old_one_serves_on() {
    let nginx = Nginx::start();
    let load = load(nginx.addr, false);
    let good = nginx.folder.read("nginx.conf");
    nginx
        .folder
        .write("nginx.conf", good.replace("return 200", "retrun 200"));
    nginx.signal("nginx.pid", Signal::SIGHUP);
    nginx.wait_log("unknown directive \"retrun\" in ", 1);
    nginx.wait_log("the configuration before it is in effect", 1);
    load.wait_for_more(50);
    // Nor does a new binary start with it; the old one goes on under its own pid file.
    let pid = nginx.pid("nginx.pid");
    nginx.signal("nginx.pid", Signal::SIGUSR2);
    nginx.wait_log("has ended", 1);
    wait::until("the pid file", || {
        (nginx.pid("nginx.pid") == pid).then_some(())
    });
    assert!(!nginx.folder.join("nginx.pid.oldbin").exists());
    load.wait_for_more(50);
    load.stop().assert_none_failed();
}

#[test]
fn another_binary_takes_over_without_losing_a_request() {
    let nginx = Nginx::start();
    let old = nginx.pid("nginx.pid").unwrap();
    let mut chat = Client::connect(nginx.addr);
    websocket::upgrade(&mut chat, "/chat");
    let load = load(nginx.addr, true);
    load.wait_for_more(50);
    let new = nginx.upgrade();
    load.wait_for_more(100);
    nginx.signal("nginx.pid.oldbin", Signal::SIGWINCH);
    load.wait_for_more(100);
    nginx.signal("nginx.pid.oldbin", Signal::SIGQUIT);
    load.wait_for_more(100);
    // It waits for the conversation that it has.
    websocket::send_text(&mut chat, "bye").unwrap();
    assert_eq!(websocket::read_text(&mut chat).unwrap(), "bye");
    assert!(process::is_alive(old));
    drop(chat);
    nginx.wait_gone("nginx.pid.oldbin");
    nginx.wait_log("the process before this one has ended", 1);
    load.wait_for_more(100);
    load.stop().assert_none_failed();
    assert_eq!(get(nginx.addr, "/pid").text(), new.to_string());

    // And once more, by the one that was itself a successor.
    let load = self::load(nginx.addr, true);
    let newest = nginx.upgrade();
    nginx.signal("nginx.pid.oldbin", Signal::SIGQUIT);
    nginx.wait_gone("nginx.pid.oldbin");
    load.wait_for_more(100);
    load.stop().assert_none_failed();
    assert_eq!(get(nginx.addr, "/pid").text(), newest.to_string());
    let mut quit = Launch::trine("trine-proxy")
        .args(["-c", "nginx.conf", "-s", "quit"])
        .start(&nginx.folder);
    assert_eq!(quit.exit_code(), 0, "{}", quit.output());
    nginx.wait_gone("nginx.pid");
}

#[test]
fn there_is_a_way_back_out_of_an_upgrade() {
    let nginx = Nginx::start();
    let old = nginx.pid("nginx.pid").unwrap();
    let load = load(nginx.addr, true);
    nginx.upgrade();
    nginx.signal("nginx.pid.oldbin", Signal::SIGWINCH);
    nginx.wait_log("a core has finished", 2);
    load.wait_for_more(100);
    nginx.signal("nginx.pid.oldbin", Signal::SIGHUP);
    nginx.wait_log("reloaded; serving on", 1);
    nginx.signal("nginx.pid", Signal::SIGQUIT);
    nginx.wait_log("has ended", 1);
    wait::until("the pid file", || {
        (nginx.pid("nginx.pid") == Some(old)).then_some(())
    });
    load.wait_for_more(100);
    load.stop().assert_none_failed();
    assert_eq!(get(nginx.addr, "/pid").text(), old.to_string());
}

#[test]
fn a_start_that_fails_says_so_before_it_is_in_the_background() {
    let folder = Folder::new();
    let (addr, _held) = port::listening();
    write(&folder, addr, &echo(), "");
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
    let (code, output) = daemon::run(launch, &folder);
    assert_eq!(code, 75, "{output}");
    assert!(
        output.contains(&format!("cannot listen on {addr}")),
        "{output}"
    );
    assert!(!folder.join("nginx.pid").exists());
}

#[test]
fn called_as_nginx_it_is_nginx() {
    let folder = Folder::new();
    let nginx = folder.join("nginx");
    symlink(tools::binary("trine-proxy"), &nginx).unwrap();
    let run = |args: &[&str]| daemon::run(Launch::program(&nginx).args(args), &folder);
    let (code, version) = run(&["-V"]);
    assert_eq!(code, 0);
    for part in [
        "nginx version: nginx/1.31.5\n",
        "TLS SNI support enabled\n",
        "--with-http_ssl_module",
        "--with-http_realip_module",
        "--with-http_slice_module",
        "--with-http_addition_module",
        "--with-http_v2_module",
        "--with-stream ",
        "--with-stream_ssl_preread_module",
    ] {
        assert!(version.contains(part), "{part} in {version}");
    }
    // Not there, and not claimed.
    for part in ["http_dav_module", "http_v3_module", "http_mp4_module"] {
        assert!(!version.contains(part), "{part} in {version}");
    }
    let (code, said) = run(&["-x"]);
    assert_eq!((code, said.as_str()), (1, "nginx: invalid option: \"x\"\n"));
    // In the background unless the file or the command line says otherwise.
    let (addr, app) = (port::free(), echo());
    write(&folder, addr, &app, "");
    let good = folder.read("nginx.conf").replace("daemon on; ", "");
    folder.write("nginx.conf", &good);
    let conf = folder.join("nginx.conf").display().to_string();
    let mut started = Launch::program(&nginx).args(["-c", &conf]).start(&folder);
    assert_eq!(started.exit_code(), 0, "{}", started.output());
    assert_eq!(get(addr, "/own?x").text(), "x");
    let signal = |name: &str| {
        let (code, said) = run(&["-c", &conf, "-s", name]);
        assert_eq!((code, said.as_str()), (0, ""), "{name}");
    };
    signal("reload");
    wait::until("the reload", || {
        folder.read("error.log").contains("reloaded;").then_some(())
    });
    fs::rename(folder.join("error.log"), folder.join("error.log.1")).unwrap();
    signal("reopen");
    wait::until("the new log", || {
        folder.join("error.log").exists().then_some(())
    });
    signal("stop");
    wait::until("the end", || {
        (!folder.join("nginx.pid").exists()).then_some(())
    });
    let (code, said) = run(&["-c", &conf, "-s", "quit"]);
    assert_eq!(code, 1);
    assert!(said.starts_with("nginx: [error] open() \""), "{said}");
}
