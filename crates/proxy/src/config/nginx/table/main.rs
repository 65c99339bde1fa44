//! Rows of the table: processes, files and events.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{EVENTS, MAIN};
use super::{Args, FLAG, HSL, Known, MORE, ONE, ONE_OR_TWO, TUNING, accepted, refused, works};

pub(super) const ROWS: &[Known] = &[
    works("user", MAIN, ONE_OR_TWO),
    works("worker_processes", MAIN, ONE),
    works("pid", MAIN, ONE),
    works("error_log", MAIN | HSL, MORE),
    works("daemon", MAIN, FLAG),
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
    accepted("env", MAIN, ONE, "nothing here reads the environment"),
    accepted("debug_points", MAIN, ONE, "there are none"),
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
    accepted("worker_aio_requests", EVENTS, ONE, TUNING),
    accepted("use", EVENTS, ONE, "epoll is used"),
    accepted("debug_connection", EVENTS, ONE, "use error_log ... debug"),
    works("http", MAIN, Args::Block(0, 0)),
    refused(
        "mail",
        MAIN,
        Args::Block(0, 0),
        "mail proxying is not supported; keep nginx for it",
    ),
    works("stream", MAIN, Args::Block(0, 0)),
];
