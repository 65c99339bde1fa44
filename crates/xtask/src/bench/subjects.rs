//! What is measured: scenarios, and how each subject of one is started.

mod files;
mod proxies;

use std::fmt;
use std::net::SocketAddr;

use super::server::{Field, Server};
use crate::workspace::find_program;

/// One question, asked of several servers.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) target: &'static str,
    /// What every subject must answer.
    pub(super) body: &'static str,
    /// Started before the subject, on the load generator's CPU.
    pub(super) behind: Option<fn(&Field) -> anyhow::Result<Server>>,
    pub(super) subjects: Vec<Subject>,
}

/// One server in one configuration.
#[derive(Clone, Copy)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// The one that the others are compared with.
    pub(super) ours: bool,
    /// Why it cannot run here.
    pub(super) missing: fn() -> Option<String>,
    pub(super) start: fn(&Field) -> anyhow::Result<Running>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A subject that accepts connections.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) server: Server,
    pub(super) addr: SocketAddr,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![proxies::unix(), files::small()]
}

fn always() -> Option<String> {
    None
}

fn without_nginx() -> Option<String> {
    find_program("nginx")
        .is_none()
        .then(|| "no nginx; see --setup".to_owned())
}

/// nginx as its tuning guides have it: one worker, no access log, connections that stay. `http` goes inside.
fn nginx_conf(field: &Field, listen: &str, http: &str, server: &str) -> String {
    let dir = field.path("");
    let dir = dir.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {dir}/{kind};\n"))
        .collect();
    format!(
        "user root;
daemon off;
worker_processes 1;
pid {dir}/nginx-{name}.pid;
error_log {dir}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
{temp}    access_log off;
    keepalive_requests 1000000;
    {http}
    server {{
        listen {listen} backlog=1024;
        {server}
    }}
}}
",
        name = listen.replace(['/', ':'], "-"),
    )
}
