//! A daemon in a folder of its own, a client of raw bytes, and a scripted upstream.
//!
//! Everything that waits has a deadline and says what it waited for.

mod app;
mod client;
mod daemon;
mod dns;
pub(crate) mod http2;
mod upstream;

use std::time::Duration;

pub(crate) use app::App;
pub(crate) use client::{Client, Reply};
pub(crate) use daemon::{Daemon, Proxy};
pub(crate) use dns::{Data, Dns};
pub(crate) use upstream::{Link, Upstream};

/// No step of a test takes longer, not even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy in front of a scripted upstream, which is how most stories begin.
pub(crate) fn pair() -> (Daemon, Upstream) {
    pair_with("", "")
}

/// The same, with the bodies of requests passed on as they come.
pub(crate) fn streaming_pair() -> (Daemon, Upstream) {
    pair_with("proxy_request_buffering: false", "")
}

/// The same with more in the configuration: `top` at its top level, `upstream` among the upstream's keys.
pub(crate) fn pair_with(top: &str, upstream: &str) -> (Daemon, Upstream) {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let servers = if upstream.contains("servers:") {
        ""
    } else {
        "servers: ['unix:app.sock'], "
    };
    let config = format!(
        "control: proxy.sock\nthreads: 1\naccess_log: {{ path: access.log, format: json }}\n{top}\n\
         servers:\n- listen: 127.0.0.1:0\n  max_body: 1MiB\n  locations: [{{ path: /, proxy: app }}]\n\
         upstreams:\n  app: {{ {servers}{upstream} }}\n"
    );
    (proxy.config(&config).start(), app)
}
