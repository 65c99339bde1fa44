//! `trine proxy …`: the proxy's upstream servers, as its control socket tells and changes them.
//!
//! Not here: what a server that is drained still does (the proxy's matter).

use std::io::{self, Write as _};

use serde::Deserialize;
use trine_control::client::{Client, ClientError};
use trine_control::message::ActionResult;
use trine_service::exit::Exit;

use crate::actions::REFUSED;
use crate::cli::{AtProxy, ProxyCommand, ServerArgs};
use crate::run_dir::RunDir;
use crate::supervisor::segment;

/// The answer of `GET /v1/upstreams`.
#[derive(Debug, Deserialize)]
struct Upstreams {
    upstreams: Vec<Upstream>,
}

#[derive(Debug, Deserialize)]
struct Upstream {
    name: String,
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    address: String,
    health: String,
    drained: bool,
    down: bool,
    backup: bool,
    aside: bool,
}

impl Server {
    /// One word for how it stands, and whether it is a backup.
    fn state(&self) -> String {
        let word = match () {
            () if self.down => "out",
            () if self.drained => "drained",
            () if self.aside => "failing",
            () => &self.health,
        };
        let backup = if self.backup { " (backup)" } else { "" };
        format!("{word}{backup}")
    }
}

pub(crate) async fn run(command: &ProxyCommand, run_dir: &RunDir) -> anyhow::Result<Exit> {
    match command {
        ProxyCommand::Upstreams(at) => upstreams(&client(at, run_dir)).await,
        ProxyCommand::Drain(args) => order(args, "drain", run_dir).await,
        ProxyCommand::Resume(args) => order(args, "resume", run_dir).await,
    }
}

fn client(at: &AtProxy, run_dir: &RunDir) -> Client {
    let path = at.control.clone();
    Client::new(path.unwrap_or_else(|| run_dir.socket("proxy")))
}

async fn upstreams(client: &Client) -> anyhow::Result<Exit> {
    let answer: Upstreams = match client.get("/v1/upstreams").await {
        Ok(answer) => answer,
        Err(error) => return refused(error),
    };
    let mut out = io::stdout().lock();
    for upstream in &answer.upstreams {
        for server in &upstream.servers {
            let state = server.state();
            let _ = writeln!(out, "{}  {}  {state}", upstream.name, server.address);
        }
    }
    Ok(Exit::Ok)
}

async fn order(args: &ServerArgs, verb: &str, run_dir: &RunDir) -> anyhow::Result<Exit> {
    let (group, server) = (segment(&args.group), segment(&args.server));
    let path = format!("/v1/upstreams/{group}/servers/{server}/{verb}");
    match client(&args.at, run_dir).post::<ActionResult>(&path).await {
        Ok(done) => {
            let _ = writeln!(io::stdout(), "{}", done.message);
            Ok(Exit::Ok)
        }
        Err(error) => refused(error),
    }
}

/// What the proxy refuses is told as it says it.
fn refused(error: ClientError) -> anyhow::Result<Exit> {
    match &error {
        ClientError::Refused { problem, .. } => {
            let _ = writeln!(io::stderr(), "trine: {problem}");
            Ok(REFUSED)
        }
        _ => Err(error.into()),
    }
}
