//! The servers: how each is started for a question, and what keeps it from running here.
//!
//! trine-proxy reads the file that nginx reads, but for the folders of protocols that nobody speaks here. nginx comes three times: as most people run it, with its cache of
//! open files (ofc), and at its best for small files (tuned: the cache, and no sendfile).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::bail;

use super::super::server::{Field, LOAD_CPU, SERVER_CPU, Server};
use super::scenarios::{Key, Scenario, Serves};
use crate::cli::Gateway;
use crate::workspace::find_program;

const FILE_CACHE: &str = "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Peer {
    Trine,
    Nginx,
    NginxOfc,
    NginxTuned,
    Haproxy,
    H2o,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trine => "trine-proxy",
            Self::Nginx => "nginx",
            Self::NginxOfc => "nginx-ofc",
            Self::NginxTuned => "nginx-tuned",
            Self::Haproxy => "HAProxy",
            Self::H2o => "h2o",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Trine => "trine-proxy",
            Self::Nginx | Self::NginxOfc | Self::NginxTuned => "nginx",
            Self::Haproxy => "haproxy",
            Self::H2o => "h2o",
        }
    }

    /// Why it cannot run here.
    pub(super) fn missing(self) -> Option<String> {
        let program = self.program();
        (self != Self::Trine && find_program(program).is_none())
            .then(|| format!("no {program}; see --setup"))
    }

    /// Starts it on the server's core. The certificate, if there is one, is in the field.
    pub(super) fn start(
        self,
        scenario: &Scenario,
        field: &Field,
    ) -> anyhow::Result<(Server, SocketAddr)> {
        let addr = Field::free_address()?;
        let listen = addr.to_string();
        let mut command = match self {
            Self::Trine => Command::new(field.binaries.join(self.program())),
            _ => Command::new(self.program()),
        };
        match self {
            Self::Trine | Self::Nginx => {
                let conf = nginx(
                    self,
                    scenario,
                    field,
                    &listen,
                    "sendfile on; tcp_nopush on;",
                )?;
                command.arg("-c").arg(conf);
            }
            Self::NginxOfc => {
                let tuning = format!("sendfile on; tcp_nopush on; {FILE_CACHE}");
                command
                    .arg("-c")
                    .arg(nginx(self, scenario, field, &listen, &tuning)?);
            }
            Self::NginxTuned => {
                let tuning = format!("sendfile off; tcp_nopush off; {FILE_CACHE}");
                command
                    .arg("-c")
                    .arg(nginx(self, scenario, field, &listen, &tuning)?);
            }
            Self::Haproxy => {
                command
                    .arg("-f")
                    .arg(field.write("haproxy.cfg", &haproxy(scenario, field, &listen))?);
            }
            Self::H2o => {
                command
                    .arg("-c")
                    .arg(field.write("h2o.conf", &h2o(scenario, field, addr))?);
            }
        }
        let mut server = Server::start(&command, SERVER_CPU, field)?;
        server.wait_tcp(addr)?;
        Ok((server, addr))
    }
}

/// What stands behind all proxies: an nginx that answers out of its configuration, on the load generator's core.
pub(super) fn upstream(scenario: &Scenario, field: &Field) -> anyhow::Result<Option<Server>> {
    if let Serves::File(_) = scenario.serves {
        return Ok(None);
    }
    let socket = field.path("up.sock");
    // nginx does not take over a socket that a killed nginx left.
    let _not_there = std::fs::remove_file(&socket);
    if let Serves::Gateway(protocol) = scenario.serves {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("answer").arg(name_of(protocol)).arg(&socket);
        let mut server = Server::start(&command, LOAD_CPU, field)?;
        server.wait_unix(&socket)?;
        return Ok(Some(server));
    }
    let kind = match scenario.serves {
        Serves::Json { .. } => "application/json",
        _ => "text/plain",
    };
    let mut server = format!("listen unix:{} backlog=1024;\n", socket.display());
    let mut whole = String::new();
    // nginx takes no parameter of 4 KiB at once.
    for (number, piece) in scenario.serves.body().chunks(2048).enumerate() {
        server += &format!("set $piece{number} '{}';\n", String::from_utf8_lossy(piece));
        whole += &format!("$piece{number}");
    }
    server += &format!(
        "location / {{ default_type {kind}; add_header Cache-Control max-age=3600; return 200 '{whole}'; }}"
    );
    let conf = field.write(
        "upstream.conf",
        &nginx_conf(Peer::Nginx, field, "upstream", "", &server),
    )?;
    let mut server = Server::start(Command::new("nginx").arg("-c").arg(conf), LOAD_CPU, field)?;
    server.wait_unix(&socket)?;
    Ok(Some(server))
}

/// A protocol in directives.
fn name_of(protocol: Gateway) -> &'static str {
    match protocol {
        Gateway::Fastcgi => "fastcgi",
        Gateway::Uwsgi => "uwsgi",
    }
}

/// Puts what is served into the field: the file, and a certificate for this machine.
pub(super) fn prepare(scenario: &Scenario, field: &Field) -> anyhow::Result<()> {
    if let Serves::File(_) = scenario.serves {
        let body = String::from_utf8_lossy(&scenario.serves.body()).into_owned();
        field.write("www/file.txt", &body)?;
    }
    let Some(tls) = scenario.tls else {
        return Ok(());
    };
    let kind: &[&str] = match tls.key {
        Key::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        Key::Rsa2048 => &["-newkey", "rsa:2048"],
    };
    let out = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(kind)
        .arg("-keyout")
        .arg(field.path("key.pem"))
        .arg("-out")
        .arg(field.path("cert.pem"))
        .output()?;
    if !out.status.success() {
        bail!("openssl: {}", String::from_utf8_lossy(&out.stderr));
    }
    let both = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(field.path(name)));
    let both = both.into_iter().collect::<Result<String, _>>()?;
    field.write("both.pem", &both)?;
    Ok(())
}

/// nginx as its tuning guides have it: one worker, no access log, connections that stay. `http` goes inside.
fn nginx_conf(peer: Peer, field: &Field, name: &str, http: &str, server: &str) -> String {
    let dir = field.path("");
    let dir = dir.display();
    let kinds: &[&str] = if peer == Peer::Trine {
        &["client_body", "proxy"]
    } else {
        &["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    };
    let temp: String = kinds
        .iter()
        .map(|kind| format!("    {kind}_temp_path {dir}/{kind};\n"))
        .collect();
    format!(
        "user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {dir}/{name}.pid;
error_log {dir}/{name}-error.log;
events {{ worker_connections 16384; }}
http {{
{temp}    access_log off;
    keepalive_requests 1000000;
    {http}
    server {{
        {server}
    }}
}}
"
    )
}

fn nginx(
    peer: Peer,
    scenario: &Scenario,
    field: &Field,
    listen: &str,
    tuning: &str,
) -> anyhow::Result<std::path::PathBuf> {
    let show = |name: &str| field.path(name).display().to_string();
    let mut http = tuning.to_owned();
    let mut server = format!("listen {listen} backlog=1024");
    if let Some(tls) = scenario.tls {
        server += if tls.http2 { " ssl http2" } else { " ssl" };
        let tickets = if tls.resumes { "on" } else { "off" };
        let _infallible = write!(
            server,
            ";\nssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; ssl_session_tickets {tickets}",
            show("cert.pem"),
            show("key.pem")
        );
    }
    match scenario.serves {
        Serves::Upstream | Serves::Json { .. } => {
            if let Serves::Json { level } = scenario.serves {
                let _infallible = write!(
                    http,
                    "\ngzip on; gzip_types application/json; gzip_comp_level {level};"
                );
            }
            let _infallible = write!(
                http,
                "\nupstream up {{ server unix:{}; keepalive 64; keepalive_requests 1000000; }}",
                show("up.sock")
            );
            server += ";\nlocation / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; }";
        }
        Serves::Gateway(protocol) => {
            let name = name_of(protocol);
            let _infallible = write!(
                http,
                "\nupstream up {{ server unix:{}; keepalive 64; keepalive_requests 1000000; }}",
                show("up.sock")
            );
            let keeps = match protocol {
                Gateway::Fastcgi => " fastcgi_keep_conn on;",
                Gateway::Uwsgi => "",
            };
            let _infallible = write!(
                server,
                ";\nlocation / {{ include /etc/nginx/{name}_params; {name}_pass up;{keeps} }}"
            );
        }
        Serves::Cached | Serves::CachedOnDisk => {
            // nginx keeps keys in memory and answers in files, the proxy both in both.
            let memory = match (scenario.serves, peer) {
                (Serves::CachedOnDisk, Peer::Trine) => "256k",
                _ => "64m",
            };
            let _infallible = write!(
                http,
                "\nproxy_cache_path {} levels=1:2 keys_zone=z:{memory} max_size=4g inactive=1h use_temp_path=off;
                 upstream up {{ server unix:{}; keepalive 64; keepalive_requests 1000000; }}",
                show(&format!("kept-{}", peer.name())),
                show("up.sock")
            );
            server += ";\nlocation / { proxy_cache z; proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; }";
        }
        Serves::File(_) => {
            let _infallible = write!(server, ";\nroot {};", show("www"));
        }
    }
    field.write(
        "nginx.conf",
        &nginx_conf(peer, field, "front", &http, &server),
    )
}

fn haproxy(scenario: &Scenario, field: &Field, listen: &str) -> String {
    let show = |path: &Path| path.display().to_string();
    let ssl = scenario.tls.map_or(String::new(), |tls| {
        let tickets = if tls.resumes { "" } else { " no-tls-tickets" };
        format!(
            " ssl crt {} alpn http/1.1 ssl-min-ver TLSv1.3{tickets}",
            show(&field.path("both.pem"))
        )
    });
    let (cache, uses) = if scenario.serves == Serves::Cached {
        (
            "cache kept\n    total-max-size 64\n    max-object-size 100000\n    max-age 3600\n",
            "    http-request cache-use kept\n    http-response cache-store kept\n",
        )
    } else {
        ("", "")
    };
    format!(
        "global
    nbthread 1
    maxconn 4096
    tune.ssl.cachesize 0
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    http-reuse always
{cache}frontend front
    bind {listen} backlog 1024{ssl}
{uses}    default_backend up
backend up
    server up unix@{}
",
        show(&field.path("up.sock"))
    )
}

fn h2o(scenario: &Scenario, field: &Field, addr: SocketAddr) -> String {
    let dir = field.path("");
    let dir = dir.display();
    let ssl = scenario.tls.map_or(String::new(), |_| {
        format!(
            "  ssl:\n    certificate-file: {dir}/cert.pem\n    key-file: {dir}/key.pem\n    minimum-version: TLSv1.3\n"
        )
    });
    format!(
        "user: root
num-threads: 1
max-connections: 16384
error-log: {dir}/h2o-error.log
pid-file: {dir}/h2o.pid
listen:
  host: {}
  port: {}
{ssl}hosts:
  default:
    paths:
      /:
        file.dir: {dir}/www
",
        addr.ip(),
        addr.port()
    )
}
