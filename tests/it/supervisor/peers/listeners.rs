//! Event listeners: superlance 2.0 as it is, and one of our own that sees whether the death of a brain loses anything.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use e2e::control::Control;
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::{port, tools, wait};

use super::lanes::{Lane, Whose};

/// Takes mail and keeps it; says yes to everything.
fn mail_server() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mail = Arc::new(Mutex::new(String::new()));
    let kept = mail.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let _ = stream.write_all(b"220 here\r\n");
            let mut in_data = false;
            while let Some(Ok(line)) = lines.next() {
                if in_data && line != "." {
                    kept.lock().unwrap().push_str(&format!("{line}\n"));
                    continue;
                }
                let answer: &[u8] = match line.to_uppercase().as_str() {
                    "DATA" => b"354 go on\r\n",
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 yes\r\n",
                };
                in_data = line.eq_ignore_ascii_case("data");
                let _ = stream.write_all(answer);
            }
        }
    });
    (port, mail)
}

#[test]
fn superlance_listens_to_us() {
    let Some(venv) = tools::venv() else { return };
    let (smtp, mail) = mail_server();
    let web = port::free();
    let programs = format!(
        "[program:crasher]
command=/bin/sh -c 'sleep 2; exit 7'
startsecs=0
autorestart=false
[program:hopeless]
command=/bin/false
startretries=0
[program:hog]
command={python} -c \"x = bytearray(80000000); import time; time.sleep(1000)\"
startsecs=0
[program:deaf]
command=/bin/sleep 1000
startsecs=0
[eventlistener:crashmail]
command=crashmail -a -m root@localhost -s DIR/sendmail
events=PROCESS_STATE_EXITED
startsecs=0
stderr_logfile=DIR/crashmail.err
[eventlistener:fatalmailbatch]
command=fatalmailbatch -t root@localhost -f us@localhost -H 127.0.0.1:{smtp} -i 0.1 -e TICK_5
events=PROCESS_STATE_FATAL,TICK_5
startsecs=0
stderr_logfile=DIR/fatalmailbatch.err
[eventlistener:memmon]
command=memmon -p hog=60MB
events=TICK_5
startsecs=0
stderr_logfile=DIR/memmon.err
[eventlistener:httpok]
command=httpok -p deaf -t 1 http://{web}/
events=TICK_5
startsecs=0
stderr_logfile=DIR/httpok.err
",
        python = venv.join("bin/python").display()
    );
    let sendmail = "#!/bin/sh\ncat >> \"$(dirname \"$0\")/mail.txt\"\n";
    let lane = Lane::start(Whose::Ours, &venv, &programs);
    let script = lane.folder.write("sendmail", sendmail);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(script, mode).unwrap();
    let pid = |name: &str| lane_pid(&lane, &venv, name);
    let (hog, deaf) = (pid("hog"), pid("deaf"));

    wait::until("crashmail's mail", || {
        lane.folder
            .read("mail.txt")
            .contains("crasher")
            .then_some(())
    });
    wait::until("fatalmailbatch's mail", || {
        mail.lock().unwrap().contains("hopeless").then_some(())
    });
    wait::until("memmon to have the hog restarted", || {
        Some(pid("hog")).filter(|now| *now != hog && *now != 0)
    });
    wait::until("httpok to have the deaf one restarted", || {
        Some(pid("deaf")).filter(|now| *now != deaf && *now != 0)
    });
    for name in ["crashmail", "fatalmailbatch", "memmon", "httpok"] {
        let text = lane.folder.read(&format!("{name}.err"));
        assert!(!text.contains("Traceback"), "{name}: {text}");
    }
    lane.daemon.stop();
}

fn lane_pid(lane: &Lane, venv: &std::path::Path, name: &str) -> i32 {
    let ctl = super::lanes::supervisorctl(Whose::Ours, venv, &lane.folder);
    let conf = lane.folder.join("supervisord.conf");
    let output = Command::new(ctl)
        .arg("-c")
        .arg(conf)
        .args(["pid", name])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or(0)
}

const SLOW_LISTENER: &str = "import sys, time
out = open(sys.argv[1], 'a')
while True:
    sys.stdout.write('READY\\n'); sys.stdout.flush()
    head = dict(token.split(':', 1) for token in sys.stdin.readline().split())
    body = sys.stdin.read(int(head['len']))
    out.write(body.replace('\\n', ' ') + '\\n'); out.flush()
    time.sleep(0.01)
    answer = 'OK' if 'again' not in body or open(sys.argv[1]).read().count(body.split('\\n')[1]) > 1 else 'FAIL'
    sys.stdout.write('RESULT %d\\n%s' % (len(answer), answer)); sys.stdout.flush()
";

#[test]
fn no_event_is_lost_when_brains_die() {
    let folder = Folder::new();
    let listener = folder.write("listener.py", SLOW_LISTENER);
    let events = folder.join("events.txt");
    folder.write(
        "s.yaml",
        format!(
            "control: c.sock\nprograms:\n  ear:\n    command: [python3, '{}', '{}']\n    events: [REMOTE_COMMUNICATION]\n    \
             buffer_size: 1000\n    startsecs: 0s\n",
            listener.display(),
            events.display()
        ),
    );
    let supervisor = Launch::trine("trine-supervisor")
        .args(["-c", "s.yaml"])
        .notify()
        .start(&folder)
        .wait_ready();
    let control = Control::new(folder.join("c.sock"));
    let send = |kind: &str, data: &str| {
        let call = format!(
            "<methodCall><methodName>supervisor.sendRemoteCommEvent</methodName><params><param><value>{kind}</value></param>\
             <param><value>{data}</value></param></params></methodCall>"
        );
        let request = e2e::client::Request::post("/RPC2", call).header("Content-Type", "text/xml");
        let reply = control.call(request).unwrap();
        assert!(reply.text().contains("<boolean>1"), "{}", reply.text());
    };
    for number in 0..120 {
        send("count", &format!("n{number:03}."));
        if number % 6 == 5 {
            control.kill_brain();
        }
    }
    send("again", "twice.");
    wait::until("all events", || {
        (folder.read("events.txt").matches("twice.").count() == 2).then_some(())
    });
    let seen = folder.read("events.txt");
    let want: String = (0..120)
        .map(|number| format!("type:count n{number:03}.\n"))
        .collect();
    assert_eq!(
        seen,
        format!("{want}type:again twice.\ntype:again twice.\n")
    );
    supervisor.stop();
}
