//! Settings that gunicorn does not have.
//!
//! Not here: gunicorn's (`gunicorn`).

use super::Action::{On, Text as Word};
use super::Check::{Addresses, Bool, MaybeSeconds, OneOf, Path, Seconds, Size};
use super::Default::{Int, Nothing, Text};
use super::Tier::Own as Ours;
use super::{Section, Setting, Wrong, settings};

pub(super) static SETTINGS: &[Setting] = settings! {
    python Own ["--python"] "VENV" Word, Path, Nothing, Some("VIRTUAL_ENV"), Ours,
        "A virtualenv, or the python in one. Not in a Python file, which needs an interpreter to be read.";
    control Own ["--control"] "PATH" Word, Path, Nothing, None, Ours,
        "The control socket: HTTP and JSON, metrics, events. Its mode is control_socket_mode.";
    log_format Own ["--log-format"] "FORMAT" Word,
        OneOf(&["text", "json"], Wrong::Must("log_format")), Text("text"), None, Ours,
        "The error log as text in gunicorn's form, or one JSON object a line.";
    access_log_json Own ["--access-log-json"] "" On, Bool, super::Default::Bool(false), None, Ours,
        "The access log as one JSON object a line instead of access_log_format.";
    request_timeout Own ["--request-timeout"] "TIME" Word, MaybeSeconds, Nothing, None, Ours,
        "A request that takes longer is interrupted, and answered 504; 0 is never. Unset: timeout with one thread, never with more.";
    head_timeout Own ["--head-timeout"] "TIME" Word, Seconds, Int(30), None, Ours,
        "How long a client may take to send a whole head.";
    body_timeout Own ["--body-timeout"] "TIME" Word, Seconds, Int(60), None, Ours,
        "How long a client may send nothing of a body that it has begun.";
    send_timeout Own ["--send-timeout"] "TIME" Word, Seconds, Int(60), None, Ours,
        "How long a client may take nothing of an answer.";
    max_worker_lifetime Own ["--max-worker-lifetime"] "TIME" Word, Seconds, Int(0), None, Ours,
        "A worker is replaced when it is so old, give or take a tenth; 0 is never.";
    max_worker_memory Own ["--max-worker-memory"] "SIZE" Word, Size, Nothing, None, Ours,
        "A worker is replaced when it holds so much resident memory; 0 is never.";
    slow_request_time Own ["--slow-request-time"] "TIME" Word, Seconds, Int(0), None, Ours,
        "A request that took longer is told in the slow-request log; 0 is none.";
    slow_request_log Own ["--slow-request-log"] "FILE" Word, Path, Nothing, None, Ours,
        "Where slow requests are told; unset: the error log.";
    fastcgi_allow_ips Own ["--fastcgi-allow-from"] "ADDRESSES" Word, Addresses, Text("127.0.0.1,::1"), None, Ours,
        "Peers that may speak FastCGI; peers on Unix sockets always may.";
};
