//! examples/flask with its own configuration files: every route, through proxy and WSGI server.

use std::time::Duration;

use e2e::client::Request;
use e2e::reply::Reply;
use e2e::site::Site;
use e2e::upstream::Upstream;
use e2e::{wait, websocket};

use super::{MEGABYTE_SHA256, cookies, megabyte};

#[test]
fn every_route_of_the_flask_example() {
    let Some(site) = Site::example("flask") else {
        return;
    };

    pages(&site);
    json(&site);
    form(&site);
    uploads(&site);
    streams(&site);
    static_files(&site);
    what_the_application_sees(&site);

    let folder = site.stop();
    let log = folder.read("logs/access.log");
    assert!(log.contains("\"GET /api/boats HTTP/1.1\" 200"), "{log}");
    assert!(!log.contains("\" 50"), "a server error: {log}");
}

fn pages(site: &Site) {
    for (path, status, text) in [
        ("/", 200, "A quiet harbour"),
        ("/log", 200, "<form"),
        ("/upload", 200, "<form"),
        ("/connection", 200, "HTTP/1.1"),
        ("/healthz", 200, "ok\n"),
        ("/nowhere", 404, "Not Found"),
    ] {
        let reply = site.get(path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(reply.text().contains(text), "{path}: {}", reply.text());
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
    }
    let head = site.ask(&Request::new("HEAD", "/"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(site.ask(&Request::post("/", "")).status, 405);
}

fn json(site: &Site) {
    let all = site.get("/api/boats").json();
    assert_eq!(all["count"], 4);
    assert_eq!(
        site.get("/api/boats?kind=ketch").json()["boats"][0]["name"],
        "Große Freiheit"
    );
    assert_eq!(site.get("/api/boats/1").json()["name"], "Marta");
    let missing = site.get("/api/boats/9");
    assert_eq!(
        (missing.status, missing.json()["status"].as_i64()),
        (404, Some(404))
    );
    let slow = site.get("/slow?seconds=0.1").json();
    assert!(slow["took"].as_f64().unwrap() >= 0.1, "{slow}");
}

fn form(site: &Site) {
    let posted = site.ask(&Request::form(
        "/log",
        &[("author", "Jörg & Søn"), ("text", "Wind from the west.")],
    ));
    assert_eq!(
        (posted.status, posted.header("location")),
        (303, Some("/log"))
    );
    let next = site.ask(&Request::get("/log").header("Cookie", &cookies(&posted)));
    assert!(
        next.text().contains("Thank you, Jörg &amp; Søn"),
        "{}",
        next.text()
    );
    assert!(next.text().contains("Wind from the west."));
    assert_eq!(
        site.ask(&Request::form("/log", &[("author", ""), ("text", "x")]))
            .status,
        422
    );
}

fn uploads(site: &Site) {
    let request = Request::upload("/upload", &[], "wave.bin", &megabyte())
        .header("Accept", "application/json");
    let known = site.ask(&request).json();
    assert_eq!(
        (known["size"].as_u64(), known["sha256"].as_str()),
        (Some(1 << 20), Some(MEGABYTE_SHA256))
    );
    assert_eq!(known["name"], "wave.bin");

    // The same without a length, in chunks of odd sizes.
    let mut client = site.connect();
    let chunked = Request {
        body: vec![],
        ..request.clone()
    }
    .header("Transfer-Encoding", "chunked");
    client.write(&chunked.encode()).unwrap();
    for chunk in request.body.chunks(70_001) {
        client
            .write(format!("{:x}\r\n", chunk.len()).as_bytes())
            .unwrap();
        client.write(chunk).unwrap();
        client.write(b"\r\n").unwrap();
    }
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(
        client.read_reply("POST").unwrap().json()["sha256"],
        MEGABYTE_SHA256
    );

    let empty = site.ask(&Request::form("/upload", &[("other", "field")]));
    assert_eq!(empty.status, 400);
}

fn streams(site: &Site) {
    let reply = site.get("/stream?pieces=4&delay=0.2");
    assert_eq!(
        reply.text(),
        "wave 1 of 4\nwave 2 of 4\nwave 3 of 4\nwave 4 of 4\n"
    );
    arrived_in_pieces(&reply, 4, Duration::from_millis(500));
}

/// The body came in at least `count` pieces, the last one that much later than the first.
#[track_caller]
pub(super) fn arrived_in_pieces(reply: &Reply, count: usize, apart: Duration) {
    assert!(
        reply.pieces.len() >= count,
        "it came in {} pieces",
        reply.pieces.len()
    );
    let (first, last) = (reply.pieces[0].0, reply.pieces[reply.pieces.len() - 1].0);
    assert!(
        last - first >= apart,
        "first and last piece lie {:?} apart",
        last - first
    );
}

fn static_files(site: &Site) {
    for (file, kind) in [
        ("site.css", "text/css"),
        ("icon.png", "image/png"),
        ("harbour.svg", "image/svg+xml"),
    ] {
        let reply = site.get(&format!("/static/{file}"));
        assert_eq!(reply.status, 200, "{file}");
        assert!(
            reply.header("content-type").unwrap().starts_with(kind),
            "{file}: {:?}",
            reply.headers
        );
        assert_eq!(
            reply.body,
            std::fs::read(site.folder.join("static").join(file)).unwrap(),
            "{file}"
        );
        let etag = reply.header("etag").expect("an ETag").to_owned();
        let again =
            site.ask(&Request::get(&format!("/static/{file}")).header("If-None-Match", &etag));
        assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
    }
    let part = site.ask(&Request::get("/static/site.css").header("Range", "bytes=2-5"));
    assert_eq!((part.status, part.body.len()), (206, 4));
    assert_eq!(site.get("/static/none.css").status, 404);
    assert!(matches!(site.get("/static/../app.py").status, 400 | 404));
    assert!(matches!(
        site.get("/static/%2e%2e/app.py").status,
        400 | 404
    ));
}

fn what_the_application_sees(site: &Site) {
    let spoofed = Request::get("/connection")
        .header("Accept", "application/json")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example");
    let seen = site.ask(&spoofed).json();
    assert_eq!(seen["client"], "127.0.0.1", "{seen}");
    assert_eq!(seen["scheme"], "http", "{seen}");
    assert_eq!(seen["host"], "test.example", "{seen}");
    assert_eq!(seen["protocol"], "HTTP/1.1");
    assert_eq!(seen["multiprocess"], true);
    assert_eq!(seen["multithread"], true);
}

#[test]
fn a_websocket_passes_beside_the_flask_site() {
    let Some(site) = Site::example("flask") else {
        return;
    };
    let echo = Upstream::websocket_echo();
    let config = site.folder.read("proxy.yaml");
    let with_echo = config.replacen(
        "locations:\n",
        &format!(
            "locations:\n      - {{ path: /echo, proxy: '{}' }}\n",
            echo.addr()
        ),
        1,
    );
    assert_ne!(config, with_echo);
    site.folder.write("proxy.yaml", with_echo);
    site.proxy_control().post("/v1/reload");

    let mut client = site.connect();
    websocket::upgrade(&mut client, "/echo/room");
    for text in ["ahoy", "söker hamn", ""] {
        websocket::send_text(&mut client, text).unwrap();
        assert_eq!(websocket::read_text(&mut client).unwrap(), text);
    }
    let seen = &echo.seen()[0];
    assert_eq!(seen.target, "/echo/room");
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));

    // A reload does not cut an open WebSocket.
    site.proxy_control().post("/v1/reload");
    wait::until("the reload", || {
        site.proxy_control().status()["last_reload"]["ok"].as_bool()
    });
    websocket::send_text(&mut client, "still here").unwrap();
    assert_eq!(websocket::read_text(&mut client).unwrap(), "still here");
    assert_eq!(site.get("/healthz").text(), "ok\n");
}
