//! The web page and the other paths of the HTTP servers: who gets in, what buttons do, what other sites cannot.

use std::net::SocketAddr;
use std::path::PathBuf;

use e2e::browser::headless;
use e2e::client::{Request, ask};
use e2e::control::Control;
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::reply::Reply;
use e2e::{port, tools, wait};

const ME: &str = "Basic bWU6c2VjcmV0"; // me:secret

fn start(folder: &Folder, address: SocketAddr) -> (e2e::daemon::Daemon, Control) {
    folder.write(
        "s.yaml",
        format!(
            "control: c.sock
servers:
  old: {{ listen: 'unix:old.sock', get_actions: true }}
  inet: {{ listen: '{address}', username: me, password: '{{SHA}}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4' }}
programs:
  web: {{ command: [sh, -c, 'echo \"<hello>\"; exec sleep 1000'], startsecs: 0s, stdout_logfile: web.log }}
  later: {{ command: sleep 1000, autostart: false, startsecs: 0s }}
"
        ),
    );
    let launch = Launch::trine("trine-supervisor").args(["-c", "s.yaml"]);
    let supervisor = launch.notify().start(folder).wait_ready();
    (supervisor, Control::new(folder.join("c.sock")))
}

#[test]
fn the_page_shows_and_does_things_for_those_who_may() {
    let folder = Folder::new();
    let address = port::free();
    let (supervisor, control) = start(&folder, address);
    let get = |path: &str| ask(address, &Request::get(path).header("Authorization", ME));
    let post = |body: &str, origin: &str| -> Reply {
        let request = Request::post("/action", body)
            .header("Authorization", ME)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", origin);
        ask(address, &request)
    };

    for path in ["/", "/RPC2", "/metrics", "/logtail/web", "/style.css"] {
        let reply = ask(address, &Request::get(path));
        assert_eq!(
            (reply.status, reply.header("www-authenticate")),
            (401, Some("Basic realm=\"default\"")),
            "{path}"
        );
    }
    let page = get("/");
    assert_eq!(page.status, 200);
    let text = page.text();
    for part in [
        "RUNNING",
        "STOPPED",
        "Not started",
        "aria-label=\"Start later\"",
        "lang=\"en\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );

    let own = "http://test.example"; // what the client says as Host
    assert_eq!(
        post("name=later&action=start", "http://elsewhere.example").status,
        403
    );
    assert_eq!(
        get("/?action=start&processname=later").status,
        403,
        "an address does nothing"
    );
    assert_eq!(control.program("later")["state"], "STOPPED");
    let old = Control::new(folder.join("old.sock"));
    let by_address = |action: &str| {
        let request = Request::get(&format!("/?action={action}&processname=later"));
        old.call(request).unwrap().status
    };
    assert_eq!(by_address("start"), 303, "unless a key allows it");
    control.wait_running("later");
    assert_eq!(by_address("stop"), 303);
    assert_eq!(post("name=later&action=start", own).status, 303);
    control.wait_running("later");
    let refused = post("name=later&action=start", own);
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("ALREADY_STARTED"),
        "{}",
        refused.text()
    );
    assert_eq!(post("action=stopall", own).status, 303);
    assert_eq!(control.program("web")["state"], "STOPPED");
    assert_eq!(post("action=startall", own).status, 303);
    control.wait_running("web");

    wait::until("the log's page", || {
        get("/log?name=web&channel=stdout")
            .text()
            .contains("&lt;hello&gt;")
            .then_some(())
    });
    assert_eq!(get("/log?name=nobody").status, 404);
    assert_eq!(get("/logtail/nobody").status, 404);
    let metrics = get("/metrics").text();
    for part in [
        "trine_program_state{group=\"web\",name=\"web\"} 20",
        "trine_program_memory_bytes{group=\"web\",name=\"web\"} ",
        "trine_program_cpu_seconds_total{group=\"web\",name=\"web\"} ",
        "# EOF",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    supervisor.stop();
}

#[test]
fn a_browser_renders_the_page_and_follows_what_happens() {
    let Some(chromium) = tools::program("chromium", "chromium") else {
        return;
    };
    let folder = Folder::new();
    let address = port::free();
    let (supervisor, _) = start(&folder, address);
    let page = format!("http://me:secret@{address}/log?name=web&channel=stdout");
    let output = headless(&chromium, &folder.join("profile"), 60)
        .args(["--virtual-time-budget=2000", "--dump-dom", &page])
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    // The script has run: what it alone can offer is shown.
    assert!(
        dom.contains("<label id=\"follow\">"),
        "{dom}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(dom.contains("web <small>stdout</small>"), "{dom}");
    supervisor.stop();
}

/// Pictures of the page in both colour schemes: they are kept where TRINE_TEST_PICTURES says, to be looked at; here it
/// counts that one is light and the other dark, and that neither is empty.
#[test]
fn the_page_is_light_or_dark_as_its_reader_likes() {
    let Some(chromium) = tools::program("chromium", "chromium") else {
        return;
    };
    let folder = Folder::new();
    let address = port::free();
    let (supervisor, _) = start(&folder, address);
    let kept = std::env::var_os("TRINE_TEST_PICTURES");
    let place = kept.map_or_else(|| folder.path().to_owned(), PathBuf::from);
    let mut corners = Vec::new();
    for (scheme, value) in [("light", 1), ("dark", 0)] {
        let picture = place.join(format!("{scheme}.png"));
        let output = headless(&chromium, &folder.join("profile"), 60)
            .arg(format!("--blink-settings=preferredColorScheme={value}"))
            .arg(format!("--screenshot={}", picture.display()))
            // The page never stops loading events, so virtual time would never pass.
            .args(["--window-size=1000,600", "--timeout=2000"])
            .arg(format!("http://me:secret@{address}/"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let png = std::fs::read(&picture).unwrap_or_else(|err| panic!("{err}: {told}"));
        assert!(png.len() > 10_000, "{scheme}: an empty page");
        corners.push(first_pixel(&png));
    }
    assert!(corners[0].iter().all(|part| *part > 0xe0), "{corners:02x?}");
    assert!(corners[1].iter().all(|part| *part < 0x30), "{corners:02x?}");
    supervisor.stop();
}

/// Red, green and blue of a PNG's first pixel, which is as it is whatever filter its row has.
fn first_pixel(png: &[u8]) -> [u8; 3] {
    let mut chunks = &png[8..];
    let mut packed = Vec::new();
    while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if &head[4..] == b"IDAT" {
            packed.extend_from_slice(&rest[..length]);
        }
        chunks = &rest[length + 4..];
    }
    let mut row = [0; 4];
    let mut unpacked = flate2::read::ZlibDecoder::new(&packed[..]);
    std::io::Read::read_exact(&mut unpacked, &mut row).unwrap();
    [row[1], row[2], row[3]]
}
