//! `proxy-unix`: a small answer from an upstream on a Unix socket, connections kept on both sides.
//! The upstream is an nginx that answers out of its configuration, on the load generator's CPU.

use std::process::Command;

use super::super::server::{Field, LOAD_CPU, SERVER_CPU, Server};
use super::{Running, Scenario, Subject, always, nginx_conf, without_nginx};
use crate::workspace::find_program;

const BODY: &str = "Hello, world!";

pub(super) fn unix() -> Scenario {
    let subject = |name, missing, start| Subject {
        name,
        ours: false,
        missing,
        start,
    };
    Scenario {
        name: "proxy-unix",
        what: "Proxying a 13-byte answer from a Unix socket, keep-alive on both sides, 64 connections",
        target: "/",
        body: BODY,
        behind: Some(upstream),
        subjects: vec![
            Subject {
                ours: true,
                ..subject("trine-proxy", always, trine)
            },
            subject("nginx", without_nginx, nginx),
            subject("HAProxy", without_haproxy, haproxy),
        ],
    }
}

fn without_haproxy() -> Option<String> {
    find_program("haproxy")
        .is_none()
        .then(|| "no haproxy; see --setup".to_owned())
}

fn upstream(field: &Field) -> anyhow::Result<Server> {
    let socket = field.path("up.sock");
    // nginx does not take over a socket that a killed nginx left.
    let _not_there = std::fs::remove_file(&socket);
    let server = format!("location / {{ default_type text/plain; return 200 '{BODY}'; }}");
    let conf = nginx_conf(field, &format!("unix:{}", socket.display()), "", &server);
    let conf = field.write("upstream.conf", &conf)?;
    let mut server = Server::start(Command::new("nginx").arg("-c").arg(conf), LOAD_CPU, field)?;
    server.wait_unix(&socket)?;
    Ok(server)
}

fn trine(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let conf = field.write(
        "proxy.yaml",
        &format!(
            "threads: 1
access_log: off
servers:
  - listen: ['{addr}']
    locations:
      - {{ path: /, proxy: up }}
upstreams:
  up: {{ servers: ['unix:up.sock'], keepalive: 64 }}
"
        ),
    )?;
    let mut command = Command::new(field.binaries.join("trine-proxy"));
    let mut server = Server::start(command.arg("-c").arg(conf), SERVER_CPU, field)?;
    server.wait_tcp(addr)?;
    Ok(Running { server, addr })
}

fn nginx(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let http = format!(
        "upstream up {{ server unix:{}; keepalive 64; keepalive_requests 1000000; }}",
        field.path("up.sock").display()
    );
    let server = "location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; }";
    let conf = field.write(
        "nginx.conf",
        &nginx_conf(field, &addr.to_string(), &http, server),
    )?;
    let mut server = Server::start(Command::new("nginx").arg("-c").arg(conf), SERVER_CPU, field)?;
    server.wait_tcp(addr)?;
    Ok(Running { server, addr })
}

fn haproxy(field: &Field) -> anyhow::Result<Running> {
    let addr = Field::free_address()?;
    let conf = field.write(
        "haproxy.cfg",
        &format!(
            "global
    nbthread 1
    maxconn 2048
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    http-reuse always
frontend front
    bind {addr} backlog 1024
    default_backend up
backend up
    server up unix@{}
",
            field.path("up.sock").display()
        ),
    )?;
    let mut server = Server::start(
        Command::new("haproxy").arg("-f").arg(conf),
        SERVER_CPU,
        field,
    )?;
    server.wait_tcp(addr)?;
    Ok(Running { server, addr })
}
