//! Every directive we know of: where it may stand, how many arguments it takes, and how it stands with us.
//!
//! `docs/proxy/nginx-parity.md` is printed from here. Not here: what a directive does (see `build`).

/// Where a directive may stand; several are or-ed.
pub(crate) mod context {
    pub(crate) const MAIN: u16 = 1;
    pub(crate) const EVENTS: u16 = 1 << 1;
    pub(crate) const HTTP: u16 = 1 << 2;
    pub(crate) const SERVER: u16 = 1 << 3;
    pub(crate) const LOCATION: u16 = 1 << 4;
    pub(crate) const UPSTREAM: u16 = 1 << 5;
    /// `if` in a location.
    pub(crate) const IF: u16 = 1 << 6;
    pub(crate) const LIMIT_EXCEPT: u16 = 1 << 7;
    /// `if` in a server.
    pub(crate) const SERVER_IF: u16 = 1 << 8;
}

use context::{EVENTS, HTTP, IF, LIMIT_EXCEPT, LOCATION, MAIN, SERVER, SERVER_IF, UPSTREAM};

/// How a directive stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does what it does in nginx.
    Works,
    /// It is read and means nothing here; why is in the note.
    Accepted,
    /// It is refused; the note says what to do instead.
    Refused,
}

/// How many arguments, and whether a block follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Args {
    /// So many, from and to.
    Words(usize, usize),
    /// `on` or `off`.
    Flag,
    /// So many, from and to, and then a block.
    Block(usize, usize),
}

const ANY: usize = usize::MAX;

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) contexts: u16,
    pub(crate) args: Args,
    pub(crate) standing: Standing,
    pub(crate) note: &'static str,
}

/// Looks a name up.
pub(crate) fn find(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name)
}

/// The known name that is most like `name`.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known.name, name), known.name))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 6)
        .min()
        .map(|(_, known)| known)
}

const HS: u16 = HTTP | SERVER;
const HSL: u16 = HTTP | SERVER | LOCATION;
const HSLI: u16 = HSL | IF;

const fn works(name: &'static str, contexts: u16, args: Args) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Works,
        note: "",
    }
}

const fn accepted(name: &'static str, contexts: u16, args: Args, note: &'static str) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Accepted,
        note,
    }
}

const fn refused(name: &'static str, contexts: u16, args: Args, note: &'static str) -> Known {
    Known {
        name,
        contexts,
        args,
        standing: Standing::Refused,
        note,
    }
}

const ONE: Args = Args::Words(1, 1);
const ONE_OR_TWO: Args = Args::Words(1, 2);
const MORE: Args = Args::Words(1, ANY);
const FLAG: Args = Args::Flag;

const TUNING: &str = "sizes itself";
const MEMORY: &str = "buffers grow as needed within fixed limits";
const NOT_HERE: &str =
    "not supported; remove it, or serve this location with nginx behind this proxy";
const GATEWAY: &str = "not there yet; let the application serve HTTP and use `proxy_pass`";
const CACHE: &str = "there is no cache yet; remove it";
const COMPRESSION: &str = "only gzip is there yet; remove it";

/// All rows, in nginx's order of modules.
pub(crate) const TABLE: &[Known] = &[
    // Core.
    works("user", MAIN, ONE_OR_TWO),
    works("worker_processes", MAIN, ONE),
    works("pid", MAIN, ONE),
    works("error_log", MAIN | HSL, MORE),
    accepted(
        "daemon",
        MAIN,
        FLAG,
        "it stays in the foreground; start it by systemd or a supervisor",
    ),
    accepted("master_process", MAIN, FLAG, "there is one process"),
    accepted(
        "worker_cpu_affinity",
        MAIN,
        MORE,
        "the kernel places the threads",
    ),
    accepted(
        "worker_priority",
        MAIN,
        ONE,
        "set it where the daemon is started (systemd: Nice=)",
    ),
    accepted(
        "worker_rlimit_nofile",
        MAIN,
        ONE,
        "the limit is raised to the hard limit at start",
    ),
    accepted(
        "worker_rlimit_core",
        MAIN,
        ONE,
        "set it where the daemon is started",
    ),
    works("worker_shutdown_timeout", MAIN, ONE),
    accepted(
        "working_directory",
        MAIN,
        ONE,
        "no core files are written by the daemon itself",
    ),
    accepted("timer_resolution", MAIN, ONE, TUNING),
    accepted(
        "pcre_jit",
        MAIN,
        FLAG,
        "regular expressions run in linear time without it",
    ),
    accepted("lock_file", MAIN, ONE, "there is no accept mutex"),
    accepted("thread_pool", MAIN, Args::Words(2, 3), TUNING),
    accepted("load_module", MAIN, ONE, "everything is built in"),
    accepted("ssl_engine", MAIN, ONE, "rustls is used"),
    refused(
        "env",
        MAIN,
        ONE,
        "nothing here reads the environment; remove it",
    ),
    works("events", MAIN, Args::Block(0, 0)),
    accepted(
        "worker_connections",
        EVENTS,
        ONE,
        "connections are bounded by descriptors",
    ),
    accepted("multi_accept", EVENTS, FLAG, TUNING),
    accepted("accept_mutex", EVENTS, FLAG, TUNING),
    accepted("accept_mutex_delay", EVENTS, ONE, TUNING),
    accepted("use", EVENTS, ONE, "epoll is used"),
    accepted("debug_connection", EVENTS, ONE, "use error_log ... debug"),
    works("http", MAIN, Args::Block(0, 0)),
    refused(
        "mail",
        MAIN,
        Args::Block(0, 0),
        "mail proxying is not supported; keep nginx for it",
    ),
    refused(
        "stream",
        MAIN,
        Args::Block(0, 0),
        "TCP and UDP proxying is not there yet; keep nginx for it",
    ),
    // http: servers and locations.
    works("server", HTTP, Args::Block(0, 0)),
    works("listen", SERVER, MORE),
    works("server_name", SERVER, MORE),
    works("location", SERVER | LOCATION, Args::Block(1, 2)),
    works("internal", LOCATION, Args::Words(0, 0)),
    works("root", HSLI, ONE),
    works("alias", LOCATION, ONE),
    works("index", HSL, MORE),
    works("try_files", SERVER | LOCATION, Args::Words(2, ANY)),
    works("error_page", HSLI, Args::Words(2, ANY)),
    works("recursive_error_pages", HSL, FLAG),
    works("return", SERVER | LOCATION | IF | SERVER_IF, ONE_OR_TWO),
    accepted(
        "server_tokens",
        HSL,
        ONE,
        "the Server field never has a version",
    ),
    works("default_type", HSL, ONE),
    works("types", HSL, Args::Block(0, 0)),
    accepted("types_hash_max_size", HSL, ONE, TUNING),
    accepted("types_hash_bucket_size", HSL, ONE, TUNING),
    accepted("server_names_hash_max_size", HTTP, ONE, TUNING),
    accepted("server_names_hash_bucket_size", HTTP, ONE, TUNING),
    accepted("variables_hash_max_size", HTTP, ONE, TUNING),
    accepted("variables_hash_bucket_size", HTTP, ONE, TUNING),
    accepted("map_hash_max_size", HTTP, ONE, TUNING),
    accepted("map_hash_bucket_size", HTTP, ONE, TUNING),
    accepted("proxy_headers_hash_max_size", HSL, ONE, TUNING),
    accepted("proxy_headers_hash_bucket_size", HSL, ONE, TUNING),
    works("merge_slashes", HS, FLAG),
    works("absolute_redirect", HSL, FLAG),
    works("port_in_redirect", HSL, FLAG),
    works("server_name_in_redirect", HSL, FLAG),
    works("log_not_found", HSL, FLAG),
    accepted("log_subrequest", HSL, FLAG, "there are no subrequests"),
    works("keepalive_timeout", HSL, ONE_OR_TWO),
    accepted(
        "keepalive_requests",
        HSL,
        ONE,
        "connections are kept for any number of requests",
    ),
    accepted(
        "keepalive_time",
        HSL,
        ONE,
        "connections end with their idle time or number of requests",
    ),
    accepted("keepalive_min_timeout", HSL, ONE, TUNING),
    accepted(
        "keepalive_disable",
        HSL,
        MORE,
        "the browsers it is for are gone",
    ),
    works("client_header_timeout", HS, ONE),
    works("client_body_timeout", HSL, ONE),
    works("send_timeout", HSL, ONE),
    accepted("client_header_buffer_size", HS, ONE, MEMORY),
    accepted("large_client_header_buffers", HS, Args::Words(2, 2), MEMORY),
    accepted("max_headers", HS, ONE, "at most 100 fields"),
    accepted("connection_pool_size", HS, ONE, MEMORY),
    accepted("request_pool_size", HS, ONE, MEMORY),
    accepted("output_buffers", HSL, Args::Words(2, 2), MEMORY),
    accepted("postpone_output", HSL, ONE, MEMORY),
    accepted(
        "ignore_invalid_headers",
        HS,
        FLAG,
        "a request with an invalid field name is refused",
    ),
    works("underscores_in_headers", HS, FLAG),
    works("client_max_body_size", HSL, ONE),
    accepted("client_body_buffer_size", HSL, ONE, "bodies are streamed"),
    accepted(
        "client_body_temp_path",
        HSL,
        Args::Words(1, 4),
        "bodies are streamed",
    ),
    accepted(
        "client_body_in_single_buffer",
        HSL,
        FLAG,
        "bodies are streamed",
    ),
    refused(
        "client_body_in_file_only",
        HSL,
        ONE,
        "bodies are streamed; remove it",
    ),
    accepted("lingering_close", HSL, ONE, "on where it is needed"),
    accepted("lingering_time", HSL, ONE, TUNING),
    accepted("lingering_timeout", HSL, ONE, TUNING),
    accepted(
        "reset_timedout_connection",
        HSL,
        FLAG,
        "a cut answer always ends with a reset",
    ),
    accepted(
        "resolver",
        HSL | UPSTREAM,
        MORE,
        "the system's resolver is asked",
    ),
    accepted(
        "resolver_timeout",
        HSL | UPSTREAM,
        ONE,
        "the system's resolver is asked",
    ),
    works("satisfy", HSL, ONE),
    refused(
        "limit_except",
        LOCATION,
        Args::Block(1, ANY),
        "answer other methods in the application",
    ),
    refused(
        "limit_rate",
        HSLI,
        ONE,
        "answers are not slowed down; remove it",
    ),
    refused(
        "limit_rate_after",
        HSLI,
        ONE,
        "answers are not slowed down; remove it",
    ),
    accepted("sendfile", HSLI, FLAG, "used where it pays"),
    accepted("sendfile_max_chunk", HSL, ONE, TUNING),
    accepted("tcp_nopush", HSL, FLAG, "head and file leave together"),
    accepted("tcp_nodelay", HSL, FLAG, "always on"),
    accepted("send_lowat", HSL, ONE, TUNING),
    accepted("aio", HSL, ONE, "files are sent by the kernel"),
    accepted("aio_write", HSL, FLAG, "files are sent by the kernel"),
    accepted("directio", HSL, ONE, "files are sent by the kernel"),
    accepted("directio_alignment", HSL, ONE, TUNING),
    accepted("read_ahead", HSL, ONE, TUNING),
    accepted(
        "open_file_cache",
        HSL,
        ONE_OR_TWO,
        "always on, at most one second old",
    ),
    accepted("open_file_cache_valid", HSL, ONE, "one second"),
    accepted("open_file_cache_min_uses", HSL, ONE, TUNING),
    accepted("open_file_cache_errors", HSL, FLAG, "errors are not kept"),
    accepted(
        "disable_symlinks",
        HSL,
        ONE_OR_TWO,
        "links never lead out of the folder",
    ),
    accepted("etag", HSL, FLAG, "always on"),
    accepted("if_modified_since", HSL, ONE, "as RFC 9110 says"),
    accepted("max_ranges", HSL, ONE, "bounded"),
    accepted("chunked_transfer_encoding", HSL, FLAG, "always on"),
    refused("auth_delay", HSL, ONE, "remove it"),
    works("stub_status", SERVER | LOCATION, Args::Words(0, 1)),
    // Headers, access, identity.
    works("add_header", HSLI, Args::Words(2, 3)),
    works("expires", HSLI, ONE_OR_TWO),
    refused("add_trailer", HSLI, Args::Words(2, 3), "remove it"),
    works("add_header_inherit", HSLI, ONE),
    works("allow", HSL | LIMIT_EXCEPT, ONE),
    works("deny", HSL | LIMIT_EXCEPT, ONE),
    refused(
        "auth_basic",
        HSL | LIMIT_EXCEPT,
        ONE,
        "not there yet; authenticate in the application",
    ),
    refused(
        "auth_basic_user_file",
        HSL | LIMIT_EXCEPT,
        ONE,
        "not there yet; authenticate in the application",
    ),
    refused(
        "auth_request",
        HSL,
        ONE,
        "not there yet; authenticate in the application",
    ),
    refused(
        "auth_request_set",
        HSL,
        Args::Words(2, 2),
        "not there yet; authenticate in the application",
    ),
    works("set_real_ip_from", HSL, ONE),
    works("real_ip_header", HSL, ONE),
    works("real_ip_recursive", HSL, FLAG),
    works("map", HTTP, Args::Block(2, 2)),
    refused(
        "geo",
        HTTP,
        Args::Block(1, 2),
        "not there yet; use `map $remote_addr`",
    ),
    refused("split_clients", HTTP, Args::Block(2, 2), "not there yet"),
    refused(
        "limit_req_zone",
        HTTP,
        Args::Words(3, 4),
        "not there yet; limit in the application",
    ),
    refused(
        "limit_req",
        HSL,
        MORE,
        "not there yet; limit in the application",
    ),
    refused("limit_req_status", HSL, ONE, "not there yet"),
    refused("limit_req_log_level", HSL, ONE, "not there yet"),
    refused("limit_req_dry_run", HSL, FLAG, "not there yet"),
    refused(
        "limit_conn_zone",
        HTTP,
        Args::Words(2, 2),
        "not there yet; limit in the application",
    ),
    refused(
        "limit_conn",
        HSL,
        Args::Words(2, 2),
        "not there yet; limit in the application",
    ),
    refused("limit_conn_status", HSL, ONE, "not there yet"),
    refused("limit_conn_log_level", HSL, ONE, "not there yet"),
    refused("limit_conn_dry_run", HSL, FLAG, "not there yet"),
    refused(
        "valid_referers",
        SERVER | LOCATION,
        MORE,
        "check the Referer in the application",
    ),
    refused("secure_link", HSL, ONE, NOT_HERE),
    refused("secure_link_md5", HSL, ONE, NOT_HERE),
    // Logs.
    works("access_log", HSLI | LIMIT_EXCEPT, MORE),
    works("log_format", HTTP, Args::Words(2, ANY)),
    accepted("open_log_file_cache", HSL, MORE, "logs stay open"),
    // Files.
    refused(
        "autoindex",
        HSL,
        FLAG,
        "folders are not listed yet; remove it, or write an index.html",
    ),
    accepted("autoindex_exact_size", HSL, FLAG, "goes with autoindex"),
    accepted("autoindex_format", HSL, ONE, "goes with autoindex"),
    accepted("autoindex_localtime", HSL, FLAG, "goes with autoindex"),
    works("charset", HSLI, ONE),
    accepted(
        "charset_types",
        HSL,
        MORE,
        "text types and application/javascript",
    ),
    accepted(
        "override_charset",
        HSLI,
        FLAG,
        "the application's word stands",
    ),
    refused(
        "source_charset",
        HSLI,
        ONE,
        "files are sent as they are; convert them",
    ),
    refused("random_index", LOCATION, FLAG, NOT_HERE),
    refused("dav_methods", HSL, MORE, NOT_HERE),
    refused("mp4", LOCATION, Args::Words(0, 0), NOT_HERE),
    refused("flv", LOCATION, Args::Words(0, 0), NOT_HERE),
    refused("empty_gif", LOCATION, Args::Words(0, 0), NOT_HERE),
    refused("ssi", HSLI, FLAG, NOT_HERE),
    refused("image_filter", LOCATION, MORE, NOT_HERE),
    refused("memcached_pass", LOCATION | IF, ONE, NOT_HERE),
    refused("grpc_pass", LOCATION | IF, ONE, NOT_HERE),
    refused("perl", LOCATION | LIMIT_EXCEPT, ONE, NOT_HERE),
    refused("userid", HSL, ONE, NOT_HERE),
    refused("mirror", HSL, ONE, NOT_HERE),
    refused("slice", HSL, ONE, NOT_HERE),
    refused("sub_filter", HSL, Args::Words(2, 2), NOT_HERE),
    refused("sub_filter_once", HSL, FLAG, NOT_HERE),
    refused("sub_filter_types", HSL, MORE, NOT_HERE),
    refused("addition_types", HSL, MORE, NOT_HERE),
    refused("add_before_body", HSL, ONE, NOT_HERE),
    refused("add_after_body", HSL, ONE, NOT_HERE),
    // Compression.
    works("gzip", HSLI, FLAG),
    works("gzip_types", HSL, MORE),
    works("gzip_comp_level", HSL, ONE),
    works("gzip_min_length", HSL, ONE),
    works("gzip_proxied", HSL, MORE),
    works("gzip_vary", HSL, FLAG),
    works("gzip_http_version", HSL, ONE),
    accepted("gzip_disable", HSL, MORE, "the browsers it is for are gone"),
    accepted("gzip_buffers", HSL, Args::Words(2, 2), MEMORY),
    refused("gzip_static", HSL, ONE, "not there yet; `gzip_static off`"),
    refused("gunzip", HSL, FLAG, COMPRESSION),
    refused("brotli", HSLI, FLAG, COMPRESSION),
    refused("brotli_static", HSL, ONE, COMPRESSION),
    // Proxying.
    works("proxy_pass", LOCATION | IF | LIMIT_EXCEPT, ONE),
    works("proxy_set_header", HSL, Args::Words(2, 2)),
    works("proxy_http_version", HSL, ONE),
    works("proxy_connect_timeout", HSL, ONE),
    works("proxy_send_timeout", HSL, ONE),
    works("proxy_read_timeout", HSL, ONE),
    works("proxy_hide_header", HSL, ONE),
    works("proxy_pass_header", HSL, ONE),
    accepted(
        "proxy_ignore_headers",
        HSL,
        MORE,
        "X-Accel fields are not obeyed",
    ),
    works("proxy_redirect", HSL, ONE_OR_TWO),
    works("proxy_intercept_errors", HSL, FLAG),
    accepted(
        "proxy_buffering",
        HSL,
        FLAG,
        "answers are passed on as they come",
    ),
    accepted("proxy_buffer_size", HSL, ONE, MEMORY),
    accepted("proxy_buffers", HSL, Args::Words(2, 2), MEMORY),
    accepted("proxy_busy_buffers_size", HSL, ONE, MEMORY),
    accepted(
        "proxy_max_temp_file_size",
        HSL,
        ONE,
        "nothing is spilled to disk",
    ),
    accepted(
        "proxy_temp_file_write_size",
        HSL,
        ONE,
        "nothing is spilled to disk",
    ),
    accepted(
        "proxy_temp_path",
        HSL,
        Args::Words(1, 4),
        "nothing is spilled to disk",
    ),
    accepted(
        "proxy_request_buffering",
        HSL,
        FLAG,
        "small bodies are collected, large ones streamed",
    ),
    accepted(
        "proxy_next_upstream",
        HSL,
        MORE,
        "what is safe to repeat is repeated",
    ),
    accepted("proxy_next_upstream_tries", HSL, ONE, "bounded"),
    accepted(
        "proxy_next_upstream_timeout",
        HSL,
        ONE,
        "bounded by the other timeouts",
    ),
    accepted("proxy_socket_keepalive", HSL, FLAG, TUNING),
    accepted("proxy_send_lowat", HSL, ONE, TUNING),
    refused(
        "proxy_ignore_client_abort",
        HSL,
        FLAG,
        "a request whose client went away is cancelled",
    ),
    refused(
        "proxy_cookie_domain",
        HSL,
        ONE_OR_TWO,
        "set the cookie's domain in the application",
    ),
    refused(
        "proxy_cookie_path",
        HSL,
        ONE_OR_TWO,
        "set the cookie's path in the application",
    ),
    refused(
        "proxy_cookie_flags",
        HSL,
        MORE,
        "set the cookie's flags in the application",
    ),
    refused("proxy_method", HSL, ONE, NOT_HERE),
    refused("proxy_set_body", HSL, ONE, NOT_HERE),
    refused("proxy_pass_request_headers", HSL, FLAG, NOT_HERE),
    refused("proxy_pass_request_body", HSL, FLAG, NOT_HERE),
    refused("proxy_bind", HSL, ONE_OR_TWO, NOT_HERE),
    refused("proxy_limit_rate", HSL, ONE, NOT_HERE),
    refused("proxy_store", HSL, ONE, NOT_HERE),
    refused("proxy_cache", HSL, ONE, CACHE),
    refused("proxy_cache_path", HTTP, Args::Words(2, ANY), CACHE),
    accepted("proxy_cache_valid", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_key", HSL, ONE, "goes with proxy_cache"),
    accepted("proxy_cache_bypass", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_no_cache", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_use_stale", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_lock", HSL, FLAG, "goes with proxy_cache"),
    accepted("proxy_cache_methods", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_min_uses", HSL, ONE, "goes with proxy_cache"),
    accepted("proxy_cache_revalidate", HSL, FLAG, "goes with proxy_cache"),
    accepted(
        "proxy_cache_background_update",
        HSL,
        FLAG,
        "goes with proxy_cache",
    ),
    refused(
        "proxy_ssl_verify",
        HSL,
        FLAG,
        "TLS to upstreams is not there yet; use http:// or a Unix socket",
    ),
    refused(
        "proxy_ssl_server_name",
        HSL,
        FLAG,
        "TLS to upstreams is not there yet; use http:// or a Unix socket",
    ),
    refused(
        "proxy_ssl_name",
        HSL,
        ONE,
        "TLS to upstreams is not there yet; use http:// or a Unix socket",
    ),
    refused(
        "proxy_ssl_trusted_certificate",
        HSL,
        ONE,
        "TLS to upstreams is not there yet",
    ),
    refused(
        "proxy_ssl_certificate",
        HSL,
        ONE,
        "TLS to upstreams is not there yet",
    ),
    refused(
        "proxy_ssl_certificate_key",
        HSL,
        ONE,
        "TLS to upstreams is not there yet",
    ),
    refused(
        "proxy_ssl_protocols",
        HSL,
        MORE,
        "TLS to upstreams is not there yet",
    ),
    refused("fastcgi_pass", LOCATION | IF, ONE, GATEWAY),
    refused("fastcgi_param", HSLI, Args::Words(2, 3), GATEWAY),
    refused("fastcgi_index", HSL, ONE, GATEWAY),
    refused("fastcgi_split_path_info", LOCATION, ONE, GATEWAY),
    refused("fastcgi_read_timeout", HSL, ONE, GATEWAY),
    refused("fastcgi_buffers", HSL, Args::Words(2, 2), GATEWAY),
    refused("fastcgi_buffer_size", HSL, ONE, GATEWAY),
    refused("uwsgi_pass", LOCATION | IF, ONE, GATEWAY),
    refused("uwsgi_param", HSLI, Args::Words(2, 3), GATEWAY),
    refused("uwsgi_read_timeout", HSL, ONE, GATEWAY),
    refused("uwsgi_send_timeout", HSL, ONE, GATEWAY),
    refused("uwsgi_buffers", HSL, Args::Words(2, 2), GATEWAY),
    refused("uwsgi_buffer_size", HSL, ONE, GATEWAY),
    refused("scgi_pass", LOCATION | IF, ONE, GATEWAY),
    refused("scgi_param", HSLI, Args::Words(2, 3), GATEWAY),
    // Upstreams. `server` stands here too, with arguments in place of a block.
    works("upstream", HTTP, Args::Block(1, 1)),
    works("keepalive", UPSTREAM, ONE_OR_TWO),
    accepted("zone", UPSTREAM, ONE_OR_TWO, "state is shared anyway"),
    refused(
        "least_conn",
        UPSTREAM,
        Args::Words(0, 0),
        "servers are used in turn; remove it",
    ),
    refused(
        "ip_hash",
        UPSTREAM,
        Args::Words(0, 0),
        "servers are used in turn; remove it",
    ),
    refused(
        "hash",
        UPSTREAM,
        ONE_OR_TWO,
        "servers are used in turn; remove it",
    ),
    refused(
        "random",
        UPSTREAM,
        Args::Words(0, 2),
        "servers are used in turn; remove it",
    ),
    refused(
        "sticky",
        UPSTREAM,
        MORE,
        "servers are used in turn; remove it",
    ),
    // Rewriting.
    works(
        "rewrite",
        SERVER | LOCATION | IF | SERVER_IF,
        Args::Words(2, 3),
    ),
    works("if", SERVER | LOCATION, Args::Block(1, ANY)),
    works("set", SERVER | LOCATION | IF | SERVER_IF, Args::Words(2, 2)),
    works(
        "break",
        SERVER | LOCATION | IF | SERVER_IF,
        Args::Words(0, 0),
    ),
    accepted(
        "rewrite_log",
        HSLI,
        FLAG,
        "what happens is not logged step by step",
    ),
    accepted(
        "uninitialized_variable_warn",
        HSLI,
        FLAG,
        "a variable without a value is empty",
    ),
    // TLS and HTTP/2.
    works("ssl_certificate", HS, ONE),
    works("ssl_certificate_key", HS, ONE),
    works("ssl_protocols", HS, MORE),
    accepted(
        "ssl_ciphers",
        HS,
        ONE,
        "rustls offers only suites with forward secrecy and authenticated encryption",
    ),
    accepted(
        "ssl_prefer_server_ciphers",
        HS,
        FLAG,
        "suites are all strong",
    ),
    accepted(
        "ssl_session_cache",
        HS,
        MORE,
        "sessions are resumed by tickets",
    ),
    accepted(
        "ssl_session_timeout",
        HS,
        ONE,
        "tickets live for up to twelve hours",
    ),
    works("ssl_session_tickets", HS, FLAG),
    accepted(
        "ssl_session_ticket_key",
        HS,
        ONE,
        "keys are made and changed by the daemon",
    ),
    accepted("ssl_dhparam", HS, ONE, "there is no DHE"),
    accepted("ssl_ecdh_curve", HS, ONE, "X25519, P-256 and P-384"),
    accepted("ssl_stapling", HS, FLAG, "authorities have given OCSP up"),
    accepted(
        "ssl_stapling_verify",
        HS,
        FLAG,
        "authorities have given OCSP up",
    ),
    accepted("ssl_trusted_certificate", HS, ONE, "goes with ssl_stapling"),
    accepted("ssl_buffer_size", HS, ONE, TUNING),
    works("ssl_verify_client", HS, ONE),
    works("ssl_client_certificate", HS, ONE),
    accepted("http2", HS, FLAG, "HTTP/1.1 is served; clients take it"),
    accepted("http2_max_concurrent_streams", HS, ONE, "goes with http2"),
    accepted("http2_recv_buffer_size", HTTP, ONE, "goes with http2"),
    refused("http3", HS, FLAG, "HTTP/3 is not supported; remove it"),
];
