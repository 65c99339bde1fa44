//! What becomes of output on its way: lines as JSON or with time and name, rotation by time, compression, a full disk.

mod rig;

use rig::Rig;
use serde_json::Value;
use std::process::Command;

#[test]
fn lines_get_a_time_and_a_name() {
    let rig = Rig::start(
        "  json:
    command: [sh, -c, 'echo \"say \\\"hi\\\"\"; echo two; printf \"no end\"; exec sleep 1000']
    startsecs: 0s
    logfile_format: json
    redirect_stderr: true
    stdout_logfile: json.log
  prefixed:
    command: [sh, -c, 'echo one; printf half; sleep 0.2; echo -whole; exec sleep 1000']
    startsecs: 0s
    logfile_format: prefixed
    stdout_logfile: prefixed.log
",
    );
    rig.until("all lines", || {
        (rig.read("json.log").lines().count() == 3 && rig.read("prefixed.log").lines().count() == 2)
            .then_some(())
    });
    let json = rig.read("json.log");
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let messages: Vec<&str> = lines
        .iter()
        .map(|l| l["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["say \"hi\"", "two", "no end"]);
    assert_eq!(lines[0]["program"], "json");
    assert_eq!(lines[0]["channel"], "stdout");
    let prefixed = rig.read("prefixed.log");
    let rests: Vec<&str> = prefixed
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(rests, ["prefixed one", "prefixed half-whole"]);
    // The next brain goes on in the same way.
    rig.replace_brain();
    rig.post("/v1/programs/prefixed/restart?wait=true");
    rig.until("more lines", || {
        (rig.read("prefixed.log").lines().count() == 4).then_some(())
    });
    rig.stop();
}

#[test]
fn old_files_are_compressed_and_none_is_lost() {
    let rig = Rig::start(
        "  counter:
    command: [sh, -c, 'seq 1 3000; echo end; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: counter.log
    stdout_logfile_maxbytes: 2KB
    stdout_logfile_backups: 100
    logfile_compress: true
",
    );
    rig.until("the last word", || {
        rig.read("counter.log").contains("end\n").then_some(())
    });
    let old = |number: u32| rig.path(&format!("counter.log.{number}.gz"));
    rig.until("the old ones to be compressed", || {
        let plain = (1..100).any(|n| rig.path(&format!("counter.log.{n}")).exists());
        (!plain && old(1).exists()).then_some(())
    });
    let mut all = String::new();
    for number in (1..100).rev().filter(|number| old(*number).exists()) {
        let out = Command::new("gzip")
            .arg("-dc")
            .arg(old(number))
            .output()
            .unwrap();
        assert!(out.status.success());
        all += &String::from_utf8(out.stdout).unwrap();
    }
    all += &rig.read("counter.log");
    let want: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    assert_eq!(all, want + "end\n");
    // Who wants more lines than the newest file has gets them out of the old ones.
    let (_, last) = rig
        .call("GET", "/v1/programs/counter/logs?tail=1501")
        .unwrap();
    let body = last.as_str().unwrap();
    let told: Vec<&str> = body
        .lines()
        .filter(|line| line.parse::<u32>().is_ok_and(|n| n > 1500) || *line == "end")
        .collect();
    let want: Vec<String> = (1501..=3000)
        .map(|n| n.to_string())
        .chain(["end".to_owned()])
        .collect();
    assert_eq!(told, want, "{body}");
    rig.stop();
}

#[test]
fn a_new_file_begins_at_its_time() {
    let rig = Rig::start(
        "  ticker:
    command: [sh, -c, 'while true; do echo tick; sleep 0.1; done']
    startsecs: 0s
    stdout_logfile: ticker.log
    logfile_interval: 1s
",
    );
    rig.until("an old file", || {
        rig.path("ticker.log.2").exists().then_some(())
    });
    assert!(rig.read("ticker.log.1").lines().count() >= 2);
    rig.stop();
}

/// A file system of this size, gone with the value.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// `None` where that is not allowed.
    fn mount(path: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&path)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_output_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk")) else {
        eprintln!("left out: only root can mount a small file system");
        return;
    };
    let log = disk.0.join("flood.log");
    let rig = Rig::start(&format!(
        "  flood:
    command: [sh, -c, 'head -c 5000000 /dev/zero | tr \"\\0\" x; : > done; while true; do echo after; sleep 0.1; done']
    startsecs: 0s
    stdout_logfile: '{}'
    stdout_logfile_maxbytes: 0
",
        log.display()
    ));
    // It writes far more than the disk and the pipe hold, and is not kept waiting.
    rig.until("the flood to be over", || {
        rig.path("done").exists().then_some(())
    });
    let dropped = rig.until("drops to be counted", || {
        let (_, metrics) = rig.call("GET", "/metrics").ok()?;
        let metrics = metrics.as_str()?.to_owned();
        let line = metrics.lines().find(|line| {
            line.starts_with("trine_program_log_dropped_bytes") && line.contains("flood")
        })?;
        line.rsplit(' ')
            .next()?
            .parse::<f64>()
            .ok()
            .filter(|count| *count > 0.0)
    });
    assert!(dropped > 1_000_000.0, "{dropped}");
    // Once there is room again, output goes on: first what still waits in the pipe, which fills the disk anew.
    rig.until("new output", || {
        let text = std::fs::read(&log).unwrap_or_default();
        if !text.ends_with(b"after\n") {
            std::fs::write(&log, "").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(150));
            return None;
        }
        Some(())
    });
    rig.stop();
}
