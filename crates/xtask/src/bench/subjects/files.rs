//! `static-1k`: one small file, 64 keep-alive connections.
//! nginx three times: as most people run it; with its file cache (ofc); and at its best for small files (tuned: the
//! cache, and no sendfile).

use std::process::Command;

use super::super::server::{Field, SERVER_CPU, Server};
use super::{Running, Scenario, Subject, always, nginx_conf, without_nginx};

/// 1,024 bytes.
const BODY: &str = include_str!("small.txt");
const FILE_CACHE: &str = "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;";

pub(super) fn small() -> Scenario {
    let subject = |name, missing, start| Subject {
        name,
        ours: false,
        missing,
        start,
    };
    Scenario {
        name: "static-1k",
        what: "One file of 1 KiB, 64 keep-alive connections",
        target: "/small.txt",
        body: BODY,
        behind: None,
        subjects: vec![
            Subject {
                ours: true,
                ..subject("trine-proxy", always, trine)
            },
            subject("nginx", without_nginx, |field| {
                nginx(field, "sendfile on; tcp_nopush on;")
            }),
            subject("nginx-ofc", without_nginx, |field| {
                nginx(field, &format!("sendfile on; tcp_nopush on; {FILE_CACHE}"))
            }),
            subject("nginx-tuned", without_nginx, |field| {
                nginx(
                    field,
                    &format!("sendfile off; tcp_nopush off; {FILE_CACHE}"),
                )
            }),
        ],
    }
}

fn trine(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    field.write("www/small.txt", BODY)?;
    let conf = format!(
        "threads: 1\naccess_log: off\nservers:\n  - listen: ['{addr}']\n    locations:\n      - {{ path: /, files: ./www }}\n"
    );
    let conf = field.write("proxy.yaml", &conf)?;
    let mut command = Command::new(field.binaries.join("trine-proxy"));
    let mut server = Server::start(command.arg("-c").arg(conf), SERVER_CPU, field)?;
    server.wait_tcp(addr)?;
    Ok(Running { server, addr })
}

fn nginx(field: &Field, tuning: &str) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    field.write("www/small.txt", BODY)?;
    let server = format!("root {};", field.path("www").display());
    let conf = field.write(
        "nginx.conf",
        &nginx_conf(field, &addr.to_string(), tuning, &server),
    )?;
    let mut server = Server::start(Command::new("nginx").arg("-c").arg(conf), SERVER_CPU, field)?;
    server.wait_tcp(addr)?;
    Ok(Running { server, addr })
}
