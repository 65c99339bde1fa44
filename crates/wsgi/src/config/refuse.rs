//! What is refused at start, in words: gunicorn's settings that we do not follow, and its other worker classes.
//!
//! Not here: values that nobody could follow (`validate`).

use super::settings::WorkerClass;
use super::table::{self, Tier};
use super::value::quoted;
use super::values::Values;

/// The first setting of tier C that somebody set to anything but its default.
pub(super) fn unsupported(values: &Values) -> Result<(), String> {
    for setting in table::of_gunicorn() {
        if let Tier::Refused(why) = setting.tier
            && values.is_given(setting.name)
            && values.differs_from_default(setting.name)
        {
            let flag = setting
                .flags
                .last()
                .map(|flag| format!(" ({flag})"))
                .unwrap_or_default();
            return Err(format!("{}{flag} is not supported: {why}", setting.name));
        }
    }
    Ok(())
}

/// The class by its word or dotted name; those that are not ours are refused, each with what to use.
pub(super) fn worker_class(name: &str) -> Result<WorkerClass, String> {
    let known = name
        .trim_start_matches("egg:gunicorn#")
        .trim_start_matches('#');
    let advice = match known {
        "sync" | "gunicorn.workers.sync.SyncWorker" => return Ok(WorkerClass::Sync),
        "gthread" | "gunicorn.workers.gthread.ThreadWorker" => return Ok(WorkerClass::Gthread),
        name if name.contains("gevent") || name.contains("eventlet") => {
            "there are no greenlets here; use worker_class = 'gthread' with as many threads as requests shall run at \
             the same time (slow clients and idle connections need none)"
        }
        name if name.contains("uvicorn") || name.contains("asgi") || name.contains("hypercorn") => {
            "it serves ASGI, and this is a WSGI server; run uvicorn itself (under trine-supervisor, behind trine-proxy)"
        }
        name if name.contains("tornado") => {
            "it serves Tornado's own applications; run them with Tornado's HTTP server, and WSGI applications with \
             worker_class = 'gthread'"
        }
        _ => {
            "workers are native here and cannot be subclassed; use sync or gthread, and server hooks for what the class adds"
        }
    };
    Err(format!(
        "worker_class (-k) = {} is not supported: {advice}",
        quoted(name)
    ))
}
