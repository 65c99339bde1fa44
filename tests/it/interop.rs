//! Our parts beside other people's: nginx in front, gunicorn and uWSGI behind, certbot at work, either under our
//! supervisor, ours under supervisord, and the protocol of systemd.

mod behind;
mod certbot;
mod cgi;
mod failover;
mod gateway;
mod peers;
mod perl;
mod servers;
mod supervisord;
mod supervisord_conf;
mod systemd;

use std::net::SocketAddr;
use std::path::Path;

use e2e::client::{Request, ask};
use e2e::reply::Reply;

/// nginx's configuration: one worker, everything in its folder, one server that does `location`.
fn nginx_conf(folder: &Path, listen: &str, location: &str) -> String {
    let dir = folder.display();
    format!(
        "user root;
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 4m;
    server {{
        listen {listen};
        {location}
    }}
}}
"
    )
}

/// tests/apps/rooms.py answers as it should at this address.
#[track_caller]
fn check_rooms(address: SocketAddr) {
    let seen = ask(address, &Request::get("/environ?x=1")).json();
    assert_eq!(
        (seen["PATH_INFO"].as_str(), seen["QUERY_STRING"].as_str()),
        (Some("/environ"), Some("x=1")),
        "{seen}"
    );
    let digest: Reply = ask(address, &Request::post("/digest", vec![b'a'; 300_000]));
    assert_eq!(digest.text(), format!("300000 {SHA256_OF_300000_A}"));
    let pieces = ask(address, &Request::get("/pieces"));
    assert_eq!(pieces.text(), "piece 0\npiece 1\npiece 2\n");
    assert_eq!(ask(address, &Request::get("/nothing")).status, 404);
}

const SHA256_OF_300000_A: &str = "12e1b9b179b29a4f7e5889b185d7ac71bff0ad1f49a7b391d0911b737a0f5381";
