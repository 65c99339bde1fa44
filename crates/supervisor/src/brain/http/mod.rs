//! What the HTTP servers of the configuration answer: XML-RPC, logs, metrics, events, the web page. The control socket
//! answers the first of these too.
//! Not here: connections (`serve`), what methods do (`rpc`), the page itself (`web`).

mod auth;
mod follow;
mod serve;

pub use auth::Guard;
pub use serve::{ServerSocket, serve};

use super::ask::Handle;
use super::metrics;
use super::rpc::Rpc;
use super::web::Web;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use trine_control::server::{Body, EventHub, Request, Response};
use trine_control::xmlrpc;

/// Everything that answers. Clones are cheap and answer for the same supervisor.
#[derive(Clone, Debug)]
pub struct Site {
    handle: Handle,
    rpc: Rpc,
    hub: EventHub,
    web: Web,
}

impl Site {
    #[must_use]
    pub fn new(handle: Handle, rpc: Rpc, hub: EventHub) -> Self {
        let web = Web::new(handle.clone(), rpc.clone());
        Self {
            handle,
            rpc,
            hub,
            web,
        }
    }

    /// The same site on a server that allows supervisord's addresses that act, or does not.
    #[must_use]
    pub fn with_actions_by_get(&self, allowed: bool) -> Self {
        let mut site = self.clone();
        site.web.actions_by_get = allowed;
        site
    }

    /// One request of a server, authorized already.
    pub async fn answer(&self, request: Request) -> Response {
        if request.method() == Method::POST && !is_same_origin(&request) {
            return text(403, "a page of another site may not do this\n");
        }
        if let Some(response) = self.answer_supervisord(&request).await {
            return response;
        }
        let path = request.uri().path();
        match path {
            "/metrics" => {
                let text = self.handle.look(metrics::text).await;
                let text = text.unwrap_or_else(|_| "# EOF\n".to_owned());
                whole(200, trine_control::metrics::CONTENT_TYPE, text)
            }
            "/events" => follow::events(&self.hub, &request),
            "/ok.html" => whole(200, "text/html; charset=utf-8", "OK"),
            _ => self.web.answer(&request).await,
        }
    }

    /// The paths that supervisord's clients use; `None`: another one.
    pub async fn answer_supervisord(&self, request: &Request) -> Option<Response> {
        let path = request.uri().path();
        if path.starts_with("/RPC2") {
            return Some(self.call(request).await);
        }
        if let Some(name) = path.strip_prefix("/logtail") {
            return Some(follow::process(&self.handle, name).await);
        }
        if path.starts_with("/mainlogtail") {
            return Some(follow::main_log(&self.handle).await);
        }
        None
    }

    async fn call(&self, request: &Request) -> Response {
        if request.method() != Method::POST {
            let mut refusal = text(400, "XML-RPC is asked by POST\n");
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
            return refusal;
        }
        let call = match xmlrpc::read_call(request.body()) {
            Ok(call) => call,
            Err(error) => {
                tracing::warn!("a call that is no XML-RPC: {error}");
                return text(400, format!("{error}\n"));
            }
        };
        let answer = match self.rpc.call(&call.method, call.params).await {
            Ok(value) => xmlrpc::write_response(value),
            Err(fault) => xmlrpc::write_fault(&fault),
        };
        whole(200, "text/xml", answer)
    }
}

/// Browsers say where a request comes from; other clients do not.
fn is_same_origin(request: &Request) -> bool {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if let Some(site) = header("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match (header("origin"), header("host")) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    }
}

pub(in crate::brain) fn whole(
    status: u16,
    content_type: &'static str,
    body: impl Into<hyper::body::Bytes>,
) -> Response {
    respond(status, content_type, Body::whole(body))
}

pub(in crate::brain) fn text(status: u16, body: impl Into<hyper::body::Bytes>) -> Response {
    whole(status, "text/plain; charset=utf-8", body)
}

fn respond(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], want: bool) {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(hyper::body::Bytes::new()).unwrap();
        assert_eq!(is_same_origin(&request), want, "{headers:?}");
    }

    #[test]
    fn origins() {
        check(&[("host", "a:9001")], true);
        check(&[("host", "a:9001"), ("origin", "http://a:9001")], true);
        check(&[("host", "a:9001"), ("origin", "http://a")], false);
        check(&[("host", "a:9001"), ("origin", "null")], false);
        check(&[("origin", "http://a")], false);
        check(&[("host", "a"), ("sec-fetch-site", "same-origin")], true);
        check(&[("host", "a"), ("sec-fetch-site", "none")], true);
        check(&[("host", "a"), ("sec-fetch-site", "same-site")], false);
        check(
            &[
                ("host", "a"),
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://a"),
            ],
            false,
        );
    }
}
