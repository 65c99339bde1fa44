//! `cargo xtask bench`: ours and the peers that are installed, in interleaved rounds, on one core each.
//!
//! How a figure comes about: every subject is started afresh in every round, its answer is compared before anything is
//! timed, the server runs on CPU 0 and the load generator (with any upstream) on CPU 1. Machines drift, so only
//! medians of rounds and ratios within a round count. Not here: what a subject is (see the folder of each daemon).

mod answer;
mod load;
mod proxy;
mod report;
mod rounds;
mod server;
mod setup;
mod supervisors;
mod wsgi;

use std::thread::available_parallelism;

use anyhow::bail;

use crate::cli::BenchOptions;

pub(crate) use answer::run as answer;

pub(crate) fn run(options: &BenchOptions) -> anyhow::Result<bool> {
    if options.list {
        for (name, what, peers) in proxy::list().chain(wsgi::list()) {
            println!("{name:<18} {what} [{peers}]");
        }
        for (name, what) in supervisors::list() {
            println!("{name:<18} {what} [trine-supervisor, supervisord]");
        }
        return Ok(true);
    }
    if options.setup {
        setup::run()?;
        return Ok(true);
    }
    if available_parallelism()?.get() < 2 {
        bail!(
            "one CPU for the server and one for the load are needed, and this machine has one in all"
        );
    }
    let known = |name: &String| {
        let mut http = proxy::list().chain(wsgi::list());
        http.any(|(known, ..)| known == name) || supervisors::list().any(|(known, _)| known == name)
    };
    if let Some(unknown) = options.scenarios.iter().find(|name| !known(name)) {
        bail!("no scenario is called {unknown}; `cargo xtask bench --list` names them");
    }
    let all = options.scenarios.is_empty();
    let chosen = |known: &[&str]| -> Vec<String> {
        let names = options.scenarios.iter();
        names
            .filter(|name| known.contains(&name.as_str()))
            .cloned()
            .collect()
    };
    let names: Vec<&str> = supervisors::list().map(|(name, _)| name).collect();
    let names = chosen(&names);
    if all || !names.is_empty() {
        supervisors::run(&supervisors::choose(&names), options)?;
    }
    let names: Vec<&str> = wsgi::list().map(|(name, ..)| name).collect();
    let names = chosen(&names);
    if all || !names.is_empty() {
        wsgi::run(&names, options)?;
    }
    let names: Vec<&str> = proxy::list().map(|(name, ..)| name).collect();
    let names = chosen(&names);
    if all || !names.is_empty() {
        proxy::run(&names, options)?;
    }
    Ok(true)
}
