//! The cache against real folders.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn check(cache: &Cache, root: &Path, rest: &str, later: u64, want: &str) {
    let now = Instant::now() + Duration::from_secs(later);
    let kinds = Kinds::built_in();
    let shape = Shape::new(&kinds, &FileRules::nginx());
    let got = match cache.look(root, rest.as_bytes(), &[b"index.html"], &shape, now) {
        Look::File(entry) => String::from_utf8_lossy(&cache.body(&entry).unwrap()).into_owned(),
        Look::Trouble(error) => format!("Trouble {error}"),
        look => format!("{look:?}"),
    };
    assert_eq!(got, want, "{rest}");
}

#[test]
fn looks() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("dir/empty")).unwrap();
    fs::write(temp.path().join("secret"), "secret").unwrap();
    fs::write(root.join("a.txt"), "a").unwrap();
    fs::write(root.join("dir/index.html"), "index").unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("a.txt", root.join("in")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let files: &Path = &root;
    let cache = Cache::default();
    let check = |rest: &str, want: &str| check(&cache, files, rest, 0, want);
    check("a.txt", "a");
    check("in", "a");
    check("dir/", "index");
    check("dir", "Folder");
    check("dir/empty/", "NoIndex");
    check("dir/none/", "Missing");
    check("", "NoIndex");
    check("none", "Missing");
    check("a.txt/", "Missing");
    check("a.txt/x", "Missing");
    check("out", "Missing");
    check("etc/passwd", "Missing");
    check("loop", "Forbidden");
    check("pipe", "Missing");
    check("../secret", "Missing");
    check(&"x".repeat(300), "Missing");
    assert_eq!(cache.len(), 3);
}

#[test]
fn changes_show_after_a_second() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a"), "one").unwrap();
    let files: &Path = temp.path();
    let cache = Cache::default();
    check(&cache, files, "a", 0, "one");
    fs::write(temp.path().join("b"), "three").unwrap();
    fs::rename(temp.path().join("b"), temp.path().join("a")).unwrap();
    check(&cache, files, "a", 2, "three");
    fs::remove_file(temp.path().join("a")).unwrap();
    check(&cache, files, "a", 4, "Missing");
    assert_eq!(cache.len(), 0);
}

#[test]
fn the_oldest_goes_first() {
    let temp = tempfile::tempdir().unwrap();
    let files: &Path = temp.path();
    let cache = Cache::default();
    for number in 0..=MOST_FILES {
        let name = number.to_string();
        fs::write(temp.path().join(&name), &name).unwrap();
        check(&cache, files, &name, 0, &name);
        check(&cache, files, "0", 0, "0");
    }
    assert_eq!(cache.len(), MOST_FILES);
    assert!(
        cache
            .entries
            .borrow()
            .keys()
            .any(|key| key.ends_with(b"\x000"))
    );
    assert!(
        !cache
            .entries
            .borrow()
            .keys()
            .any(|key| key.ends_with(b"\x001"))
    );
}
