//! The web page: what runs, buttons to start and stop it, logs. Everything can be read and done without JavaScript;
//! with it the page follows what happens.
//! Not here: other paths of the HTTP servers (`http`), the HTML (`page`).

mod form;
mod page;

use super::ask::Handle;
use super::http::{text, whole};
use super::rpc::log_paths;
use super::rpc::{Outcome, Rpc};
use super::supervisor::Supervisor;
use crate::holder::wire::Channel;
use form::Form;
use http::header::{CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, Method};
use page::{LogPage, Row};
use std::fs::File;
use std::os::unix::fs::FileExt;
use trine_control::server::{Request, Response};
use trine_control::xmlrpc::{Fault, Value};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing from elsewhere, nothing inline, nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// How much of a log is shown unless the address says otherwise.
const LOG_BYTES: u64 = 32 << 10;
const LEAST_LOG_BYTES: u64 = 1024;
const MOST_LOG_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub struct Web {
    handle: Handle,
    rpc: Rpc,
    /// supervisord's `/?action=…` does something.
    pub(super) actions_by_get: bool,
}

impl Web {
    pub fn new(handle: Handle, rpc: Rpc) -> Self {
        Self {
            handle,
            rpc,
            actions_by_get: false,
        }
    }

    pub async fn answer(&self, request: &Request) -> Response {
        let path = request.uri().path();
        let query = Form::parse(request.uri().query().unwrap_or("").as_bytes());
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match (path, is_read) {
            ("/" | "/index.html", true) => match query.get("action") {
                Some(action) => self.by_get(action, &query).await,
                None => self.index(query.get("done"), 200).await,
            },
            ("/table", true) => match self.rows().await {
                Ok(rows) => html(200, page::rows(&rows)),
                Err(response) => response,
            },
            ("/log" | "/tail.html", true) => self.log(&query).await,
            ("/style.css", true) => whole(200, "text/css; charset=utf-8", STYLE),
            ("/page.js", true) => whole(200, "text/javascript; charset=utf-8", SCRIPT),
            ("/action", false) if request.method() == Method::POST => {
                let form = Form::parse(request.body());
                let action = form.get("action").unwrap_or_default().to_owned();
                self.act(&action, form.get("name")).await
            }
            ("/action", _) => text(405, "actions are done by POST\n"),
            _ => text(404, "there is no such page\n"),
        }
    }

    async fn rows(&self) -> Result<Vec<Row>, Response> {
        let look = |s: &Supervisor| {
            let mut rows: Vec<Row> = s.processes.values().map(Row::of).collect();
            rows.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
            rows
        };
        let rows = self.handle.look(look).await;
        rows.map_err(|ending| text(503, format!("{ending}\n")))
    }

    async fn index(&self, message: Option<&str>, status: u16) -> Response {
        let identifier = self.handle.look(|s| s.config.identifier.clone()).await;
        match (self.rows().await, identifier) {
            (Ok(rows), Ok(identifier)) => html(status, page::index(&identifier, &rows, message)),
            (Err(response), _) => response,
            (_, Err(ending)) => text(503, format!("{ending}\n")),
        }
    }

    /// What a button asks for. Done: back to the page. Refused: the page, with the reason.
    async fn act(&self, action: &str, name: Option<&str>) -> Response {
        let name = || name.unwrap_or_default().to_owned();
        let outcome = match action {
            "start" => {
                self.call("startProcess", vec![name().into(), false.into()])
                    .await
            }
            "stop" => {
                self.call("stopProcess", vec![name().into(), true.into()])
                    .await
            }
            "restart" => self.restart(&name()).await,
            "clearlog" => self.call("clearProcessLogs", vec![name().into()]).await,
            "startall" => self.call("startAllProcesses", vec![false.into()]).await,
            "stopall" => self.call("stopAllProcesses", vec![true.into()]).await,
            "restartall" => {
                let stopped = self.call("stopAllProcesses", vec![true.into()]).await;
                match stopped {
                    Ok(_) => self.call("startAllProcesses", vec![false.into()]).await,
                    refused => refused,
                }
            }
            "refresh" => Ok(true.into()),
            other => return text(400, format!("there is no action {other:?}\n")),
        };
        match outcome {
            Ok(_) => {
                let mut response = text(303, "");
                let back = format!("/?done={}", form::encode(action));
                if let Ok(back) = HeaderValue::from_str(&back) {
                    response.headers_mut().insert(LOCATION, back);
                }
                response
            }
            Err(Fault { text, .. }) => {
                let message = format!("{action} {}: {text}", name());
                self.index(Some(&message), 409).await
            }
        }
    }

    async fn call(&self, method: &str, params: Vec<Value>) -> Outcome {
        self.rpc.call(&format!("supervisor.{method}"), params).await
    }

    async fn restart(&self, name: &str) -> Outcome {
        match self
            .call("stopProcess", vec![name.into(), true.into()])
            .await
        {
            Err(fault) if !fault.text.starts_with("NOT_RUNNING") => Err(fault),
            _ => {
                self.call("startProcess", vec![name.into(), false.into()])
                    .await
            }
        }
    }

    /// supervisord's way, in which every link of every page can do something.
    async fn by_get(&self, action: &str, query: &Form) -> Response {
        if self.actions_by_get || action == "refresh" {
            return self.act(action, query.get("processname")).await;
        }
        let message = "Actions by address are not allowed here; the key get_actions of the server allows them.";
        self.index(Some(message), 403).await
    }

    async fn log(&self, query: &Form) -> Response {
        let name = query.get("name").or(query.get("processname"));
        let name = name.unwrap_or_default().to_owned();
        let channel = match query.get("channel") {
            Some("stderr") => Channel::Stderr,
            _ => Channel::Stdout,
        };
        let limit = query.get("limit").and_then(|limit| limit.parse().ok());
        let limit = limit
            .unwrap_or(LOG_BYTES)
            .clamp(LEAST_LOG_BYTES, MOST_LOG_BYTES);
        let wanted = name.clone();
        let look = move |s: &Supervisor| log_paths::of_process(s, &wanted, channel);
        let Ok(Some((_, path))) = self.handle.look(look).await else {
            return text(404, "there is no such process\n");
        };
        let read = || -> std::io::Result<String> {
            let file = File::open(path.ok_or(std::io::ErrorKind::NotFound)?)?;
            let size = file.metadata()?.len();
            let length = size.min(limit);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            let count = file.read_at(&mut bytes, size - length)?;
            Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
        };
        let content = read().ok();
        html(
            200,
            page::log(&LogPage {
                name: &name,
                channel,
                content: content.as_deref(),
                limit,
            }),
        )
    }
}

fn html(status: u16, body: String) -> Response {
    let mut response = whole(status, "text/html; charset=utf-8", body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
