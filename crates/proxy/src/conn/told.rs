//! Who asked for what, for lines of the error log; the fields have the names that nginx's lines have.
//!
//! Not here: how a line looks (`trine_service::logging`).

use trine_http1::Request;

use super::Conn;
use super::record::Record;
use crate::config::Config;

/// What is known of a request when something is told of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) connection: u64,
    pub(crate) client: String,
    pub(crate) server: String,
    /// The request line.
    pub(crate) request: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) host: Option<String>,
}

impl Told {
    pub(crate) fn of(
        conn: &Conn,
        config: &Config,
        request: Option<Request<'_>>,
        record: &Record,
    ) -> Self {
        let server = config.servers.get(record.visit.server);
        let line = |request: Request<'_>| {
            let target = request.target().escape_ascii();
            let version = request.version_text().escape_ascii();
            format!("{} {target} {version}", request.method())
        };
        Self {
            connection: conn.number,
            client: record
                .real_ip
                .map_or_else(|| conn.peer_text.clone(), |addr| addr.to_string()),
            server: server.map_or_else(String::new, |server| server.name.clone()),
            request: request.map(line),
            upstream: None,
            host: request
                .and_then(|request| request.authority())
                .map(|host| host.escape_ascii().to_string()),
        }
    }
}

/// An event of `tracing` about a request: `tell!(error, told, "what happened")`.
macro_rules! tell {
    ($level:ident, $told:expr, $($rest:tt)+) => {{
        let told = $told;
        tracing::$level!(
            connection = told.connection,
            client = %told.client,
            server = %told.server,
            request = told.request.as_deref(),
            upstream = told.upstream.as_deref(),
            host = told.host.as_deref(),
            $($rest)+
        );
    }};
}
pub(crate) use tell;
