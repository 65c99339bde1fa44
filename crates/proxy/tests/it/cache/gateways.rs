//! `fastcgi_cache`, `uwsgi_cache` and `scgi_cache`: the same cache behind other protocols.

use super::{get, send, was};
use crate::fastcgi::{end, read, stdout};
use crate::harness::{Link, Upstream};
use crate::nginx_conf::start;

/// Takes a request and returns its variables as they came, with their lengths.
pub(super) fn variables(family: &str, link: &mut Link) -> String {
    let bytes = match family {
        "fastcgi" => {
            let asked = read(link);
            return format!("{asked:?}");
        }
        "uwsgi" => {
            let head = link.read_exact(4);
            link.read_exact(usize::from(u16::from_le_bytes([head[1], head[2]])))
        }
        _ => {
            let mut length = String::new();
            loop {
                match link.read_exact(1)[0] {
                    b':' => break,
                    digit => length.push(digit.into()),
                }
            }
            link.read_exact(length.parse::<usize>().unwrap() + 1)
        }
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn reply(family: &str, link: &mut Link, answer: &str) {
    match family {
        "fastcgi" => link.write([stdout(answer), end(0)].concat()),
        _ => link.write(answer),
    };
    link.finish_sending();
}

#[track_caller]
fn check(family: &str, url: &str) {
    let daemon = start(
        &format!("{family}_cache_path @dir@/kept levels=1:2 keys_zone=z:10m inactive=1h; {family}_cache_valid 404 1m;"),
        &format!(
            "{family}_cache z; {family}_cache_key $host$request_uri; {family}_cache_use_stale error http_500 updating;
             {family}_cache_lock on; {family}_cache_methods GET HEAD; {family}_no_cache $arg_no; {family}_cache_bypass $arg_past;
             set $purges ''; if ($request_method = PURGE) {{ set $purges 1; }} {family}_cache_purge $purges;
             {family}_cache_min_uses 1; {family}_cache_revalidate on; {family}_cache_background_update off;
             {family}_cache_lock_timeout 5s; {family}_cache_lock_age 5s; {family}_cache_max_range_offset 1m;
             location / {{ {family}_pass {url}; {family}_param REQUEST_METHOD $request_method; {family}_param A b;
             add_header X-Was $upstream_cache_status always; }}"
        ),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let ask = |path: &str, answer: &str| {
        let mut client = send(&daemon, &format!("GET {path} HTTP/1.1"));
        let mut link = app.accept();
        let asked = variables(family, &mut link);
        reply(family, &mut link, answer);
        (client.reply(), asked)
    };
    let first = "Content-Type: text/plain\r\nCache-Control: max-age=0\r\nETag: \"v\"\r\n\r\nhello";
    let (got, _) = ask("/a", first);
    assert_eq!((got.status, got.text(), was(&got)), (200, "hello", "MISS"));
    let (got, asked) = ask(
        "/a",
        "Status: 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: max-age=600\r\n\r\n",
    );
    assert!(
        asked.contains("\\\"v\\\"") || asked.contains("\"v\""),
        "{asked}"
    );
    assert_eq!(
        (got.status, got.text(), was(&got)),
        (200, "hello", "REVALIDATED")
    );
    let got = get(&daemon, "/a");
    assert_eq!((got.status, got.text(), was(&got)), (200, "hello", "HIT"));
    let (got, _) = ask("/gone", "Status: 404 Not Found\r\n\r\ngone");
    assert_eq!(was(&got), "MISS");
    assert_eq!(was(&get(&daemon, "/gone")), "HIT");
    let purge = || send(&daemon, "PURGE /a HTTP/1.1").reply().status;
    assert_eq!((purge(), purge()), (204, 404));
    app.expect_untouched();
    let (got, _) = ask("/a", first);
    assert_eq!(was(&got), "MISS");
    let (got, _) = ask("/a", "Status: 500 Oops\r\n\r\nbad");
    assert_eq!((got.status, got.text(), was(&got)), (200, "hello", "STALE"));
}

#[test]
fn fastcgi() {
    check("fastcgi", "unix:@dir@/app.sock");
}

#[test]
fn uwsgi() {
    check("uwsgi", "unix:@dir@/app.sock");
}

#[test]
fn scgi() {
    check("scgi", "unix:@dir@/app.sock");
}
