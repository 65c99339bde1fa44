//! Configurations as installation guides have them (gunicorn's sites, NetBox, Odoo, Gitea), in Debian's layout with
//! certbot's includes, written anew: all of it loads, converts, and has no trap that the guides did not set.
//!
//! So do the examples of our own chapters. Not here: what they answer (the differential of `tests`).

use std::fs;
use std::process::Command;

use crate::harness::Proxy;

const PROXY_PARAMS: &str = "proxy_set_header Host $http_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
";
const MIME_TYPES: &str = "types { text/html html htm; text/css css; application/javascript js; image/svg+xml svg svgz; }\n";
/// What certbot's file says.
const OPTIONS_SSL: &str = "ssl_session_cache shared:le_nginx_SSL:10m;
ssl_session_timeout 1440m;
ssl_session_tickets off;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_prefer_server_ciphers off;
ssl_ciphers \"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384\";
";

fn run(proxy: &Proxy, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trine-proxy"))
        .args(args)
        .current_dir(proxy.path(""))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn guides_and_debians_layout_load_and_convert() {
    let proxy = Proxy::new();
    let dir = proxy.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    for folder in [
        "sites-available",
        "sites-enabled",
        "modules-enabled",
        "letsencrypt",
        "live",
    ] {
        fs::create_dir(proxy.path(folder)).unwrap();
    }
    let put =
        |name: &str, text: &str| fs::write(proxy.path(name), text.replace("DIR", dir)).unwrap();
    put("nginx.conf", include_str!("guides/nginx.conf"));
    put("sites-available/sites", include_str!("guides/sites.conf"));
    std::os::unix::fs::symlink(
        "../sites-available/sites",
        proxy.path("sites-enabled/sites"),
    )
    .unwrap();
    put(
        "modules-enabled/50-mod-http-echo.conf",
        "load_module modules/ngx_http_echo_module.so;\n",
    );
    put("proxy_params", PROXY_PARAMS);
    put("mime.types", MIME_TYPES);
    put("letsencrypt/options-ssl-nginx.conf", OPTIONS_SSL);
    put("letsencrypt/ssl-dhparams.pem", "");
    let made = rcgen::generate_simple_self_signed(vec!["netbox.example.com".to_owned()]).unwrap();
    put("live/cert.pem", &made.cert.pem());
    put("live/key.pem", &made.signing_key.serialize_pem());

    let (code, _, said) = run(&proxy, &["-t", "-c", "nginx.conf", "-p", dir]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.ends_with("test is successful\n") && !said.contains("[emerg]"),
        "{said}"
    );

    let (code, yaml, said) = run(&proxy, &["convert", "nginx.conf"]);
    assert_eq!((code, said.as_str()), (0, ""));
    fs::write(proxy.path("site.yaml"), yaml).unwrap();
    let (code, _, said) = run(&proxy, &["-t", "-c", "site.yaml"]);
    assert_eq!(code, 0, "{said}");

    let (_, told, _) = run(
        &proxy,
        &[
            "explain",
            "https://netbox.example.com/static/a.css",
            "-c",
            "site.yaml",
        ],
    );
    assert!(told.contains("/opt/netbox/netbox/static/a.css"), "{told}");
    let (_, told, _) = run(
        &proxy,
        &["explain", "http://netbox.example.com/x", "-c", "nginx.conf"],
    );
    assert!(
        told.contains("Location: https://netbox.example.com/x"),
        "{told}"
    );
}

/// Every example for nginx.conf in a chapter, made a whole configuration.
fn examples(chapter: &str, dir: &str) -> Vec<String> {
    let params = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/params");
    let mut all = Vec::new();
    for block in chapter.split("```nginx\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let block = block
            .replace("/etc/trine/params", params)
            .replace("/var/cache/trine", &format!("{dir}/kept"))
            .replace("listen 80;", &format!("listen unix:{dir}/door.sock;"));
        let (maps, rest): (Vec<_>, Vec<_>) =
            block.lines().partition(|line| line.starts_with("map "));
        let rest = rest.join("\n");
        let http = if rest.contains("http {") {
            rest
        } else {
            let server = if rest.contains("server {") {
                rest
            } else {
                format!("server {{ {rest} }}")
            };
            format!(
                "http {{ proxy_cache_path {dir}/site keys_zone=site:1m; upstream app {{ server 127.0.0.1:1; }}\n{}\n{server}\n}}",
                maps.join("\n")
            )
        };
        all.push(format!(
            "pid {dir}/proxy.pid; error_log {dir}/error.log; events {{}}\n{http}\n"
        ));
    }
    all
}

#[test]
fn examples_of_the_chapters_load() {
    let proxy = Proxy::new();
    let dir = proxy.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    for (chapter, fewest) in [
        (include_str!("../../../../docs/proxy/gateways.md"), 4),
        (include_str!("../../../../docs/proxy/caching.md"), 5),
    ] {
        let examples = examples(chapter, dir);
        assert!(examples.len() >= fewest, "{}", examples.len());
        for example in examples {
            fs::write(proxy.path("nginx.conf"), &example).unwrap();
            let (code, _, said) = run(&proxy, &["-t", "-c", "nginx.conf", "-p", dir]);
            assert_eq!(code, 0, "{said}\n{example}");
            let (code, _, said) = run(&proxy, &["convert", "nginx.conf"]);
            assert_eq!((code, said.as_str()), (0, ""), "{example}");
        }
    }
}
