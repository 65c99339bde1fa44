//! Following the workers of trine-wsgi: which there are, and how many requests each can take.
//!
//! `/v1/events` of its control socket says when that changes, `/v1/status` says what it is. While nobody answers there,
//! requests go to the socket that the workers share. Not here: what the servers are by that (see `upstream::capacity`).

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{sleep, timeout};
use trine_control::client::{Client, ClientError};
use trine_service::exit::chain;

use super::Fresh;
use crate::upstream::capacity::Worker;

/// Until it is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of the events, those that change what there is begin so.
const ABOUT_WORKERS: &str = "worker.";

/// What of a worker in `/v1/status` matters here.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    state: String,
    #[serde(default)]
    seats: u32,
    #[serde(default)]
    socket: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    workers: Vec<Told>,
}

/// Follows the workers behind a control socket for as long as it is polled.
pub(super) async fn follow(control: &Path, fresh: &Fresh<'_>) {
    let client = Client::new(control);
    let upstream = &fresh.upstream.name;
    let mut failing = false;
    loop {
        let Err(why) = listen(&client, control, fresh, &mut failing).await;
        if !std::mem::replace(&mut failing, true) {
            tracing::warn!(upstream = %upstream, "its workers are not known, they share what comes: {why}");
        }
        if fresh.fleet.names.put_workers(control, Vec::new()) {
            fresh.servers().await;
        }
        sleep(PAUSE).await;
    }
}

/// Until it breaks off.
async fn listen(
    client: &Client,
    control: &Path,
    fresh: &Fresh<'_>,
    failing: &mut bool,
) -> Result<std::convert::Infallible, String> {
    let told = |error: &ClientError| chain(error);
    let late = |_| "no answer in time".to_owned();
    let mut events = timeout(PATIENCE, client.events(None))
        .await
        .map_err(late)?
        .map_err(|error| told(&error))?;
    loop {
        let status = timeout(PATIENCE, client.status())
            .await
            .map_err(late)?
            .map_err(|error| told(&error))?;
        let workers = workers(status.detail)
            .map_err(|error| format!("its status cannot be read: {error}"))?;
        if std::mem::take(failing) {
            tracing::info!(upstream = %fresh.upstream.name, "its workers are known again");
        }
        if fresh.fleet.names.put_workers(control, workers) {
            fresh.servers().await;
        }
        loop {
            match events.next().await.map_err(|error| told(&error))? {
                Some(event) if event.kind.starts_with(ABOUT_WORKERS) || event.kind == "gap" => {
                    break;
                }
                Some(_) => {}
                None => return Err("its control socket was closed".to_owned()),
            }
        }
    }
}

/// Those that take requests, on sockets of their own.
fn workers(detail: serde_json::Value) -> Result<Vec<Worker>, serde_json::Error> {
    let detail: Detail = serde_json::from_value(detail)?;
    let ready = detail
        .workers
        .into_iter()
        .filter(|one| one.state == "ready" && one.seats > 0);
    let with_socket = ready.filter_map(|one| {
        let socket = one.socket?;
        let socket = socket.strip_prefix("unix:").unwrap_or(&socket).into();
        Some(Worker {
            socket,
            seats: one.seats,
        })
    });
    Ok(with_socket.collect())
}
