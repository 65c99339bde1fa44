//! CPython in one place: starting it, loading the application, calling it, forking with it.
//!
//! This folder alone names pyo3. Others hold a [`Gil`] as the proof that this thread may run Python.
//! Not here: sockets, processes' life, settings.
#![expect(
    unsafe_code,
    reason = "the hot path uses CPython's own API: template dict, interned keys, vectorcall"
)]

mod answer;
mod blocks;
mod call;
mod config_file;
mod embedding;
mod environ;
mod errors;
mod extension;
mod file_wrapper;
mod fork;
mod hooks;
mod input;
mod interpreter;
mod interrupt;
mod load;
mod logger;
mod objects;
mod outcome;
mod reloader;
mod request_hooks;
mod server_name;
mod socket;
mod spew;
mod standin;
mod start_response;
mod text;
mod threads;

pub use answer::{Gone, NoBody, Sink};
pub use call::{Caller, Site, Verdict};
pub use config_file::{
    ConfigError, Names, change_folder, import_module, put_on_path, reset_environment, run_file,
    set_environment,
};
pub use embedding::Embedded;
pub use fork::{Forked, fork};
pub use hooks::{
    Arg, Config, Fact, Hook, HookError, Hooks, ListenerFacts, Server, Worker, catch_signals,
    is_aborted,
};
pub use interpreter::{Gil, InterpreterError, Setup, is_hosted, start};
pub use interrupt::{Interrupt, call_off, interrupt_main, interrupt_threads, thread_number};
pub use load::{App, LoadError, freeze, load};
pub use logger::{Logger, is_log_relayed};
pub use objects::{Object, prepare};
pub use reloader::{failing_app, watch_files};
pub use request_hooks::RequestHooks;
pub use server_name::tell_environment;
pub use spew::spew;
pub use threads::{CallerThread, spawn_thread};
