//! Starting: what is refused, with which words and exit code, and sockets that were handed down.

use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;

use crate::harness::{Proxy, Upstream};

fn config(listen: &str) -> String {
    format!(
        "threads: 2\nservers:\n- listen: {listen}\n  locations: [{{ path: /, proxy: 'unix:a' }}]\n"
    )
}

#[test]
fn bad_files_tell_everything_at_once() {
    let proxy =
        Proxy::new().config("servers:\n- listen: 127.0.0.1:99999\n  location: []\nthreads: many\n");
    for args in [&[][..], &["-t"]] {
        let (code, said) = proxy.run(args);
        assert_eq!(code, 78, "{said}");
        let file = proxy.path("proxy.yaml");
        for want in [
            ":2:11: ",
            ":3:3: ",
            ":4:10: ",
            "did you mean \"locations\"?",
            "99999",
            "auto",
        ] {
            assert!(said.contains(want), "{want} in {said}");
        }
        assert!(said.contains(file.to_str().unwrap()), "{said}");
    }
    let (code, said) = Proxy::new().run(&[]);
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("give the path of a file that exists"),
        "{said}"
    );
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let proxy = Proxy::new().config(&config("127.0.0.1:0"));
    assert_eq!(proxy.run(&["-t"]), (0, String::new()));
}

#[test]
fn the_command_line() {
    let proxy = Proxy::new().config(&config("127.0.0.1:0"));
    let (code, said) = proxy.run(&["--nonsense"]);
    assert_eq!(code, 64, "{said}");
    assert_eq!(proxy.run(&["--log-level", "loud"]).0, 64);
    assert_eq!(proxy.run(&["--help"]).0, 0);
}

#[test]
fn an_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = Proxy::new().config(&config(&address)).run(&[]);
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains(&format!("cannot listen on {address}: another process does")),
        "{said}"
    );
    // Not even another proxy, which shares its address with its own cores.
    let first = Proxy::new().config(&config("127.0.0.1:0")).start();
    let (code, said) = Proxy::new().config(&config(first.address())).run(&[]);
    assert_eq!(code, 75, "{said}");
    // Nor another one's Unix socket.
    let first = Proxy::new().config(&config("unix:front.sock")).start();
    let (code, said) = Proxy::new().config(&config(first.address())).run(&[]);
    assert_eq!(code, 75, "{said}");
}

#[test]
fn all_cores_serve_one_address() {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("a"));
    let proxy = proxy.config(&config("127.0.0.1:0")).start();
    for _ in 0..20 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        // Which core it is decides which idle connection is used.
        let answered = std::thread::scope(|scope| {
            let app = &app;
            let reply = scope.spawn(move || client.reply());
            while !reply.is_finished() {
                if let Some(mut link) = app.try_accept() {
                    link.answer("ok");
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            reply.join().unwrap()
        });
        assert_eq!(answered.text(), "ok");
    }
}

/// Passes a socket as descriptor 3, as a supervisor does.
fn passing(proxy: &Proxy, socket: OwnedFd) -> Command {
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=http; export LISTEN_FDS LISTEN_PID LISTEN_FDNAMES; exec \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_trine-proxy"), "-c"])
        .arg(proxy.path("proxy.yaml"));
    assert!(socket.as_raw_fd() > 2);
    command.stdin(socket);
    command
}

#[test]
fn inherited_sockets_by_name_and_by_address() {
    for by_name in [true, false] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let listen = if by_name {
            "fd:http".to_owned()
        } else {
            address.clone()
        };
        let proxy = Proxy::new().config(&format!("control: proxy.sock\n{}", config(&listen)));
        let app = Upstream::at(&proxy.path("a"));
        let command = passing(&proxy, socket.try_clone().unwrap().into());
        let mut proxy = proxy.start_as_with_stdin(command);
        assert_eq!(proxy.address(), address);
        assert!(
            proxy
                .control("GET", "/v1/status")
                .1
                .contains("\"inherited\":true")
        );
        let mut client = proxy.client();
        client.get("/");
        app.accept().answer("inherited");
        assert_eq!(client.reply().text(), "inherited");
        // The socket belongs to whoever made it: connections wait for the next generation.
        proxy.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(proxy.wait_exit().code(), Some(0));
        let waiting = std::net::TcpStream::connect(&address).unwrap();
        drop((waiting, socket));
    }
}

#[test]
fn a_socket_that_nobody_handed_down() {
    let (code, said) = Proxy::new().config(&config("fd:http")).run(&[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("fd:http"), "{said}");
}
