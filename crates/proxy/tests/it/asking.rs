//! What can be asked of a configuration without serving it: explain, lint, convert, the schema.

use std::fs;
use std::process::Command;

use crate::harness::Proxy;

/// The exit code and standard output, with the folder's name taken out.
fn ask(proxy: &Proxy, file: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trine-proxy"))
        .arg("-c")
        .arg(proxy.path(file))
        .args(args)
        .output()
        .unwrap();
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let dir = proxy.path("").display().to_string();
    (
        output.status.code().unwrap(),
        said.replace(dir.trim_end_matches('/'), "DIR"),
    )
}

fn site() -> Proxy {
    let proxy = Proxy::new();
    let dir = proxy.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    fs::create_dir_all(proxy.path("www/static")).unwrap();
    fs::write(proxy.path("www/static/a.css"), "a").unwrap();
    let text = format!(
        "events {{}} http {{
 types {{ text/css css; }}
 upstream app {{ server 127.0.0.1:8000; }}
 map $http_x_beta $pool {{ default app; 1 beta; }}
 server {{ listen 80 default_server; return 444; }}
 server {{ listen 80; server_name example.org; root {dir}/www;
  add_header X-A b always;
  location /static {{ alias {dir}/www/static/; }}
  location ~ \\.php$ {{ deny all; }}
  location = /old {{ return 301 /new$is_args$args; }}
  location /admin {{ limit_except GET {{ deny all; }} proxy_pass http://app/adm; proxy_set_header X-Pool $pool; }}
  location / {{ try_files $uri @app; error_page 404 = /static/a.css; }}
  location @app {{ proxy_pass http://app; proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme; }}
 }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    proxy
}

#[test]
fn explain_tells_who_answers_and_why() {
    let proxy = site();
    let check = |args: &[&str], want: &[&str]| {
        let all: Vec<&str> = ["explain"].iter().chain(args).copied().collect();
        let (code, said) = ask(&proxy, "nginx.conf", &all);
        assert_eq!(code, 0, "{said}");
        let mut lines = said.lines();
        for want in want {
            assert!(
                lines.any(|line| line.contains(want)),
                "{want} in order in\n{said}"
            );
        }
    };
    check(
        &["http://example.org/static/a.css"],
        &[
            "server     example.org at DIR/nginx.conf:6: its name fits example.org",
            "location   /static at DIR/nginx.conf:8: it is the longest that fits, and no expression matches",
            "file       DIR/www/static/a.css",
            "answer     200 with this file",
            "type       text/css",
            "field      X-A: b",
        ],
    );
    check(
        &["http://nobody.test/"],
        &[
            "at DIR/nginx.conf:5: no server there is called nobody.test",
            "answer     none",
        ],
    );
    check(
        &["http://example.org/x/../a.php"],
        &[
            "path       /a.php",
            "location   ~ \\.php$",
            "answer     403, because of `allow` and `deny`",
        ],
    );
    check(
        &["http://example.org/old?q=1"],
        &["answer     301", "Location: http://example.org/new?q=1"],
    );
    check(
        &["http://example.org/admin/x", "-H", "X-Beta: 1"],
        &[
            "upstream   app: 127.0.0.1:8000",
            "it gets    GET /adm/x HTTP/1.1",
            "X-Pool: beta",
        ],
    );
    check(
        &["http://example.org/admin/x", "-X", "POST"],
        &["answer     403"],
    );
    check(
        &["http://example.org/page", "--from", "198.51.100.7"],
        &[
            "try_files  /page, else @app",
            "location   @app at DIR/nginx.conf:13",
            "X-Forwarded-Proto: http",
        ],
    );
    let (code, said) = ask(&proxy, "nginx.conf", &["explain", "https://example.org/"]);
    assert_eq!(
        (code, said.as_str()),
        (
            1,
            "explain: nothing listens on port 443 for https; there are 0.0.0.0:80\n"
        )
    );
    let (code, said) = ask(
        &proxy,
        "nginx.conf",
        &["explain", "http://example.org/", "-H", "Content-Length: +1"],
    );
    assert!(
        code == 1 && said.contains("the request is refused"),
        "{said}"
    );
}

#[test]
fn lint_names_traps_in_both_languages() {
    let proxy = site();
    let (code, said) = ask(&proxy, "nginx.conf", &["lint"]);
    assert_eq!(code, 1, "{said}");
    let line = said.lines().next().unwrap_or_default();
    assert!(
        line.starts_with("DIR/nginx.conf:8: [alias-traversal] "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(
        ask(&proxy, "nginx.conf", &["lint", "--skip", "alias-traversal"]),
        (0, String::new())
    );

    let proxy = proxy.config(
        "servers:\n- listen: 127.0.0.1:8000\n  headers: { X-A: b }\n  locations:\n  \
         - prefix: /\n    pass: 'http://$host'\n    headers: { X-B: c }\n",
    );
    let (code, said) = ask(&proxy, "proxy.yaml", &["lint"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.starts_with("DIR/proxy.yaml:6: [ssrf] ") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn convert_prints_what_can_be_served() {
    let proxy = site();
    let (code, said) = ask(&proxy, "nginx.conf", &["convert"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("\n- listen: [\"80 default_server\"]\n  script:\n  - return: 444\n"),
        "{said}"
    );
    fs::write(
        proxy.path("other.yaml"),
        said.replace("DIR", proxy.path("").to_str().unwrap()),
    )
    .unwrap();
    let (code, said) = ask(&proxy, "other.yaml", &["-t"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "DIR/other.yaml: the configuration is good\n")
    );
    let (_, said) = ask(
        &proxy,
        "other.yaml",
        &["explain", "http://example.org/admin/x"],
    );
    assert!(said.contains("it gets    GET /adm/x HTTP/1.1"), "{said}");
    let (code, _) = ask(&proxy, "other.yaml", &["convert"]);
    assert_eq!(code, 1, "it is YAML already");
}

#[test]
fn the_schema_is_json() {
    let (code, said) = ask(&Proxy::new(), "none", &["--generate", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 0);
    assert!(schema["properties"]["servers"].is_object());
}
