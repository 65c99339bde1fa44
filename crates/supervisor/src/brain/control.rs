//! The supervisor's answers on its control socket. Not here: HTTP itself (`trine_control`), or doing what is asked.

use super::ask::{Act, Ending, Handle};
use super::http::Site;
use super::logs::tail::Tail;
use super::logs::tap::Tap;
use super::metrics;
use super::supervisor::Supervisor;
use crate::clock;
use crate::holder::wire::Channel;
use std::io;
use std::sync::Arc;
use trine_control::server::{Body, EventHub, Handler, Request, Response, json};
use trine_control::{
    ActionResult, ListenerStatus, ProblemDocument, ProgramList, ProgramState, ProgramStatus,
    ReloadReport, Role, Status,
};
use trine_service::Phase;

#[derive(Debug)]
pub struct Control {
    pub handle: Handle,
    pub hub: EventHub,
    /// supervisord's interface, for its clients.
    pub site: Site,
}

impl Handler for Control {
    async fn status(&self) -> Status {
        self.handle
            .look(status)
            .await
            .unwrap_or_else(|Ending| gone())
    }

    async fn metrics(&self) -> String {
        self.handle
            .look(metrics::text)
            .await
            .unwrap_or_else(|Ending| "# EOF\n".to_owned())
    }

    fn events(&self) -> &EventHub {
        &self.hub
    }

    /// A supervisor without its programs is of no use, so draining it is stopping it.
    async fn drain(&self) -> Result<ActionResult, ProblemDocument> {
        self.stop().await
    }

    async fn reload(&self, dry_run: bool) -> Result<ReloadReport, ProblemDocument> {
        self.handle.reload(dry_run).await.map_err(ending)
    }

    async fn stop(&self) -> Result<ActionResult, ProblemDocument> {
        self.handle.stop().await.map_err(ending)?;
        Ok(ActionResult {
            ok: true,
            message: "stopping all programs".to_owned(),
            programs: Vec::new(),
        })
    }

    async fn other(&self, _role: Role, request: Request) -> Result<Response, ProblemDocument> {
        if let Some(response) = self.site.answer_supervisord(&request).await {
            return Ok(response);
        }
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let parts: Vec<String> = path
            .trim_start_matches('/')
            .split('/')
            .map(decode)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let is_get = matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        match (is_get, &parts[..]) {
            (true, ["v1", "programs"]) => self.list().await,
            (true, ["v1", "programs", name]) => self.one(name).await,
            (true, ["v1", "programs", name, "logs"]) => self.logs(name, &query).await,
            (false, ["v1", "programs", name, act]) if Act::parse(act).is_some() => {
                let act = Act::parse(act).unwrap_or(Act::Start);
                self.act(name, act, query.flag("wait")).await
            }
            (true, ["v1", "plan"]) => self.plan().await,
            (false, ["v1", "groups", name, "scale"]) => self.scale(name, query.get("count")).await,
            (false, ["v1", "groups", name, "rolling-restart"]) => {
                self.rolling_restart(name, query.get("batch")).await
            }
            (false, ["v1", "upgrade"]) => self.upgrade(query.get("program")).await,
            (false, ["v1", "programs", ..]) => Err(ProblemDocument::new(
                405,
                "programs answer GET, and POST to …/start, …/stop and …/restart",
            )),
            _ => Err(trine_control::server::not_found(&path)),
        }
    }
}

impl Control {
    async fn list(&self) -> Result<Response, ProblemDocument> {
        let look = |supervisor: &Supervisor| {
            let mut ids: Vec<(i32, String)> = supervisor
                .processes
                .iter()
                .map(|(id, process)| (process.record.settings.priority, id.clone()))
                .collect();
            ids.sort();
            supervisor.statuses(&ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>())
        };
        let programs = self.handle.look(look).await.map_err(ending)?;
        Ok(json(200, &ProgramList { programs }))
    }

    async fn one(&self, name: &str) -> Result<Response, ProblemDocument> {
        let wanted = name.to_owned();
        let look = move |supervisor: &Supervisor| {
            supervisor
                .find(&wanted)
                .map(|ids| supervisor.statuses(&ids))
        };
        match self.handle.look(look).await.map_err(ending)?.as_deref() {
            None | Some([]) => Err(no_such(name)),
            Some([only]) => Ok(json(200, only)),
            Some(several) => Ok(json(
                200,
                &ProgramList {
                    programs: several.to_vec(),
                },
            )),
        }
    }

    async fn act(&self, name: &str, act: Act, wait: bool) -> Result<Response, ProblemDocument> {
        let programs = self
            .handle
            .act(name.to_owned(), act, wait)
            .await
            .map_err(ending)?
            .ok_or_else(|| no_such(name))?;
        let bad: Vec<&ProgramStatus> = programs
            .iter()
            .filter(|program| wait && !is_done(act, program))
            .collect();
        let message = if bad.is_empty() {
            let verb = match (act, wait) {
                (Act::Start, true) => "started",
                (Act::Stop, true) => "stopped",
                (Act::Restart, true) => "restarted",
                (Act::Start, false) => "starting",
                (Act::Stop, false) => "stopping",
                (Act::Restart, false) => "restarting",
            };
            format!("{name}: {verb}")
        } else {
            let each = bad.iter().map(|program| {
                format!(
                    "{} is {}: {}",
                    program.name, program.state, program.description
                )
            });
            each.collect::<Vec<_>>().join("; ")
        };
        let result = ActionResult {
            ok: bad.is_empty(),
            message,
            programs,
        };
        Ok(json(if wait { 200 } else { 202 }, &result))
    }

    async fn logs(&self, name: &str, query: &Query) -> Result<Response, ProblemDocument> {
        let channel = match query.get("channel") {
            None | Some("stdout") => Channel::Stdout,
            Some("stderr") => Channel::Stderr,
            Some(other) => {
                return Err(ProblemDocument::new(
                    400,
                    format!("channel is stdout or stderr, not {other}"),
                ));
            }
        };
        let lines = match query.get("tail").map(str::parse::<usize>) {
            None => None,
            Some(Ok(lines)) => Some(lines),
            Some(Err(_)) => return Err(ProblemDocument::new(400, "tail is a number of lines")),
        };
        let wanted = name.to_owned();
        let look = move |supervisor: &Supervisor| -> Option<Vec<Option<Arc<Tap>>>> {
            let ids = supervisor.find(&wanted)?;
            Some(
                ids.iter()
                    .filter_map(|id| supervisor.processes.get(id))
                    .map(|p| p.taps.get(&channel).cloned())
                    .collect(),
            )
        };
        let taps = self
            .handle
            .look(look)
            .await
            .map_err(ending)?
            .ok_or_else(|| no_such(name))?;
        let [tap] = &taps[..] else {
            return Err(ProblemDocument::new(
                409,
                format!("{name} is several processes; name one of them"),
            ));
        };
        let nowhere = || {
            ProblemDocument::new(
                404,
                format!("{name} has no log file for {} yet", channel.name()),
            )
        };
        let tap = tap.clone().ok_or_else(nowhere)?;
        // Not on the thread that programs are looked after on.
        let opened = tokio::task::spawn_blocking(move || Tail::open(tap, lines)).await;
        let tail = opened
            .map_err(io::Error::other)
            .flatten()
            .map_err(|_| nowhere())?;
        let follow = query.flag("follow");
        let body = Body::pulled(tail, move |mut tail| async move {
            let piece = match tail.next_piece() {
                Ok(None) if follow => tail.follower.next_piece().await,
                other => other,
            };
            match piece {
                Ok(piece) => piece.map(|piece| (piece.into(), tail)),
                Err(err) => {
                    tracing::warn!("cannot read a log back: {err}");
                    None
                }
            }
        });
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(
            http::header::CACHE_CONTROL,
            http::HeaderValue::from_static("no-store"),
        );
        Ok(response)
    }
}

fn status(supervisor: &Supervisor) -> Status {
    let running = supervisor
        .processes
        .values()
        .filter(|process| process.is_ready())
        .count();
    let listeners = supervisor.sockets.values();
    Status {
        daemon: "trine-supervisor".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: u32::try_from(supervisor.holder_pid).unwrap_or_default(),
        phase: supervisor.phase.get(),
        uptime_ms: u64::try_from((clock::now() - supervisor.daemon.started).as_millis())
            .unwrap_or(u64::MAX),
        status_text: format!(
            "{running} of {} programs running",
            supervisor.processes.len()
        ),
        generation: supervisor.daemon.generation,
        listeners: listeners
            .map(|address| ListenerStatus {
                address: address.clone(),
                inherited: false,
            })
            .collect(),
        last_reload: supervisor.daemon.last_reload.clone(),
        detail: serde_json::json!({
            "brain_pid": std::process::id(),
            "brains": supervisor.brains,
            "upgrades": supervisor.upgrades.done,
            "config": supervisor.config.file,
            "log": supervisor.config.log.target,
        }),
    }
}

/// The answer when there is nobody left to ask.
fn gone() -> Status {
    Status {
        daemon: "trine-supervisor".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: 0,
        phase: Phase::Gone,
        uptime_ms: 0,
        status_text: String::new(),
        generation: 0,
        listeners: Vec::new(),
        last_reload: None,
        detail: serde_json::Value::Null,
    }
}

pub(super) fn ending(ending: Ending) -> ProblemDocument {
    ProblemDocument::new(503, ending.to_string())
}

fn no_such(name: &str) -> ProblemDocument {
    ProblemDocument::new(
        404,
        format!("there is no program {name}; GET /v1/programs lists them"),
    )
}

fn is_done(act: Act, program: &ProgramStatus) -> bool {
    match act {
        Act::Start | Act::Restart => match program.state {
            ProgramState::Running => true,
            ProgramState::Exited => program.exit_code == Some(0),
            _ => false,
        },
        Act::Stop => matches!(
            program.state,
            ProgramState::Stopped | ProgramState::Exited | ProgramState::Fatal
        ),
    }
}

#[derive(Debug, Default)]
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "true")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1" | "yes"))
    }
}

/// Percent-decoding; what is not a code stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten();
        let byte =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_paths() {
        let query = Query::parse("tail=5&follow&channel=std%65rr");
        assert_eq!(
            (
                query.get("tail"),
                query.flag("follow"),
                query.get("channel")
            ),
            (Some("5"), true, Some("stderr"))
        );
        assert_eq!(
            (decode("web%3Aweb_00"), decode("100%"), decode("%zz")),
            ("web:web_00".into(), "100%".into(), "%zz".into())
        );
    }
}
