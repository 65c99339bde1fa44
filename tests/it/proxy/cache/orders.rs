//! `trine cache`: what is kept is shown and forgotten.

use std::net::SocketAddr;

use e2e::client::get;
use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::port;
use e2e::upstream::Upstream;

#[test]
fn trine_cache_shows_and_forgets() {
    let folder = Folder::new();
    let app = Upstream::start(|request, conversation| {
        let tag = request.target.trim_start_matches('/');
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nSurrogate-Key: all {tag}\r\n"
        );
        conversation.write(format!("{head}Content-Length: 2\r\n\r\nok").as_bytes())
    });
    let addr: SocketAddr = port::free();
    folder.write(
        "nginx.conf",
        format!(
            "daemon off; error_log stderr; events {{}} http {{ proxy_cache_path kept keys_zone=site:10m;
             server {{ listen {addr}; location / {{ proxy_pass http://{}; proxy_cache site; proxy_cache_key $host$uri; }} }} }}",
            app.addr()
        ),
    );
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf", "--control", "proxy.sock"]);
    let proxy = launch.notify().start(&folder).wait_ready();
    let fill = || {
        for path in ["/a", "/b", "/c"] {
            assert_eq!(get(addr, path).text(), "ok");
        }
        app.seen().len()
    };
    assert_eq!((fill(), fill()), (3, 3));
    let cache = |args: &[&str]| {
        let launch = Launch::trine("trine").arg("cache").args(args);
        daemon::run(launch.args(["--control", "proxy.sock"]), &folder)
    };
    let check = |args: &[&str], code: i32, said: &str| {
        let (got, output) = cache(args);
        assert!(
            got == code && output.contains(said),
            "{args:?}: {got}\n{output}"
        );
    };
    check(&["status"], 0, "site: 3 keys in");
    check(&["keys", "--limit", "2"], 0, "a\n");
    let (_, keys) = cache(&["keys"]);
    let key = keys.lines().next().unwrap().to_owned();
    check(&["purge", "--key", &key], 0, "site: 1 key forgotten");
    check(&["purge", "--key", &key], 0, "site: 0 keys forgotten");
    check(&["purge", "--tag", "b"], 0, "site: 1 key forgotten");
    assert_eq!(fill(), 5);
    check(
        &["purge", "--tag", "all", "--zone", "site"],
        0,
        "site: 3 keys forgotten",
    );
    check(&["keys"], 0, "nothing is kept");
    fill();
    check(
        &["purge", "--prefix", "nobody", "--zone", "site"],
        0,
        "site: 0 keys forgotten",
    );
    check(
        &["purge", "--all", "--zone", "other"],
        1,
        "there is no cache other; there are site",
    );
    check(&["purge", "--all"], 0, "site: 3 keys forgotten");
    check(&["purge"], 64, "--key");
    check(&["purge", "--all", "--tag", "x"], 64, "cannot be used with");
    proxy.stop();
}
