//! Server and client over a real socket.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use trine_control::server::{self, Body, EventHub, Handler, MAX_CONNECTIONS, Request, Response};
use trine_control::{
    ActionResult, Client, ClientError, EventLog, ProblemDocument, ReloadReport, Role, Status, bind,
};
use trine_service::Phase;

struct Fake {
    events: EventHub,
}

impl Handler for Fake {
    async fn status(&self) -> Status {
        Status {
            daemon: "trine-fake".into(),
            version: "0.1.0".into(),
            pid: std::process::id(),
            phase: Phase::Ready,
            uptime_ms: 1,
            status_text: String::new(),
            generation: 1,
            listeners: Vec::new(),
            last_reload: None,
            detail: json!({"n": 1}),
        }
    }
    async fn metrics(&self) -> String {
        trine_control::metrics::Metrics::new().finish()
    }
    fn events(&self) -> &EventHub {
        &self.events
    }
    async fn drain(&self) -> Result<ActionResult, ProblemDocument> {
        Ok(ActionResult::done("draining"))
    }
    async fn reload(&self, dry_run: bool) -> Result<ReloadReport, ProblemDocument> {
        let problems = vec!["fake.yaml:1:1: port: too big; use less".to_owned()];
        Ok(ReloadReport {
            ok: dry_run,
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            dry_run,
            problems,
        })
    }
    async fn stop(&self) -> Result<ActionResult, ProblemDocument> {
        Err(ProblemDocument::new(409, "stopping already"))
    }
    async fn other(&self, role: Role, request: Request) -> Result<Response, ProblemDocument> {
        assert_eq!(role, Role::Admin);
        match request.uri().path() {
            "/v1/count" => {
                let body = Body::pulled(0, |n| async move {
                    tokio::task::yield_now().await;
                    (n < 3).then(|| (Bytes::from(format!("{n}\n")), n + 1))
                });
                Ok(http::Response::new(body))
            }
            "/v1/echo" => Ok(server::json(200, &request.body().len())),
            path => Err(server::not_found(path)),
        }
    }
}

struct Daemon {
    path: PathBuf,
    client: Client,
    events: EventHub,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
    _stop_at_end: DropGuard,
    _dir: tempfile::TempDir,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test awaits the task it spawns"
)]
fn daemon() -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let events = EventHub::new(EventLog::starting_at(3, 10));
    let stop = CancellationToken::new();
    let handler = Arc::new(Fake {
        events: events.clone(),
    });
    let served = tokio::spawn(server::serve(bind(&path).unwrap(), handler, stop.clone()));
    let (client, guard) = (Client::new(&path), stop.clone().drop_guard());
    Daemon {
        path,
        client,
        events,
        stop,
        served,
        _stop_at_end: guard,
        _dir: dir,
    }
}

/// Bytes sent as they are; all that comes back until the server closes.
async fn raw(path: &Path, request: impl Into<Vec<u8>>) -> String {
    let (path, request) = (path.to_owned(), request.into());
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.write_all(&request); // the server may answer before it has read all
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    });
    answer.await.unwrap()
}

#[tokio::test]
async fn common_calls() {
    let Daemon { client, path, .. } = &daemon();
    assert_eq!(
        path.metadata().unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(client.status().await.unwrap().detail, json!({"n": 1}));
    assert_eq!(client.text("/metrics").await.unwrap(), "# EOF\n");
    assert_eq!(client.drain().await.unwrap().message, "draining");
    assert!(client.reload(true).await.unwrap().ok);
    let bad = client.reload(false).await.unwrap();
    assert_eq!(
        (bad.ok, bad.problems.len()),
        (false, 1),
        "a bad configuration is an answer, not an error"
    );
    let refused = client.stop().await.unwrap_err();
    assert_eq!(
        (refused.to_string(), refused.problem().unwrap().status),
        ("stopping already".into(), 409)
    );
}

#[tokio::test]
async fn the_daemons_own_calls() {
    let Daemon { client, .. } = &daemon();
    assert_eq!(client.text("/v1/count").await.unwrap(), "0\n1\n2\n");
    let mut chunks = client.stream("/v1/count").await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all, b"0\n1\n2\n");
    let missing = client.get::<Value>("/v1/nothing").await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no /v1/nothing here");
    let wrong = client.get::<Value>("/v1/stop").await.unwrap_err();
    assert_eq!(wrong.to_string(), "/v1/stop answers POST, not GET");
}

#[tokio::test]
async fn on_the_wire() {
    let Daemon { path, .. } = &daemon();
    let answer = raw(
        path,
        "DELETE /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\r\ncontent-type: application/problem+json\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
    let answer = raw(
        path,
        "GET /v1/events?since=x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("is no number"),
        "{answer}"
    );
    let answer = raw(
        path,
        "HEAD /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn limits() {
    let Daemon { path, client, .. } = &daemon();
    let head = |len: usize| {
        format!(
            "POST /v1/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n"
        )
    };
    let fits = format!(
        "{}{}",
        head(server::MAX_BODY_BYTES),
        "x".repeat(server::MAX_BODY_BYTES)
    );
    assert!(raw(path, fits).await.ends_with("\r\n\r\n1048576\n"));
    let answer = raw(path, head(server::MAX_BODY_BYTES + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = raw(
        path,
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000)),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let held: Vec<_> = (0..MAX_CONNECTIONS)
        .map(|_| UnixStream::connect(path).unwrap())
        .collect();
    let busy = client.status().await.unwrap_err();
    assert_eq!(busy.to_string(), "too many control connections");
    drop(held);
    while let Err(error) = client.status().await {
        assert_eq!(error.problem().unwrap().status, 503); // until the server has seen them close
    }
}

#[tokio::test]
async fn events_resume() {
    let daemon = daemon();
    let (client, events) = (daemon.client.clone(), daemon.events.clone());
    let (stop, path) = (daemon.stop.clone(), daemon.path.clone());
    let mut live = client.events(None).await.unwrap();
    assert_eq!(events.push("phase", json!("ready")), 10);
    let first = live.next().await.unwrap().unwrap();
    assert_eq!((first.id, first.kind.as_str()), (10, "phase"));
    drop(live);

    (11..=13).for_each(|id| assert_eq!(events.push("worker.ready", json!(id)), id));
    let mut resumed = client.events(Some(10)).await.unwrap();
    for id in 11..=13 {
        assert_eq!(
            resumed.next().await.unwrap().unwrap().id,
            id,
            "nothing lost, nothing twice"
        );
    }
    events.push("worker.ready", json!(14)); // 11 falls out
    assert_eq!(resumed.next().await.unwrap().unwrap().id, 14);

    let mut late = client.events(Some(10)).await.unwrap();
    let gap = late.next().await.unwrap().unwrap();
    assert_eq!(
        (gap.id, gap.kind.as_str(), gap.data),
        (11, "gap", json!({"after": 10, "next": 12}))
    );
    assert_eq!(late.next().await.unwrap().unwrap().id, 12);

    let mut kinds = client
        .stream("/v1/events?since=0&kinds=phase")
        .await
        .unwrap();
    assert_eq!(
        kinds.next().await.unwrap().unwrap(),
        ": hello\n\n",
        "worker.ready was not asked for"
    );

    events.push("phase", json!("gone"));
    stop.cancel();
    daemon.served.await.unwrap().unwrap();
    let last = kinds.next().await.unwrap().unwrap();
    assert!(
        last.starts_with(b"id: 15\nevent: phase\n"),
        "last words go out before the end"
    );
    assert_eq!(kinds.next().await.unwrap(), None);
    assert!(!path.exists(), "the socket's file is gone");
}

#[tokio::test]
async fn stopping_lets_answers_finish() {
    let daemon = daemon();
    let (client, stop) = (daemon.client.clone(), daemon.stop.clone());
    let mut held = client.stream("/v1/events").await.unwrap();
    held.next().await.unwrap().unwrap();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), daemon.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(held.next().await.unwrap(), None, "a proper end");
}

#[tokio::test]
async fn no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let client = Client::new(&path);
    let error = client.status().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no daemon listens on {}", path.display())
    );
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(
        client.status().await.unwrap_err().is_no_daemon(),
        "a stale socket"
    );
    std::fs::remove_file(&path).unwrap();
    let foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let talk = async move {
        let server = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = foreign.accept().unwrap();
            stream.write_all(b"220 smtp ready\r\n").unwrap();
        });
        server.await.unwrap();
    };
    let (error, ()) = tokio::join!(client.status(), talk);
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("the daemon on {} broke off", path.display())
    );
}

/// Another user may look when the mode lets him in, and change nothing.
#[tokio::test]
async fn another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: needs root to become another user");
        return;
    }
    let Daemon { path, .. } = &daemon();
    let dir = path.parent().unwrap();
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    let denied = curl(path, &["/v1/status"]).await;
    assert_eq!(denied, "000", "mode 0600 keeps him out");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(curl(path, &["/v1/status"]).await, "200");
    assert_eq!(curl(path, &["-X", "POST", "/v1/drain"]).await, "403");
    assert_eq!(curl(path, &["-X", "POST", "/v1/echo"]).await, "403");
}

/// The status code that user nobody (65534) gets.
async fn curl(path: &Path, args: &[&str]) -> String {
    use std::os::unix::process::CommandExt as _;
    let (target, options) = args.split_last().unwrap();
    let mut command = std::process::Command::new("curl");
    command
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--unix-socket",
        ])
        .arg(path);
    command
        .args(options)
        .arg(format!("http://localhost{target}"))
        .uid(65534)
        .gid(65534);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
