//! Users and groups: looking them up and becoming them, for good.
//! Not here: HOME, USER and the like, which nobody changes unasked.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::unistd::{self, Gid, Group, Uid};

/// What is known about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Empty when only a number is known.
    pub name: String,
    pub uid: u32,
    /// The main group; for a bare number without an entry, the group of the same number.
    pub gid: u32,
    pub home: PathBuf,
}

/// Finds a user by name or number. `Ok(None)`: there is no such name; a number needs no entry.
pub fn find_user(name_or_uid: &str) -> io::Result<Option<User>> {
    let found = unistd::User::from_name(name_or_uid)?;
    let found = match (found, name_or_uid.parse::<u32>()) {
        (Some(user), _) => user,
        (None, Err(_)) => return Ok(None),
        (None, Ok(uid)) => match unistd::User::from_uid(Uid::from_raw(uid))? {
            Some(user) => user,
            None => {
                return Ok(Some(User {
                    name: String::new(),
                    uid,
                    gid: uid,
                    home: "/".into(),
                }));
            }
        },
    };
    Ok(Some(User {
        name: found.name,
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
        home: found.dir,
    }))
}

/// Finds a group's number by name or number. `Ok(None)`: there is no such name; a number needs no entry.
pub fn find_group(name_or_gid: &str) -> io::Result<Option<u32>> {
    let found = Group::from_name(name_or_gid)?.map(|group| group.gid.as_raw());
    Ok(found.or_else(|| name_or_gid.parse().ok()))
}

/// All groups the user belongs to, with `gid` among them: what login would set.
pub fn groups_of(user: &User, gid: u32) -> io::Result<Vec<u32>> {
    if user.name.is_empty() {
        return Ok(vec![gid]);
    }
    let name = CString::new(user.name.as_str())?;
    let groups = unistd::getgrouplist(&name, Gid::from_raw(gid))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Becomes `uid`:`gid` with exactly `groups`, and checks that there is no way back.
pub fn drop_to(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    unistd::setgroups(&groups)?;
    unistd::setresgid(gid, gid, gid)?;
    unistd::setresuid(uid, uid, uid)?;
    let root = Uid::from_raw(0);
    if !uid.is_root() && unistd::setresuid(root, root, root).is_ok() {
        return Err(io::Error::other(
            "root could be regained after giving it up",
        ));
    }
    Ok(())
}

/// The same for the calling thread alone: the others of the process stay who they are. Files that the thread opens from
/// now on, and what it may do to other processes, are `uid`'s business (credentials(7): to the kernel they belong to a
/// thread; it is the C library that makes processes of them).
#[expect(
    unsafe_code,
    reason = "the C library only offers these calls for all threads at once"
)]
pub fn drop_thread_to(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` is a live slice of the length that is told, of the kernel's own type for group ids.
    let call = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    nix::errno::Errno::result(call)?;
    // SAFETY: numbers only; what the kernel refuses comes back as an error.
    let call = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    nix::errno::Errno::result(call)?;
    // SAFETY: numbers only; what the kernel refuses comes back as an error.
    let call = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    nix::errno::Errno::result(call)?;
    if uid != 0 {
        // SAFETY: numbers only; this has to fail.
        let back = unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) };
        if back == 0 {
            return Err(io::Error::other(
                "root could be regained after giving it up",
            ));
        }
    }
    Ok(())
}

#[must_use]
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

#[must_use]
pub fn effective_gid() -> u32 {
    Gid::effective().as_raw()
}
