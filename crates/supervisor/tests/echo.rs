//! Output that is heard elsewhere too: in syslog, and in the supervisor's own log at level debug.

mod rig;

use rig::{PATIENCE, Rig};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

/// A /dev of our own, in a mount namespace, so that nobody else's log daemon hears us.
const OWN_DEV: &str = "for node in null zero urandom; do : > dev/$node; mount --bind /dev/$node dev/$node || exit; done
mount --rbind dev /dev && exec \"$@\"";

fn can_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "--map-root-user", "true"])
        .output();
    tried.is_ok_and(|out| out.status.success())
}

#[test]
fn lines_go_to_syslog_one_by_one() {
    if !can_unshare() {
        eprintln!("left out: this machine allows no mount namespaces");
        return;
    }
    let mut log = None;
    let prepare = |folder: &Path| {
        std::fs::create_dir(folder.join("dev")).unwrap();
        log = Some(UnixDatagram::bind(folder.join("dev/log")).unwrap());
    };
    let wrapper = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        OWN_DEV,
        "sh",
    ];
    let rig = Rig::start_under(
        "  talker:
    command: [sh, -c, 'echo one; printf tw; sleep 0.1; echo o; echo; printf end']
    startsecs: 0s
    autorestart: false
    stdout_logfile: NONE
    stdout_syslog: true
  both:
    command: [sh, -c, 'echo first; read line; echo last >&2; exec sleep 1000']
    startsecs: 0s
    redirect_stderr: true
    logfile_format: json
    stdout_logfile: both.log
    stdout_syslog: true
",
        &wrapper,
        prepare,
    );
    let log = log.unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let count = log.recv(&mut buffer).expect("a message in time");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let mut lines: Vec<String> = (0..4).map(|_| heard()).collect();
    for line in &mut lines {
        // <14>Nov 26 00:12:34 trine-supervisor: talker one
        let (head, text) = line.split_once(" trine-supervisor: ").expect(line);
        assert!(
            head.starts_with("<14>") && head.len() == "<14>Nov  6 00:12:34".len(),
            "{line}"
        );
        *line = text.to_owned();
    }
    lines.sort();
    assert_eq!(
        lines,
        ["both first", "talker end", "talker one", "talker two"]
    );
    // The log has its own format all the same, and the next brain goes on with both.
    let in_file = || rig.read("both.log");
    rig.until("the log", || {
        in_file().contains("\"message\":\"first\"}\n").then_some(())
    });
    rig.replace_brain();
    rig.post("/v1/programs/both/restart?wait=true");
    let again = heard();
    assert!(again.ends_with(": both first"), "{again}");
    rig.until("two lines in the log", || {
        (in_file().lines().count() == 2).then_some(())
    });
    rig.stop();
}

#[test]
fn at_level_debug_the_own_log_has_what_programs_say() {
    let rig = Rig::start_with(
        "  talker:
    command: [sh, -c, 'echo said; echo wrong >&2; exec sleep 1000']
    startsecs: 0s
    stdout_logfile: NONE
    stderr_logfile: err.log
",
        |folder| {
            let path = folder.join("supervisor.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("log: { ", "log: { format: supervisord, level: debug, ");
            std::fs::write(path, text).unwrap();
        },
    );
    for part in [
        "DEBG 'talker' stdout output:\n  said\n",
        "DEBG 'talker' stderr output:\n  wrong\n",
    ] {
        rig.until(part, || {
            rig.read("supervisor.log").contains(part).then_some(())
        });
    }
    assert_eq!(rig.read("err.log"), "wrong\n");
    rig.stop();
}
