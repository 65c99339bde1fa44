//! Sockets: modes, stale and living Unix listeners, addresses, and what sending and receiving report.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use trine_sys::net::{self, SockAddr, listen_unix};
use trine_sys::process::{self, Fork};

/// What listening at `path` says.
fn listen(path: &Path) -> Result<net::UnixListenFd, ErrorKind> {
    listen_unix(path, 0o600, 16).map_err(|err| err.kind())
}

#[test]
fn a_unix_listener_has_exactly_its_mode_and_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mode) in [("a", 0o600), ("b", 0o660), ("c", 0o666), ("d", 0o777)] {
        let path = dir.path().join(name);
        let listener = listen_unix(&path, mode, 16).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            mode
        );
        assert_eq!(
            net::local_addr(&listener).unwrap(),
            SockAddr::Unix(path.clone())
        );
        assert!(net::is_listening(&listener).unwrap());
        let client = UnixStream::connect(&path).unwrap();
        let (conn, peer) = net::accept4(&listener).unwrap();
        assert_eq!(peer, SockAddr::UnixUnnamed);
        assert_eq!(
            net::peer_cred(&conn).unwrap().pid,
            process::getpid().as_raw()
        );
        drop(client);
        listener.remove_files(&path).unwrap();
        assert!(!path.exists());
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "no lock file is left"
    );
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");

    // Left behind by a daemon that was killed.
    drop(listen(&path).unwrap());
    assert!(path.exists());
    let first = listen(&path).unwrap();

    // Alive in this process.
    assert_eq!(listen(&path).unwrap_err(), ErrorKind::AddrInUse);
    drop(first);

    // A foreign server that knows no lock.
    fs::remove_file(&path).unwrap();
    let foreign = UnixListener::bind(&path).unwrap();
    assert_eq!(listen(&path).unwrap_err(), ErrorKind::AddrInUse);
    drop(foreign);
    drop(listen(&path).unwrap());

    // Not a socket at all: never touched.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    assert_eq!(listen(&path).unwrap_err(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_living_owner_in_another_process_keeps_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let listener = listen(&path).unwrap();
    // SAFETY: the child makes system calls on what exists already and ends itself.
    #[expect(unsafe_code, reason = "the owner has to be another process")]
    let fork = unsafe { process::fork() }.unwrap();
    let child = match fork {
        Fork::Child => {
            // Holds the inherited lock and socket until told to go.
            let _ = (&theirs).read(&mut [0]);
            process::exit_now(0)
        }
        Fork::Parent(child) => child,
    };
    drop((listener, theirs));
    assert_eq!(listen(&path).unwrap_err(), ErrorKind::AddrInUse);
    ours.write_all(b"x").unwrap();
    process::wait(child).unwrap();
    listen(&path).unwrap();
}

#[test]
fn a_lock_removed_by_its_owner_locks_nothing_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let first = listen(&path).unwrap();
    first.remove_files(&path).unwrap();
    // The first still holds its (nameless) lock; the second has its own.
    let second = listen(&path).unwrap();
    drop(first);
    assert_eq!(listen(&path).unwrap_err(), ErrorKind::AddrInUse);
    drop(second);
}

#[test]
fn paths_that_do_not_fit_are_told() {
    let long = Path::new("/tmp").join("x".repeat(120));
    let err = listen_unix(&long, 0o600, 1).unwrap_err();
    assert_eq!(
        err.to_string(),
        "the path is 125 bytes long; a Unix socket's can have 107"
    );
}

#[test]
fn tcp_addresses_come_back() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = net::listen_tcp(addr.parse().unwrap(), 16, false) else {
            assert!(addr.starts_with('['), "IPv4 is always there");
            continue;
        };
        let SockAddr::Tcp(local) = net::local_addr(&listener).unwrap() else {
            panic!("TCP")
        };
        assert!(local.port() != 0 && local.ip().is_loopback());
        assert_eq!(
            net::accept4(&listener).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let client = TcpStream::connect(local).unwrap();
        let (conn, peer) = net::accept4(&listener).unwrap();
        assert_eq!(peer, SockAddr::Tcp(client.local_addr().unwrap()));
        assert_eq!(net::peer_addr(&conn).unwrap(), peer);
        net::set_nodelay(&conn, true).unwrap();
        let again = net::listen_tcp(local, 16, false).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn one_port_is_shared_when_all_ask_for_it() {
    let first = net::listen_tcp("127.0.0.1:0".parse().unwrap(), 16, true).unwrap();
    let SockAddr::Tcp(local) = net::local_addr(&first).unwrap() else {
        panic!("TCP")
    };
    net::listen_tcp(local, 16, true).unwrap();
}

#[test]
fn sending_and_receiving_never_wait_and_never_kill() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut buf = [0; 16];
    assert_eq!(
        net::recv(&ours, &mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(net::send(&theirs, b"one ").unwrap(), 4);
    assert_eq!(net::send_more(&theirs, b"two ").unwrap(), 4);
    let parts = [
        IoSlice::new(b"three "),
        IoSlice::new(b""),
        IoSlice::new(b"four"),
    ];
    assert_eq!(net::writev(&theirs, &parts).unwrap(), 10);
    assert_eq!(net::peek(&ours, &mut buf[..3]).unwrap(), 3);
    let mut all = Vec::with_capacity(64);
    assert_eq!(net::recv_append(&ours, &mut all).unwrap(), 18);
    assert_eq!(all, b"one two three four");
    // A full socket, then a closed one: errors, not signals.
    let full = loop {
        match net::send(&theirs, &[0; 65536]) {
            Ok(_) => {}
            Err(err) => break err.kind(),
        }
    };
    assert_eq!(full, ErrorKind::WouldBlock);
    net::shutdown(&ours, Shutdown::Read).unwrap();
    assert_eq!(
        net::send(&theirs, b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    drop(theirs);
    let mut full = Vec::new();
    assert_eq!(
        net::recv_append(&ours, &mut full).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn after_shut_rd_the_rest_is_still_read_and_then_comes_the_end() {
    let (server, client) = UnixStream::pair().unwrap();
    net::send(&client, b"late request").unwrap();
    net::shutdown(&server, Shutdown::Read).unwrap();
    let mut buf = [0; 64];
    assert_eq!(net::recv(&server, &mut buf).unwrap(), 12);
    assert_eq!(net::recv(&server, &mut buf).unwrap(), 0);
    assert_eq!(
        net::send(&client, b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn a_datagram_socket_replaces_a_socket_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    drop(net::bind_datagram(&path, 0o600).unwrap());
    let socket = net::bind_datagram(&path, 0o622).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions(),
        Permissions::from_mode(0o140622)
    );
    assert_eq!(
        net::local_addr(socket.as_fd()).unwrap(),
        SockAddr::Unix(path.clone())
    );
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    let err: io::Error = net::bind_datagram(&path, 0o600).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
    let server = net::bind_udp((Ipv4Addr::UNSPECIFIED, 0).into(), true).unwrap();
    assert!(net::is_datagram(&server).unwrap());
    net::tell_destinations(&server, true).unwrap();
    let SockAddr::Tcp(bound) = net::local_addr(&server).unwrap() else {
        panic!("no IP address");
    };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asked = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 9).into(), bound.port());
    client.send_to(b"question", asked).unwrap();
    let mut buf = [0; 64];
    // What was sent over the loopback interface is there at once.
    let came = net::recv_datagram(&server, &mut buf).unwrap();
    assert_eq!(&buf[..came.len], b"question");
    assert_eq!(came.from, client.local_addr().unwrap());
    assert_eq!(came.to, Some(IpAddr::from([127, 0, 0, 9])));
    net::send_datagram(&server, b"answer", came.from, came.to).unwrap();
    let (len, from) = client.recv_from(&mut buf).unwrap();
    assert_eq!((&buf[..len], from), (&b"answer"[..], asked));
    let none = net::recv_datagram(&server, &mut buf).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
}
