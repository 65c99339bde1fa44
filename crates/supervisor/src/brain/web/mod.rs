//! The web page. Not here: other paths of the HTTP servers (`http`).

use super::ask::Handle;
use super::http::text;
use super::rpc::Rpc;
use trine_control::server::{Request, Response};

#[derive(Clone, Debug)]
pub struct Web {
    handle: Handle,
    rpc: Rpc,
    actions_by_get: bool,
}

impl Web {
    pub fn new(handle: Handle, rpc: Rpc, actions_by_get: bool) -> Self {
        Self {
            handle,
            rpc,
            actions_by_get,
        }
    }

    pub async fn answer(&self, _request: &Request) -> Response {
        text(404, "there is no such page\n")
    }
}
