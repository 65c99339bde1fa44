//! Both sides of the protocol over real sockets, path and abstract.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

#[track_caller]
fn check(address: &str) {
    let receiver = NotifyReceiver::bind(address, 0o600).unwrap();
    assert_eq!(receiver.receive().unwrap(), []);
    let notifier = Notifier::to(address);
    notifier.status("two\nlines").unwrap();
    notifier.ready_with("serving").unwrap();
    notifier.reloading().unwrap();
    notifier.stopping().unwrap();
    notifier.watchdog().unwrap();
    notifier.main_pid(17).unwrap();
    notifier.extend_timeout(Duration::from_millis(3)).unwrap();
    notifier.send(&"x".repeat(5000)).unwrap();
    let got = receiver.receive().unwrap();
    assert!(
        got.iter()
            .all(|message| message.pid as u32 == std::process::id())
    );
    assert_eq!(got.len(), 7, "the long one is dropped");
    assert_eq!(got[0].status(), Some("two lines"));
    assert_eq!(
        (got[1].is_ready(), got[1].status()),
        (true, Some("serving"))
    );
    assert!(
        got[2].is_reloading()
            && got[2]
                .get("MONOTONIC_USEC")
                .unwrap()
                .parse::<u64>()
                .unwrap()
                > 0
    );
    assert!(got[3].is_stopping() && got[4].is_watchdog());
    assert_eq!(got[5].main_pid(), Some(17));
    assert_eq!(got[6].extend_timeout(), Some(Duration::from_millis(3)));
}

#[test]
fn abstract_socket() {
    check(&format!("@trine-test-{}", std::process::id()));
}

#[test]
fn path_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let address = path.to_str().unwrap();
    check(address); // leaves the file behind …
    check(address); // … which is stale and is replaced
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let living = NotifyReceiver::bind(address, 0o600).unwrap();
    let error = NotifyReceiver::bind(address, 0o600).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot use notification socket {address}")
    );
    Notifier::to(address).ready().unwrap();
    assert_eq!(
        living.receive().unwrap().len(),
        1,
        "the first owner still has it"
    );
}

#[test]
fn a_file_that_is_no_socket_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "text").unwrap();
    NotifyReceiver::bind(path.to_str().unwrap(), 0o600).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
}

#[test]
fn nobody_there() {
    assert!(!Notifier::default().is_active());
    Notifier::default().ready().unwrap();
    Notifier::to("/nonexistent/notify").ready().unwrap_err();
    Notifier::to("vsock:2:1234").ready().unwrap_err();
}

#[test]
fn parsing() {
    let message = NotifyMessage::parse(1, 0, b"READY=0\nnonsense\nSTATUS=a=b\nREADY=1\nX=\xff");
    assert!(message.is_ready(), "the last one counts");
    assert_eq!(message.status(), Some("a=b"));
    assert_eq!(message.get("X"), Some("\u{fffd}"));
    assert_eq!((message.main_pid(), message.extend_timeout()), (None, None));
}

#[test]
fn attached_descriptors_are_not_kept() {
    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
    use std::os::fd::AsRawFd as _;
    let name = format!("trine-test-fds-{}", std::process::id());
    let receiver = NotifyReceiver::bind(&format!("@{name}"), 0).unwrap();
    let (kept, sent) = std::os::unix::net::UnixStream::pair().unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let fds = [sent.as_raw_fd()];
    let to = UnixAddr::new_abstract(name.as_bytes()).unwrap();
    let parts = [std::io::IoSlice::new(b"BARRIER=1")];
    sendmsg(
        sender.as_raw_fd(),
        &parts,
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        Some(&to),
    )
    .unwrap();
    drop(sent);
    assert_eq!(receiver.receive().unwrap()[0].get("BARRIER"), Some("1"));
    kept.set_nonblocking(true).unwrap();
    let end = std::io::Read::read(&mut &kept, &mut [0]).unwrap();
    assert_eq!(end, 0, "the last copy of the other end is closed");
}

/// systemd's own client: it names itself by its pid, and waits until we have read (BARRIER).
#[test]
fn a_foreign_client() {
    let address = format!("@trine-test-foreign-{}", std::process::id());
    let receiver = NotifyReceiver::bind(&address, 0).unwrap();
    let mut command = std::process::Command::new("systemd-notify");
    command
        .args(["--ready", "--status=up", "--pid=4711"])
        .env("NOTIFY_SOCKET", &address);
    let Ok(mut client) = command.spawn() else {
        eprintln!("left out: systemd-notify is not installed");
        return;
    };
    let mut got = Vec::new();
    let ended = loop {
        let mut fds = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&receiver),
            nix::poll::PollFlags::POLLIN,
        )];
        nix::poll::poll(&mut fds, 20_u16).unwrap();
        got.extend(receiver.receive().unwrap());
        if let Some(status) = client.try_wait().unwrap() {
            break status;
        }
    };
    assert!(ended.success(), "{ended}");
    assert_eq!((got[0].is_ready(), got[0].status()), (true, Some("up")));
    // Root may send in another's name (`unix(7)`), and systemd-notify does: as its parent, us.
    assert!(
        [client.id(), std::process::id(), 4711].contains(&(got[0].pid as u32)),
        "{got:?}"
    );
}
