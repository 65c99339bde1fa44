//! Real sockets, handed to real processes: the child is this test binary again, running `child` below.

use std::env;
use std::ffi::CString;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use trine_sys::process;
use trine_sys::spawn::Spawn;

use super::*;

fn addr(text: &str) -> ListenAddr {
    text.parse().unwrap()
}

fn unix(path: &Path) -> ListenAddr {
    ListenAddr::Unix(path.to_owned())
}

fn bind_own(addr: &ListenAddr) -> Result<Listener, Error> {
    bind(addr, &BindOptions::default(), &mut Inherited::default())
}

#[test]
fn own_tcp() {
    let first = bind_own(&addr("127.0.0.1:0")).unwrap();
    let SockAddr::Tcp(real) = first.addr else {
        panic!("{first}")
    };
    assert_ne!(real.port(), 0);
    assert_eq!(first.origin, Origin::Own);
    TcpStream::connect(real).unwrap();

    let again = ListenAddr::Tcp(real);
    let error = bind_own(&again).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {real}"));
    assert!(matches!(error, Error::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse));
    drop(first);
    bind_own(&again).unwrap();
}

#[test]
fn own_unix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let options = BindOptions {
        unix_mode: 0o600,
        ..BindOptions::default()
    };
    let first = bind(&unix(&path), &options, &mut Inherited::default()).unwrap();
    assert_eq!(
        path.metadata().unwrap().permissions().mode() & 0o7777,
        0o600
    );
    UnixStream::connect(&path).unwrap();
    assert!(bind_own(&unix(&path)).is_err(), "a living owner");
    drop(first);
    assert_eq!(
        dir.path().read_dir().unwrap().count(),
        0,
        "socket and lock are gone"
    );
}

#[test]
fn a_stale_socket_is_replaced_and_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = bind_own(&unix(&path)).unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(
        path.metadata().unwrap().permissions().mode() & 0o7777,
        0o660
    );
    drop(listener);

    std::fs::write(&path, "text").unwrap();
    bind_own(&unix(&path)).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
}

#[test]
fn nobody_handed_it_down() {
    let error = bind_own(&addr("fd:http")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no inherited socket matches fd:http; handed down: nothing"
    );
}

/// Runs `child` with `sockets` from descriptor 3 on, LISTEN_FDS as given and LISTEN_PID the child's own
/// or, if `pid` is given, that. `wanted` are addresses to bind. Returns what the child reported.
fn hand_down(
    sockets: &[BorrowedFd<'_>],
    names: &str,
    count: usize,
    pid: Option<u32>,
    wanted: &[String],
) -> String {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report");
    let program = CString::new(
        env::current_exe()
            .unwrap()
            .into_os_string()
            .into_encoded_bytes(),
    )
    .unwrap();
    let mut spawn = Spawn::new(program);
    spawn
        .argv
        .extend(["--exact", "listeners::tests::child"].map(|arg| CString::new(arg).unwrap()));
    let mut env = vec![
        format!("LISTEN_FDS={count}"),
        format!("LISTEN_FDNAMES={names}"),
        format!("TRINE_TEST_REPORT={}", report.display()),
        format!("TRINE_TEST_WANTED={}", wanted.join(" ")),
    ];
    env.extend(pid.map(|pid| format!("LISTEN_PID={pid}")));
    spawn.env = env
        .into_iter()
        .map(|entry| CString::new(entry).unwrap())
        .collect();
    spawn.listen_pid = pid.is_none();
    let silence = std::fs::File::create("/dev/null").unwrap();
    spawn.fds = sockets.iter().copied().zip(3..).collect();
    spawn.fds.push((silence.as_fd(), 1));
    let child = spawn.spawn().unwrap();
    assert!(process::wait(child.pid).unwrap().success());
    std::fs::read_to_string(report).unwrap()
}

/// The child's side; does nothing in an ordinary run.
#[test]
fn child() {
    let Ok(report) = env::var("TRINE_TEST_REPORT") else {
        return;
    };
    let text = match inherited() {
        Ok(mut all) => {
            let mut lines = Vec::new();
            for wanted in env::var("TRINE_TEST_WANTED").unwrap().split_whitespace() {
                lines.push(
                    match bind(&addr(wanted), &BindOptions::default(), &mut all) {
                        Ok(listener) => format!("{:?} {listener}", listener.origin),
                        Err(error) => error.to_string(),
                    },
                );
            }
            lines.extend(all.names().map(|name| format!("left {name}")));
            lines.push(inherited().map_or_else(
                |error| error.to_string(),
                |all| format!("{:?}", all.is_empty()),
            ));
            lines.join("\n")
        }
        Err(error) => error.to_string(),
    };
    std::fs::write(report, text).unwrap();
}

#[test]
fn handed_down() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let tcp = bind_own(&addr("127.0.0.1:0")).unwrap();
    let all_v6 = bind_own(&addr("[::]:0")).unwrap();
    let app = bind_own(&unix(&path)).unwrap();
    let SockAddr::Tcp(v6) = all_v6.addr else {
        panic!("{all_v6}")
    };
    let same_file = dir.path().join(".").join("app.sock");
    let wanted = [
        tcp.to_string(),
        format!("unix:{}", same_file.display()),
        format!("0.0.0.0:{}", v6.port()),
        "fd:extra".to_owned(),
        "fd:extra".to_owned(),
        "fd://3".to_owned(),
    ];
    let sockets = [
        tcp.as_fd(),
        app.as_fd(),
        all_v6.as_fd(),
        tcp.as_fd(),
        tcp.as_fd(),
    ];
    let got = hand_down(&sockets, "http:app:all:extra:rest", 5, None, &wanted);
    let again = "descriptor 3, promised by LISTEN_FDS, cannot be taken over";
    let want = format!(
        "Inherited {tcp}\nInherited {app}\nInherited {all_v6}\nInherited {tcp}\n\
         no inherited socket matches fd:extra; handed down: rest\n\
         no inherited socket matches fd://3; handed down: rest\nleft rest\n{again}"
    );
    assert_eq!(got, want);
    assert!(path.exists(), "an inherited socket's file is not removed");
    UnixStream::connect(&path).unwrap();
}

#[test]
fn meant_for_another_process() {
    let tcp = bind_own(&addr("127.0.0.1:0")).unwrap();
    let got = hand_down(&[tcp.as_fd()], "http", 1, Some(1), &["fd:http".to_owned()]);
    assert_eq!(
        got,
        "no inherited socket matches fd:http; handed down: nothing\ntrue"
    );
}

#[test]
fn promised_and_not_there() {
    let tcp = bind_own(&addr("127.0.0.1:0")).unwrap();
    let got = hand_down(&[tcp.as_fd()], "http", 900, None, &[]);
    assert!(
        got.ends_with("promised by LISTEN_FDS, cannot be taken over"),
        "{got}"
    );
}

#[test]
fn a_fork_leaves_the_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = bind_own(&unix(&path)).unwrap();
    let not_ours = SocketFile {
        maker: nix::unistd::getppid(),
        path: path.clone(),
        lock: listener.fd.try_clone().unwrap(),
    };
    drop(not_ours);
    assert!(path.exists());
}
