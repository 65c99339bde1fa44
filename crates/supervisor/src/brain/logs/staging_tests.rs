//! A brain that dies between any two steps, and the next one: every byte is written once.

use super::super::changes::{Flush, change};
use super::super::file::{LogWriter, Moved};
use super::super::filter::{Resume, Wanted};
use super::super::lines::Speaker;
use super::*;
use crate::config::LogFile;
use crate::config::extras::{LineFormat, Lines};
use std::io::Write as _;
use std::path::PathBuf;

struct Rig {
    folder: tempfile::TempDir,
    pipe: OwnedFd,
    /// What the holder keeps.
    kept: OwnedFd,
    max_bytes: u64,
    format: LineFormat,
    wanted: Wanted,
}

impl Rig {
    fn new(text: &str, max_bytes: u64, format: LineFormat, wanted: Wanted) -> Self {
        let (pipe, write) = sys::pipe_cloexec_nonblock().unwrap();
        File::from(write).write_all(text.as_bytes()).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            pipe,
            kept: trine_sys::fdpass::memfd(c"test").unwrap(),
            max_bytes,
            format,
            wanted,
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// One brain's life: until all is written, or until it has taken so many steps.
    fn live(&self, fuse: Option<u32>) -> io::Result<()> {
        take_back(&self.kept, &self.log())?;
        let mut staging = Staging::new(self.kept.try_clone()?)?;
        staging.fuse = fuse;
        let mut log = LogWriter::open(LogFile {
            path: self.log(),
            max_bytes: self.max_bytes,
            backups: 100,
            lines: Lines::default(),
        })?;
        let speaker = Speaker {
            id: "web".into(),
            channel: "stdout",
        };
        loop {
            while staging.has_output() {
                let bytes = staging.output()?;
                let moved = log.append(&bytes, &mut |count, place| staging.begin(count, place))?;
                if moved.count() > 0 {
                    staging.end()?;
                }
                if let Moved::Rotated { .. } = moved {
                    staging.live_on()?;
                    log.rotate()?;
                }
            }
            // Little at a time, so that lines and tags come in pieces.
            let came = staging.take_in(&self.pipe, 7)?;
            let flush = if came == 0 { Flush::All } else { Flush::No };
            let resume = Resume::of(staging.resume());
            let input = staging.input()?;
            let changed = change(&input, resume, self.wanted, self.format, &speaker, flush);
            if changed.taken == 0 && came == 0 {
                return Ok(());
            }
            staging.commit(changed.taken, changed.resume.word(), &changed.out)?;
        }
    }

    /// All that was written, without the times.
    fn written(&self) -> String {
        let backup = |number: u32| self.folder.path().join(format!("log.{number}"));
        let all = (1..100).rev().map(backup).chain([self.log()]);
        let text: String = all
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect();
        match self.format {
            LineFormat::Raw => text,
            LineFormat::Prefixed | LineFormat::Json => text
                .lines()
                .map(|line| format!("{}\n", line.split_once(' ').unwrap().1))
                .collect(),
        }
    }
}

/// Brains that die after 0, 1, 2 … steps, each followed by one that lives; then rows of brains that die young.
#[track_caller]
fn check(text: &str, max_bytes: u64, format: LineFormat, wanted: Wanted, want: &str) {
    let rig = || Rig::new(text, max_bytes, format, wanted);
    let mut deaths = 0;
    loop {
        let rig = rig();
        let is_dead = rig.live(Some(deaths)).is_err();
        rig.live(None).unwrap();
        assert_eq!(rig.written(), want, "death after {deaths} steps");
        if !is_dead {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 20, "{deaths} steps are too few to show anything");
    for steps in [5, 6, 7, 11] {
        let rig = rig();
        while rig.live(Some(steps)).is_err() {}
        assert_eq!(rig.written(), want, "deaths after {steps} steps each");
    }
}

#[test]
fn no_line_is_lost_or_doubled_wherever_a_brain_dies() {
    let text = "one\ntwo, longer\n\nthree\nno end";
    let want = "web one\nweb two, longer\nweb \nweb three\nweb no end\n";
    let nothing = Wanted::default();
    check(text, 0, LineFormat::Prefixed, nothing, want);
    check(text, 60, LineFormat::Prefixed, nothing, want); // a new file for each line
    let wanted = Wanted {
        capture_bytes: 20,
        strip_ansi: true,
        ..nothing
    };
    let text = "a<!--XSUPERVISOR:BEGIN-->secret\n<!--XSUPERVISOR:END-->b\x1b[1;31mred\x1b[0m\nc<!--XSUPER\nd";
    check(text, 0, LineFormat::Raw, wanted, "abred\nc<!--XSUPER\nd");
    check(text, 5, LineFormat::Raw, wanted, "abred\nc<!--XSUPER\nd");
    let want = "web abred\nweb c<!--XSUPER\nweb d\n";
    check(text, 0, LineFormat::Prefixed, wanted, want);
}

#[test]
fn a_log_that_somebody_has_moved_away_is_left_alone() {
    let died_in_a_piece = |steps| {
        let rig = Rig::new("one\n", 0, LineFormat::Raw, Wanted::default());
        rig.live(Some(steps)).unwrap_err();
        let staging = Staging::new(rig.kept.try_clone().unwrap()).unwrap();
        (staging.head.piece > 0).then_some(rig)
    };
    let rig = (0..20).find_map(died_in_a_piece).unwrap();
    assert_eq!(rig.written(), "one\n");
    std::fs::rename(rig.log(), rig.folder.path().join("moved")).unwrap();
    std::fs::write(rig.log(), "somebody else's\n").unwrap();
    rig.live(None).unwrap();
    assert_eq!(rig.written(), "somebody else's\none\n");
}

#[test]
fn memory_is_given_back() {
    use std::os::unix::fs::MetadataExt as _;
    let rig = Rig::new("", 0, LineFormat::Raw, Wanted::default());
    let (read, write) = sys::pipe_cloexec_nonblock().unwrap();
    let mut write = File::from(write);
    let mut staging = Staging::new(rig.kept.try_clone().unwrap()).unwrap();
    let mut most = 0;
    for _ in 0..200 {
        write.write_all(&[b'x'; 50_000]).unwrap();
        assert_eq!(staging.take_in(&read, 50_000).unwrap(), 50_000);
        // Something always waits, so that the place never becomes empty.
        let (done, place) = (staging.input().unwrap().len() - 10, Place::default());
        staging.commit(done, 0, &vec![b'y'; done]).unwrap();
        staging.begin(done, place).unwrap();
        staging.end().unwrap();
        most = most.max(staging.file.metadata().unwrap().blocks() * 512);
    }
    assert!(most < 3 << 20, "{most} bytes of memory for 10 MB");
}
