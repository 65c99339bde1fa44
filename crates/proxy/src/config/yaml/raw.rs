//! What a person types: every key with a type of its own, nothing checked yet.
//!
//! The comments are what the reference and the schema say about a key. Beside these keys stand the words of `words`.
//! Not here: defaults, and what goes together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use trine_config::{ByteSize, ListenAddr, OneOrMany};

use crate::config::values::{Limit, OffOr};

/// The file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    /// `house` (what this reference says) or `nginx`: what holds where the file says nothing. Converted files say
    /// `nginx`.
    pub(super) defaults: Option<String>,
    /// The Unix socket of the control API.
    pub(super) control: Option<String>,
    /// A file that gets the daemon's process id.
    pub(super) pidfile: Option<String>,
    /// Go into the background; the command ends when the daemon serves.
    pub(super) daemonize: Option<bool>,
    /// How many cores to use: a number, or `auto`.
    pub(super) threads: Option<RawThreads>,
    /// The daemon's own log.
    pub(super) log: RawLog,
    /// One line for each request: `off`, a path, or a path and a format.
    pub(super) access_log: Option<OffOr<RawAccessLog>>,
    /// How long clients may take.
    pub(super) timeouts: RawTimeouts,
    /// What answers where.
    pub(super) servers: Vec<RawServer>,
    /// Groups of application servers, by name.
    pub(super) upstreams: BTreeMap<String, RawUpstream>,
    /// Networks of proxies in front of this one, or `unix`: what they say about the client is believed.
    pub(super) trusted_proxies: OneOrMany<String>,
    /// Words for all servers that would mean the daemon itself at the top, such as `error_log`.
    pub(super) http: RawHttp,
    /// TCP and UDP below HTTP.
    pub(super) stream: RawStream,
}

/// TCP and UDP below HTTP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStream {
    /// What becomes of connections and datagrams where: `pass` leads to an upstream of these or to an address.
    pub(super) servers: Vec<RawStreamServer>,
    /// Groups of servers, by name.
    pub(super) upstreams: BTreeMap<String, RawStreamUpstream>,
}

/// What becomes of connections or datagrams.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStreamServer {
    /// Addresses, each with nginx's parameters of `listen` behind it if need be: `53 udp`, `6380 ssl`.
    pub(super) listen: OneOrMany<RawListen>,
    /// Names that TLS clients ask for, `*.example.org` too, where several servers share an address.
    pub(super) names: OneOrMany<String>,
}

/// Servers that do the same work.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStreamUpstream {
    /// Addresses, each with nginx's parameters of `server` behind it if need be: `10.0.0.1:6379 backup`.
    pub(super) servers: OneOrMany<String>,
}

/// Words only.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of threads, or auto")]
pub(super) enum RawThreads {
    Count(u16),
    Word(String),
}

/// The daemon's own log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// `text` or `json`.
    pub(super) format: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(super) level: Option<String>,
    /// Standard error if not given.
    pub(super) file: Option<String>,
}

/// A file of lines.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAccessLog {
    /// A file, or `-` for standard output.
    pub(super) path: Option<String>,
    /// `combined`, `json`, or one of `log_formats`.
    pub(super) format: Option<String>,
}

/// How long clients may take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTimeouts {
    /// From a connection's or head's first moment until the head is complete.
    pub(super) header: Option<trine_config::Duration>,
    /// Between two reads of a request's body.
    pub(super) body: Option<trine_config::Duration>,
    /// Between two writes to a client.
    pub(super) send: Option<trine_config::Duration>,
    /// Between two requests of a connection.
    pub(super) keepalive: Option<trine_config::Duration>,
    /// For one request and its answer, all in all.
    pub(super) total: Option<Limit>,
    /// Bytes in a second that a request's body has to come with, counted while the client is waited for, with five
    /// seconds' grace.
    pub(super) body_rate: Option<ByteSize>,
    /// The same for answers: a client has to take them so fast.
    pub(super) send_rate: Option<ByteSize>,
    /// For everything under way, once the daemon was told to stop.
    pub(super) shutdown: Option<trine_config::Duration>,
}

/// What answers for some names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    /// Addresses, each with nginx's parameters of `listen` behind it if need be: `443 ssl default_server`.
    pub(super) listen: OneOrMany<RawListen>,
    /// Host names, `*.example.org` too; the first server of an address answers for all other names.
    pub(super) names: OneOrMany<String>,
    /// Larger bodies are refused by 413.
    pub(super) max_body: Option<ByteSize>,
    /// How much the temporary files of its requests and answers may hold together; 4 GiB if not given. When they do, bodies
    /// are passed on as they come.
    pub(super) spool: Option<ByteSize>,
    /// What answers for which paths.
    pub(super) locations: Vec<RawLocation>,
    /// Clients speak TLS on this server's addresses.
    pub(super) tls: Option<RawTls>,
}

/// Certificate and key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    /// File of the certificate and its chain, PEM.
    pub(super) certificate: Option<String>,
    /// File of the private key, PEM; the certificate's own file if not given.
    pub(super) key: Option<String>,
    /// File of authorities: clients have to show a certificate of theirs.
    pub(super) client_ca: Option<String>,
}

/// Which paths, by one of `path`, `exact`, `prefix`, `prefix_first`, `regex`, `regex_caseless` and `name`; and what
/// answers there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLocation {
    /// `/api` holds `/api` and all below `/api/`; `/api/` what is below it. The longest wins.
    pub(super) path: Option<String>,
    /// This path alone (nginx: `=`).
    pub(super) exact: Option<String>,
    /// All paths that begin with these characters (nginx: no modifier).
    pub(super) prefix: Option<String>,
    /// The same, and no expression is tried once it is the longest (nginx: `^~`).
    pub(super) prefix_first: Option<String>,
    /// An expression; the first in the file that matches wins over prefixes (nginx: `~`).
    pub(super) regex: Option<String>,
    /// The same, whatever the case (nginx: `~*`).
    pub(super) regex_caseless: Option<String>,
    /// `@name`: where `try_files` and `error_pages` lead.
    pub(super) name: Option<String>,
    /// A folder: what follows `path` is looked up in it.
    pub(super) files: Option<String>,
    /// What stands for a folder; `index.html` if not given.
    pub(super) index: Option<OneOrMany<String>>,
    /// The name of an upstream, or the address of a server.
    pub(super) proxy: Option<String>,
    /// Locations inside this one.
    pub(super) locations: Vec<RawLocation>,
}

/// Servers that do the same work.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpstream {
    /// Addresses, each with nginx's parameters of `server` behind it if need be: `127.0.0.1:8000 weight=2`.
    pub(super) servers: OneOrMany<String>,
    /// Also how long a full backlog or a server that is being replaced is waited for.
    pub(super) connect_timeout: Option<trine_config::Duration>,
    /// Between two writes to the server.
    pub(super) send_timeout: Option<trine_config::Duration>,
    /// Between two reads from it; also ends tunnels in which nothing moves.
    pub(super) read_timeout: Option<trine_config::Duration>,
    /// For one request.
    pub(super) total_timeout: Option<Limit>,
    /// Idle connections kept for each server on each core; 0 closes after each request.
    pub(super) keepalive: Option<u16>,
    /// The control socket of the trine-wsgi behind it: each of its workers gets what it has seats for, the rest waits here.
    pub(super) capacity: Option<PathBuf>,
}

/// An address, with parameters behind it perhaps.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub(super) struct RawListen(pub(super) String);

impl<'de> Deserialize<'de> for RawListen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = RawListen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"127.0.0.1:8000\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawListen, E> {
                let first = text.split_whitespace().next().unwrap_or_default();
                // The builder knows more: `*:80`, `[::]`.
                let of_nginx = first.starts_with(['*', '[']) || first.starts_with("localhost");
                if !of_nginx && first.parse::<std::net::IpAddr>().is_err() {
                    first.parse::<ListenAddr>().map_err(E::custom)?;
                }
                Ok(RawListen(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, port: u64) -> Result<RawListen, E> {
                self.visit_str(&port.to_string())
            }
        }
        from.deserialize_any(Read)
    }
}
