//! Users, groups and limits, as far as the tests' own rights go.

use trine_sys::limits::{self, Resource, UNLIMITED};
use trine_sys::privileges::{self, User};
use trine_sys::process::{self, Fork};

#[test]
fn users_and_groups_are_found_by_name_or_number() {
    let root = User {
        name: "root".into(),
        uid: 0,
        gid: 0,
        home: "/root".into(),
    };
    assert_eq!(privileges::find_user("root").unwrap(), Some(root.clone()));
    assert_eq!(privileges::find_user("0").unwrap(), Some(root.clone()));
    assert_eq!(privileges::find_user("no-such-user").unwrap(), None);
    assert_eq!(privileges::find_user("").unwrap(), None);
    let stranger = privileges::find_user("54321").unwrap().unwrap();
    assert_eq!(
        (stranger.uid, stranger.gid, stranger.name.as_str()),
        (54321, 54321, "")
    );
    assert_eq!(privileges::groups_of(&stranger, 7).unwrap(), [7]);
    assert!(privileges::groups_of(&root, 0).unwrap().contains(&0));
    assert_eq!(privileges::find_group("root").unwrap(), Some(0));
    assert_eq!(privileges::find_group("54321").unwrap(), Some(54321));
    assert_eq!(privileges::find_group("no-such-group").unwrap(), None);
}

#[test]
fn privileges_are_given_up_for_good() {
    if privileges::effective_uid() != 0 {
        eprintln!("left out: not root");
        return;
    }
    // SAFETY: the child makes system calls only and ends itself.
    #[expect(unsafe_code, reason = "who gives root up can not run the other tests")]
    let fork = unsafe { process::fork() }.unwrap();
    let child = match fork {
        Fork::Child => {
            let dropped = privileges::drop_to(65534, 65534, &[65534]).is_ok();
            let nobody = (privileges::effective_uid(), privileges::effective_gid());
            let regained = privileges::drop_to(0, 0, &[]).is_ok();
            process::exit_now(i32::from(
                !(dropped && nobody == (65534, 65534) && !regained),
            ))
        }
        Fork::Parent(child) => child,
    };
    assert!(process::wait(child).unwrap().success());
}

#[test]
fn one_thread_gives_privileges_up_and_the_others_keep_them() {
    if privileges::effective_uid() != 0 {
        eprintln!("left out: not root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let inside = secret.clone();
    let thread = std::thread::spawn(move || {
        privileges::drop_thread_to(65534, 65534, &[65534]).unwrap();
        assert!(privileges::drop_thread_to(0, 0, &[]).is_err());
        std::fs::read(inside).is_err()
    });
    assert!(thread.join().unwrap(), "the file is root's own");
    assert_eq!(std::fs::read(&secret).unwrap(), b"s");
    assert_eq!(privileges::effective_uid(), 0);
}

#[test]
fn limits_are_raised_as_far_as_they_go_and_never_lowered() {
    let (soft, hard) = limits::get(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(limits::raise(Resource::RLIMIT_NOFILE, 1).unwrap(), soft);
    if hard != UNLIMITED {
        assert_eq!(limits::raise(Resource::RLIMIT_NOFILE, hard).unwrap(), hard);
        assert_eq!(limits::get(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}

#[test]
fn memory_of_this_process() {
    let rss = process::rss_bytes(process::getpid()).unwrap();
    assert!(rss > 100_000 && rss < 10_000_000_000, "{rss}");
}
