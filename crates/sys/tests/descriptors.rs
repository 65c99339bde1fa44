//! Descriptors that travel, files that stay inside, and readiness.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixStream};

use trine_sys::epoll::{self, Epoll, Event, Interest};
use trine_sys::fdpass;
use trine_sys::file::{self, OFlag, SpliceFFlags};
use trine_sys::process::{self, Fork};

#[test]
fn a_descriptor_goes_to_a_forked_child_and_works_there() {
    let (ours, theirs) = fdpass::seqpacket_pair().unwrap();
    let (reader, writer) = file::pipe_cloexec().unwrap();
    // SAFETY: the child makes system calls and ends itself.
    #[expect(unsafe_code, reason = "the receiver has to be another process")]
    let fork = unsafe { process::fork() }.unwrap();
    let child = match fork {
        Fork::Child => {
            drop((reader, writer, ours));
            let mut buf = [0; 64];
            let good = match fdpass::recv_fds(&theirs, &mut buf, 1) {
                Ok((len, fds)) => fds.len() == 1 && file::write(&fds[0], &buf[..len]).is_ok(),
                Err(_) => false,
            };
            process::exit_now(i32::from(!good))
        }
        Fork::Parent(child) => child,
    };
    assert_eq!(
        fdpass::send_fds(&ours, b"over there", &[writer.as_fd()]).unwrap(),
        10
    );
    drop(writer);
    assert!(process::wait(child).unwrap().success());
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "over there");
}

#[test]
fn many_descriptors_in_one_message() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let null = File::open("/dev/null").unwrap();
    let many = vec![null.as_fd(); fdpass::MAX_FDS];
    fdpass::send_fds(&ours, b"x", &many).unwrap();
    let (len, fds) = fdpass::recv_fds(&theirs, &mut [0; 8], fdpass::MAX_FDS).unwrap();
    assert_eq!((len, fds.len()), (1, fdpass::MAX_FDS));
    for fd in &fds {
        let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, nix::fcntl::FdFlag::FD_CLOEXEC.bits());
    }
    // One too many for the kernel; and more than the receiver wants.
    let more = vec![null.as_fd(); fdpass::MAX_FDS + 1];
    assert!(fdpass::send_fds(&ours, b"x", &more).is_err());
    fdpass::send_fds(&ours, b"x", &many[..3]).unwrap();
    let err = fdpass::recv_fds(&theirs, &mut [0; 8], 2).unwrap_err();
    assert_eq!(
        err.to_string(),
        "3 descriptors came where at most 2 were awaited"
    );
    // Without any it is an ordinary message, and then the end.
    fdpass::send_fds(&ours, b"plain", &[]).unwrap();
    drop(ours);
    let mut buf = [0; 8];
    assert_eq!(fdpass::recv_fds(&theirs, &mut buf, 0).unwrap().0, 5);
    assert_eq!(fdpass::recv_fds(&theirs, &mut buf, 0).unwrap().0, 0);
}

#[test]
fn senders_are_known_and_long_datagrams_are_marked() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    fdpass::set_passcred(&theirs).unwrap();
    ours.send(b"READY=1").unwrap();
    let received = fdpass::recv_message(&theirs, &mut [0; 4]).unwrap();
    assert_eq!(
        received.sender.map(|who| who.pid),
        Some(process::getpid().as_raw())
    );
    assert!(received.truncated);
}

#[test]
fn only_what_came_through_exec_can_be_adopted() {
    let file = File::open("/dev/null").unwrap();
    assert!(
        fdpass::adopt(file.as_raw_fd()).is_err(),
        "CLOEXEC: it has an owner here"
    );
    assert!(fdpass::adopt(-1).is_err());
    assert!(fdpass::adopt(9999).is_err());
    fdpass::set_cloexec(&file, false).unwrap();
    let number = file.into_raw_fd();
    let adopted = fdpass::adopt(number).unwrap();
    assert_eq!(adopted.as_raw_fd(), number);
    assert!(fdpass::adopt(number).is_err(), "once only");
}

#[test]
fn a_sealed_memory_file_does_not_change() {
    let fd = fdpass::memfd(c"state").unwrap();
    file::write(&fd, b"written").unwrap();
    fdpass::seal(&fd).unwrap();
    assert!(file::write(&fd, b"more").is_err());
    let mut text = String::new();
    let mut file = File::from(fd);
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "written");
}

#[test]
fn nothing_outside_the_folder_opens() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    fs::write(root.join("page"), "page").unwrap();
    fs::write(root.join("sub/deep"), "deep").unwrap();
    symlink("../page", root.join("sub/inside")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
    symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
    symlink("..", root.join("up")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();

    let dir = file::open_dir(&root).unwrap();
    let check = |path: &str, want: &str| {
        let got = match file::open_beneath(&dir, path, OFlag::O_RDONLY) {
            Ok(fd) => {
                let mut text = String::new();
                let read = File::from(fd).read_to_string(&mut text);
                read.map_or_else(|err| err.kind().to_string(), |_| text)
            }
            Err(err) => err.kind().to_string(),
        };
        assert_eq!(got, want, "{path}");
    };
    check("page", "page");
    check("sub/deep", "deep");
    check("sub/inside", "page");
    check("sub/../page", "page");
    check("./page", "page");
    check("missing", "entity not found");
    check("page/x", "not a directory");
    check("sub", "is a directory");
    check("fifo", ""); // opens at once, and nobody writes
    let outside = "cross-device link or rename";
    check("../secret", outside);
    check("sub/../../secret", outside);
    check("out", outside);
    check("absolute", outside);
    check("magic", outside);
    check("up/secret", outside);
    check("/etc/passwd", outside);
    check("..", outside);
}

#[test]
fn bytes_move_between_files_pipes_and_sockets() {
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(b"0123456789").unwrap();
    let mut buf = [0; 16];
    assert_eq!(file::pread(&source, &mut buf, 4).unwrap(), 6);
    assert_eq!(file::pread(&source, &mut buf, 99).unwrap(), 0);

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut offset = 2;
    assert_eq!(file::sendfile(&ours, &source, &mut offset, 5).unwrap(), 5);
    assert_eq!(offset, 7);
    theirs.read_exact(&mut buf[..5]).unwrap();
    assert_eq!(&buf[..5], b"23456");

    let (reader, writer) = file::pipe_cloexec_nonblock().unwrap();
    let (reader2, writer2) = file::pipe_cloexec_nonblock().unwrap();
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
    let mut offset = 8;
    assert_eq!(
        file::splice(&source, &writer, Some(&mut offset), 100, flags).unwrap(),
        2
    );
    assert_eq!(file::tee(&reader, &writer2, 100, flags).unwrap(), 2);
    for end in [&reader, &reader2] {
        assert_eq!(file::read(end, &mut buf).unwrap(), 2);
        assert_eq!(&buf[..2], b"89");
    }
    assert!(file::set_pipe_size(&writer, 100_000).unwrap() >= 100_000);
    assert!(file::read(&reader, &mut buf).is_err());
}

#[test]
fn readiness_is_reported_by_token() {
    let poll = Epoll::new().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let wake: OwnedFd = epoll::eventfd().unwrap();
    poll.add(&ours, 7, Interest::EPOLLIN).unwrap();
    poll.add(&wake, 8, Interest::EPOLLIN).unwrap();
    let mut events = [Event::EMPTY; 8];
    assert_eq!(poll.wait(&mut events, 0).unwrap(), 0);

    (&theirs).write_all(b"x").unwrap();
    epoll::eventfd_wake(&wake).unwrap();
    epoll::eventfd_wake(&wake).unwrap();
    let count = poll.wait(&mut events, -1).unwrap();
    let mut tokens: Vec<_> = events[..count].iter().map(Event::token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [7, 8]);
    assert!(
        events[..count]
            .iter()
            .all(|event| event.readable() && !event.writable())
    );
    assert_eq!(epoll::eventfd_take(&wake).unwrap(), 2);
    assert_eq!(epoll::eventfd_take(&wake).unwrap(), 0);

    poll.modify(&ours, 9, Interest::EPOLLOUT).unwrap();
    assert_eq!(poll.wait(&mut events, -1).unwrap(), 1);
    assert_eq!((events[0].token(), events[0].writable()), (9, true));
    poll.delete(&ours).unwrap();
    assert_eq!(poll.wait(&mut events, 0).unwrap(), 0);
}
