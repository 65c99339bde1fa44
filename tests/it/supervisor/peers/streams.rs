//! What the HTTP servers send for as long as it goes on: /logtail and /mainlogtail for supervisorctl, /events for the page.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use e2e::control::Control;
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::{port, wait};

/// An answer that has begun: its head, and then pieces as they come.
struct Stream {
    head: String,
    reader: BufReader<TcpStream>,
    /// What has come and was not asked for yet.
    rest: String,
}

impl Stream {
    fn open(address: SocketAddr, path: &str) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        Self {
            head: head.to_lowercase(),
            reader,
            rest: String::new(),
        }
    }

    /// The next chunk of the body; `None` at its end.
    fn chunk(reader: &mut BufReader<TcpStream>) -> Option<String> {
        let mut size = String::new();
        reader.read_line(&mut size).unwrap();
        if size.is_empty() {
            return None; // cut off, as at the daemon's end
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(size);
        (size > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// All that comes, up to this text.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.rest.find(text) {
                let rest = self.rest.split_off(at + text.len());
                return std::mem::replace(&mut self.rest, rest);
            }
            let so_far = &self.rest;
            let more = Self::chunk(&mut self.reader);
            self.rest += &more.unwrap_or_else(|| panic!("no {text:?}, but an end after: {so_far}"));
        }
    }
}

#[test]
fn logs_and_events_are_sent_as_they_come() {
    let folder = Folder::new();
    let address = port::free();
    folder.write(
        "s.yaml",
        format!(
            "control: c.sock
log: {{ file: main.log }}
servers:
  inet: {{ listen: '{address}' }}
programs:
  talker:
    command: [sh, -c, 'echo first; while read line; do echo got $line; echo wrong $line >&2; done']
    startsecs: 0s
    stdout_logfile: talker.log
    stdout_logfile_maxbytes: 2KB
    stdout_logfile_backups: 3
    stderr_logfile: talker.err
"
        ),
    );
    let launch = Launch::trine("trine-supervisor").args(["-c", "s.yaml"]);
    let supervisor = launch.notify().start(&folder).wait_ready();
    let control = Control::new(folder.join("c.sock"));
    control.wait_running("talker");
    wait::until("its first line", || {
        (folder.read("talker.log") == "first\n").then_some(())
    });

    let mut out = Stream::open(address, "/logtail/talker");
    for part in [
        "http/1.1 200",
        "content-type: text/plain;charset=utf-8",
        "transfer-encoding: chunked",
    ] {
        let head = out.head.replace("; ", ";");
        assert!(head.contains(part), "{part}: {head}");
    }
    let mut err = Stream::open(address, "/logtail/talker:talker/stderr");
    let mut main = Stream::open(address, "/mainlogtail");
    let mut events = Stream::open(address, "/events");
    assert!(
        events.head.contains("content-type: text/event-stream"),
        "{}",
        events.head
    );
    assert_eq!(out.until("first\n"), "first\n");
    main.until("success: talker entered RUNNING state");

    let say = |line: &str| {
        let call = format!(
            "<methodCall><methodName>supervisor.sendProcessStdin</methodName><params><param><value><string>talker</string></value></param><param><value><string>{line}\n</string></value></param></params></methodCall>"
        );
        let reply = e2e::client::ask(address, &e2e::client::Request::post("/RPC2", call));
        assert!(
            reply.text().contains("<boolean>1</boolean>"),
            "{}",
            reply.text()
        );
    };
    say("one");
    assert_eq!(out.until("got one\n"), "got one\n");
    assert_eq!(err.until("wrong one\n"), "wrong one\n");
    // Each line comes once, in order, also those that a rotation moved into another file.
    let lines: Vec<String> = (0..20).map(|n| format!("{n:0>150}")).collect();
    for line in &lines {
        say(line);
    }
    let want: String = lines.iter().map(|line| format!("got {line}\n")).collect();
    assert_eq!(out.until(&format!("got {}\n", lines[19])), want);
    assert!(folder.join("talker.log.1").exists());

    control.post("/v1/programs/talker/restart?wait=true");
    let told = events.until("\"to\":\"RUNNING\"");
    for part in [
        "event: program.state",
        "\"to\":\"STOPPING\"",
        "\"to\":\"STOPPED\"",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    main.until("waiting for talker to stop");
    main.until("success: talker entered RUNNING state");
    assert_eq!(out.until("first\n"), "first\n");

    // A reader that goes away disturbs nobody; the end of all is the end of the streams.
    drop(err);
    say("two");
    out.until("got two\n");
    supervisor.stop();
    while Stream::chunk(&mut events.reader).is_some() {}
}
