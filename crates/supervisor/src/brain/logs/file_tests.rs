//! Rotation and cutting on real files and a real pipe.

use super::*;

fn rig(max_bytes: u64, backups: u32) -> (tempfile::TempDir, LogWriter, OwnedFd, File) {
    let dir = tempfile::tempdir().unwrap();
    let settings = LogFile {
        path: dir.path().join("deep/web.log"),
        max_bytes,
        backups,
        lines: crate::config::extras::Lines::default(),
    };
    let (read, write) = sys::pipe_cloexec_nonblock().unwrap();
    (
        dir,
        LogWriter::open(settings).unwrap(),
        read,
        File::from(write),
    )
}

fn drain(log: &mut LogWriter, pipe: &OwnedFd) {
    let mut peek = Peek::new().unwrap();
    while log.step(pipe, 65536, &mut peek).unwrap() != Moved::Nothing {}
}

/// The contents from the oldest to the newest, in brackets.
fn contents(log: &LogWriter) -> String {
    let path = &log.settings.path;
    let names = (1..10)
        .rev()
        .map(|number| backup(path, number))
        .chain([path.clone()]);
    names
        .filter_map(|name| fs::read_to_string(name).ok())
        .map(|text| format!("[{text}]"))
        .collect()
}

#[track_caller]
fn check(max_bytes: u64, backups: u32, writes: &[&str], want: &str) {
    let (_dir, mut log, read, mut write) = rig(max_bytes, backups);
    for text in writes {
        write.write_all(text.as_bytes()).unwrap();
        drain(&mut log, &read);
    }
    assert_eq!(contents(&log), want);
}

#[test]
fn rotation_keeps_lines_whole() {
    check(0, 3, &["a\n", "b\n"], "[a\nb\n]");
    check(4, 3, &["a\nb\nc\nd\ne\n"], "[a\nb\n][c\nd\n][e\n]");
    check(5, 3, &["aa\nbb\ncc\n"], "[aa\n][bb\n][cc\n]");
    check(5, 3, &["aa\nb", "b\ncc\n"], "[aa\nbb\n][cc\n]");
    check(4, 3, &["aaaaaaaaa\nb\n"], "[aaaaaaaaa\n][b\n]");
    check(2, 2, &["a\nb\nc\nd\n"], "[b\n][c\n][d\n]");
    check(2, 1, &["a\nb\nc\nd\n"], "[c\n][d\n]");
    check(2, 0, &["a\nb\nc\n"], "[c\n]");
}

#[test]
fn a_rotation_that_was_cut_off_loses_no_file() {
    let (_dir, mut log, read, mut write) = rig(2, 3);
    let path = log.settings.path.clone();
    for (number, text) in [(3, "a\n"), (2, "b\n")] {
        fs::write(backup(&path, number), text).unwrap(); // .1 was moved to .2, the log itself was not moved yet
    }
    write.write_all(b"c\nd\n").unwrap();
    drain(&mut log, &read);
    assert_eq!(contents(&log), "[a\n][b\n][c\n][d\n]");
}

#[test]
fn a_new_writer_goes_on_at_the_end() {
    let (_dir, mut log, read, mut write) = rig(0, 0);
    write.write_all(b"one\n").unwrap();
    drain(&mut log, &read);
    let mut second = LogWriter::open(log.settings.clone()).unwrap();
    write.write_all(b"two\n").unwrap();
    drain(&mut second, &read);
    assert_eq!(contents(&log), "[one\ntwo\n]");
    // Emptied by somebody else: no hole in front.
    fs::write(&log.settings.path, "").unwrap();
    write.write_all(b"three\n").unwrap();
    drain(&mut second, &read);
    assert_eq!(contents(&log), "[three\n]");
}
