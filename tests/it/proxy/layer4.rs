//! The differential runner of `stream`: the same servers of TCP and UDP in Debian's nginx and in trine-proxy, the same
//! clients, the same lines in the access log.
//!
//! All cases are in one configuration. Not here: what is refused, and what nginx loses (`datagrams`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, wait};
use nix::sys::signal::Signal;

const CASES: &str = include_str!("layer4.txt");
const FEWEST_CASES: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// One configuration and its clients.
struct Case {
    name: &'static str,
    stream: String,
    steps: Vec<&'static str>,
}

/// `### name`, then directives of `stream`; `>` before what a client says: `tcp TEXT`, `udp TEXT`, `udp- TEXT` without
/// an answer, `hear TEXT` where nobody waits for a line's end; each to the first door, or `tcp2` and `udp2` to the second.
fn cases() -> Vec<Case> {
    let blocks = CASES.split("### ").skip(1);
    let case = |block: &'static str| {
        let (name, rest) = block.split_once('\n').unwrap();
        let (steps, stream): (Vec<_>, Vec<_>) =
            rest.lines().partition(|line| line.starts_with("> "));
        Case {
            name,
            stream: stream.join("\n"),
            steps: steps.iter().map(|step| &step[2..]).collect(),
        }
    };
    blocks.map(case).collect()
}

/// A server of both kinds: says its name and what it was told, in one line or one datagram. It ends with the process.
fn server(name: &'static str) -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp.local_addr().unwrap();
        let Ok(udp) = UdpSocket::bind(addr) else {
            continue;
        };
        thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok((len, from)) = udp.recv_from(&mut bytes) {
                let _ = udp.send_to(&[name.as_bytes(), b" ", &bytes[..len]].concat(), from);
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    let mut told = String::new();
                    // A preamble is a line of its own.
                    while !told.ends_with("end\n") {
                        if !matches!(lines.read_line(&mut told), Ok(1..)) {
                            return;
                        }
                    }
                    let _ = stream.write_all(format!("{name} {told}").as_bytes());
                });
            }
        });
        return addr;
    }
}

/// One daemon's doors: two for each case.
struct Site {
    folder: Folder,
    doors: Vec<[SocketAddr; 2]>,
    daemon: Daemon,
}

fn start(cases: &[Case], servers: &[(&str, SocketAddr)], is_nginx: bool) -> Site {
    let folder = Folder::new();
    let doors: Vec<_> = cases
        .iter()
        .map(|_| [port::free_for_both(), port::free_for_both()])
        .collect();
    let dir = folder.path().display().to_string();
    let mut text = String::new();
    if is_nginx {
        writeln!(text, "load_module {MODULE};\nuser root;").unwrap();
    }
    writeln!(
        text,
        "daemon off; pid {dir}/pid; error_log {dir}/error.log info; events {{}}\nstream {{\n\
         log_format line '$protocol $status $bytes_received $bytes_sent $upstream_addr \
         $upstream_bytes_sent $upstream_bytes_received $remote_addr $server_addr';"
    )
    .unwrap();
    let certificates = Certificates::new(&folder);
    for (number, (case, [one, two])) in cases.iter().zip(&doors).enumerate() {
        let stream = certificates.put(&case.stream);
        let mut stream = stream
            .replace("{door}", &one.to_string())
            .replace("{door2}", &two.to_string())
            .replace("{port}", &one.port().to_string())
            .replace("{n}", &number.to_string());
        for (name, addr) in servers {
            stream = stream.replace(&format!("{{{name}}}"), &addr.to_string());
        }
        // Each case has a format and a log of its own.
        let log = format!("access_log {dir}/{number}.log line;");
        let stream = stream.replace("{log}", &log);
        writeln!(text, "{stream}").unwrap();
    }
    let ready = port::free();
    writeln!(text, "server {{ listen {ready}; return ready; }}\n}}").unwrap();
    let conf = folder.write("nginx.conf", text);
    let launch = if is_nginx {
        Launch::program("/usr/sbin/nginx")
    } else {
        Launch::trine("trine-proxy")
    };
    let daemon = launch.arg("-c").arg(&conf).start(&folder);
    wait::until("the last door", || TcpStream::connect(ready).ok());
    Site {
        folder,
        doors,
        daemon,
    }
}

/// A certificate that is good for `one.test`, and signs itself. The same for both daemons.
struct Certificates {
    pem: String,
    key: String,
}

static PAIR: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["one.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
});

impl Certificates {
    fn new(folder: &Folder) -> Self {
        let (pem, key) = &*PAIR;
        let path = |name, text: &String| folder.write(name, text).display().to_string();
        Self {
            pem: path("c.pem", pem),
            key: path("k.pem", key),
        }
    }

    fn put(&self, text: &str) -> String {
        let Self { pem, key } = self;
        let shown = format!(
            "ssl_certificate {pem}; ssl_certificate_key {key}; proxy_ssl_trusted_certificate {pem};"
        );
        let mine = format!("proxy_ssl_certificate {pem}; proxy_ssl_certificate_key {key};");
        text.replace("{certificate}", &shown)
            .replace("{mine}", &mine)
            .replace("{pem}", pem)
    }
}

fn take(step: &str, doors: [SocketAddr; 2], udp: &UdpSocket) -> String {
    let (how, text) = step.split_once(' ').unwrap_or((step, ""));
    let text = text.replace("\\r", "\r").replace("\\n", "\n");
    let door = doors[usize::from(how.ends_with('2'))];
    match how {
        "tcp" | "tcp2" | "hear" => {
            let mut stream = TcpStream::connect(door).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let text = if how == "hear" {
                text
            } else {
                format!("{text} end\n")
            };
            // A session that is refused may be over already.
            let _ = stream.write_all(text.as_bytes());
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => String::from_utf8_lossy(&answer).into_owned(),
                // Where nothing was said, how it was said does not matter.
                Err(_) if answer.is_empty() => String::new(),
                Err(error) => panic!("{step}: {error}"),
            }
        }
        "udp-" => {
            udp.send_to(text.as_bytes(), door).unwrap();
            "sent".to_owned()
        }
        "udp" | "udp2" => {
            udp.send_to(text.as_bytes(), door).unwrap();
            let mut bytes = [0; 65536];
            let (len, from) = udp.recv_from(&mut bytes).unwrap();
            assert_eq!(from, door, "{step}");
            String::from_utf8_lossy(&bytes[..len]).into_owned()
        }
        _ => panic!("unknown step: {step}"),
    }
}

/// What each case's clients heard, and its log.
fn outcome(
    cases: &[Case],
    mut site: Site,
    servers: &[(&str, SocketAddr)],
) -> BTreeMap<&'static str, String> {
    let mut all: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut clients = Vec::new();
    for (case, doors) in cases.iter().zip(&site.doors) {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut told = String::new();
        for step in &case.steps {
            writeln!(told, "{step}: {:?}", take(step, *doors, &udp)).unwrap();
        }
        let port = udp.local_addr().unwrap().port();
        clients.push(port);
        all.insert(case.name, told.replace(&port.to_string(), "CLIENT"));
    }
    // What is open comes to its end by itself, and to its line in the log: being told to end is another end.
    wait::until("a line in each log", || {
        let logged = |(number, case): (usize, &Case)| {
            let log = site.folder.join(format!("{number}.log"));
            !case.stream.contains("{log}")
                || std::fs::read_to_string(log).is_ok_and(|log| !log.is_empty())
        };
        cases.iter().enumerate().all(logged).then_some(())
    });
    site.daemon.signal(Signal::SIGQUIT);
    assert_eq!(site.daemon.exit_code(), 0);
    for (number, case) in cases.iter().enumerate() {
        let log = site.folder.join(format!("{number}.log"));
        let mut lines: Vec<String> = std::fs::read_to_string(log)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        let told = all.get_mut(case.name).unwrap();
        let [one, two] = site.doors[number];
        for line in lines {
            writeln!(told, "log: {line}").unwrap();
        }
        *told = told
            .replace(&one.to_string(), "DOOR")
            .replace(&two.to_string(), "DOOR2")
            .replace(&format!(" {}\\r", one.port()), " PORT\\r")
            .replace(&format!(" {}\\r", two.port()), " PORT2\\r");
        for (name, addr) in servers {
            *told = told.replace(&addr.to_string(), name);
        }
    }
    all
}

#[test]
fn sessions_are_those_of_nginx() {
    let cases = cases();
    assert!(cases.len() >= FEWEST_CASES, "{} cases", cases.len());
    let servers = [
        ("a", server("a")),
        ("b", server("b")),
        ("dead", port::free_for_both()),
    ];
    let nginx = start(&cases, &servers, true);
    let ours = start(&cases, &servers, false);
    // Both at once: sessions that end by their time take long enough for a machine that stands still for a while.
    let (want, got) = thread::scope(|scope| {
        let want = scope.spawn(|| outcome(&cases, nginx, &servers));
        let got = outcome(&cases, ours, &servers);
        (want.join().unwrap(), got)
    });
    let differ = want.iter().filter(|(name, want)| got[*name] != **want);
    let told: String = differ
        .map(|(name, want)| format!("{name}\nnginx:\n{want}trine-proxy:\n{}\n", got[name]))
        .collect();
    assert!(told.is_empty(), "{told}");
}
