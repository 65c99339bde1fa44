//! What is kept no longer: on order by the control socket and `proxy_cache_purge`, and after unsafe methods.

use super::{answer, ask, cached, get, send, was};
use crate::harness::{Daemon, Upstream};

fn fill(daemon: &Daemon, app: &Upstream, path: &str, tags: &str) {
    let fields = format!("Cache-Control: max-age=600\r\n{tags}");
    let (reply, _) = ask(
        daemon,
        app,
        &format!("GET {path} HTTP/1.1"),
        &answer(&fields, path),
    );
    assert_eq!(was(&reply), "MISS", "{path}");
}

#[track_caller]
fn check_kept(daemon: &Daemon, app: &Upstream, kept: &[&str], gone: &[(&str, &str)]) {
    for path in kept {
        assert_eq!(was(&get(daemon, path)), "HIT", "{path}");
    }
    app.expect_untouched();
    for (path, tags) in gone {
        fill(daemon, app, path, tags);
    }
}

#[test]
fn by_order_on_the_control_socket() {
    let (daemon, app) = cached("proxy_cache_key $host$request_uri;");
    let tagged = [
        ("/a", "Surrogate-Key: news front"),
        ("/b", "Cache-Tag: front,sport"),
        ("/c/1", "X-Other: news"),
        ("/c/2", "X-Other: news"),
    ];
    let filled =
        |pick: &[usize]| -> Vec<(&str, &str)> { pick.iter().map(|&at| tagged[at]).collect() };
    for (path, tags) in tagged {
        fill(&daemon, &app, path, tags);
    }
    let purge = |what: &str, forgotten: u64| {
        let (status, body) = daemon.control("POST", &format!("/v1/cache/purge?{what}"));
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["zones"][0]["forgotten"], forgotten, "{what}: {body}");
    };
    let (status, keys) = daemon.control("GET", "/v1/cache/keys?prefix=site.test/c");
    assert_eq!(
        (status, keys.trim_end()),
        (
            200,
            r#"{"keys":["site.test/c/1","site.test/c/2"],"more":false}"#
        )
    );
    purge("key=site.test/nothing", 0);
    purge("key=site.test/a", 1);
    check_kept(&daemon, &app, &["/b", "/c/1", "/c/2"], &filled(&[0]));
    purge("prefix=site.test/c/", 2);
    check_kept(&daemon, &app, &["/a", "/b"], &filled(&[2, 3]));
    purge("tag=front&zone=z", 2);
    check_kept(&daemon, &app, &["/c/1", "/c/2"], &filled(&[0, 1]));
    purge("all=true", 4);
    check_kept(&daemon, &app, &[], &filled(&[0, 1, 2, 3]));
    let (_, body) = daemon.control("GET", "/v1/cache");
    assert!(body.contains(r#""name":"z","keys":4,"#), "{body}");
    for (what, status) in [
        ("", 400),
        ("tag=", 400),
        ("tag=a&all=true", 400),
        ("all=true&zone=other", 404),
    ] {
        let (told, body) = daemon.control("POST", &format!("/v1/cache/purge?{what}"));
        assert_eq!(told, status, "{what}: {body}");
    }
}

#[test]
fn what_was_being_fetched_is_not_kept_after_a_purge() {
    let (daemon, app) = cached("");
    let mut client = send(&daemon, "GET /a HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    let (status, _) = daemon.control("POST", "/v1/cache/purge?tag=anything");
    assert_eq!(status, 200);
    link.write(answer("Cache-Control: max-age=600", "old"));
    drop(link);
    assert_eq!(client.reply().text(), "old");
    fill(&daemon, &app, "/a", "X-New: 1");
    assert_eq!(was(&get(&daemon, "/a")), "HIT");
}

#[test]
fn by_proxy_cache_purge() {
    let (daemon, app) = cached(
        "proxy_cache_key $host$uri; set $purges ''; if ($request_method = PURGE) { set $purges 1; }
         proxy_cache_purge $purges;",
    );
    for path in ["/a", "/b/1", "/b/2"] {
        fill(&daemon, &app, path, "X-A: b");
    }
    let purge = |path: &str| {
        send(&daemon, &format!("PURGE {path} HTTP/1.1"))
            .reply()
            .status
    };
    assert_eq!((purge("/a"), purge("/a"), purge("/none")), (204, 404, 404));
    check_kept(&daemon, &app, &["/b/1", "/b/2"], &[("/a", "X-A: b")]);
    assert_eq!(purge("/b/*"), 204);
    check_kept(
        &daemon,
        &app,
        &["/a"],
        &[("/b/1", "X-A: b"), ("/b/2", "X-A: b")],
    );
}

#[test]
fn unsafe_methods_forget_what_they_and_their_answers_name() {
    let (daemon, app) = cached(
        "location /elsewhere/ { proxy_pass http://unix:@dir@/app.sock:/; proxy_cache z;
        proxy_cache_key other$uri; add_header X-Was $upstream_cache_status always; }",
    );
    let paths = ["/list?page=2", "/item/7", "/elsewhere/x", "/still"];
    for path in paths {
        fill(&daemon, &app, path, "X-A: b");
    }
    let order = |request: &str, status: &str, fields: &str| {
        let answer =
            format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n");
        ask(&daemon, &app, request, &answer).0.status
    };
    // Safe, failed, or naming another host: all stays.
    order("OPTIONS /still HTTP/1.1", "200 OK", "Location: /item/7\r\n");
    order(
        "DELETE /still HTTP/1.1",
        "404 Not Found",
        "Location: /item/7\r\n",
    );
    order(
        "MKCOL /new HTTP/1.1",
        "201 Created",
        "Location: http://other.test/item/7\r\n",
    );
    check_kept(&daemon, &app, &paths, &[]);
    let status = order(
        "POST /list?page=2 HTTP/1.1\r\nContent-Length: 0",
        "201 Created",
        "Location: http://site.test/item/7\r\nContent-Location: elsewhere/./x\r\n",
    );
    assert_eq!(status, 201);
    let gone = ["/list?page=2", "/item/7", "/elsewhere/x"].map(|path| (path, "X-A: b"));
    check_kept(&daemon, &app, &["/still"], &gone);
}

#[test]
fn the_method_may_be_part_of_the_key() {
    let (daemon, app) = cached("proxy_cache_key $request_method$host$request_uri;");
    fill(&daemon, &app, "/a", "X-A: b");
    let gone = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&daemon, &app, "DELETE /a HTTP/1.1", gone).0.status, 204);
    check_kept(&daemon, &app, &[], &[("/a", "X-A: b")]);
}
