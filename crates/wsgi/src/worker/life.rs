//! The life of a worker process, from the fork to its exit code.
//!
//! Not here: what it is forked with (`boot`), serving (`serving`), the loop (`io`), calling the application (`inline`, `threads`).

use trine_service::signals::{Signal, SignalPipe};
use trine_sys::{process, signals};

use crate::python::{self, Arg, Gil, Hook};

use super::boot::{Boot, NotBooted};
use super::identity;
use super::serving::{End, Worker};

/// gunicorn's code for a worker that cannot boot.
const BOOT_FAILED: i32 = 3;
/// How long Python may take to run exit handlers and join the application's threads.
const FINALIZE_SECONDS: u32 = 10;

/// The worker's whole life; returns its exit code.
pub fn run(gil: Gil<'_>, boot: Boot) -> i32 {
    let caught = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGHUP,
    ];
    let mut pipe = match SignalPipe::new(&caught) {
        Ok(pipe) => pipe,
        Err(error) => return refuse(&boot, &error.to_string(), BOOT_FAILED),
    };
    let _ = signals::restore(&boot.mask);
    let _ = process::set_parent_death_signal(Some(Signal::SIGTERM));
    tracing::info!("Booting worker with pid: {}", process::getpid());
    boot.become_worker(gil);
    gil.enable_faulthandler();
    if boot.settings.spew {
        python::spew(gil);
    }
    if let Err(why) = boot.set_up_logger(gil) {
        tracing::error!("Exception in worker process\n{why}");
        return refuse(&boot, &why, BOOT_FAILED);
    }
    if let Err(why) = boot.booting_hook(gil, Hook::PostFork) {
        return refuse(&boot, &why, BOOT_FAILED);
    }
    if let Err(error) = identity::assume(&boot.settings) {
        let (user, group) = (boot.settings.user, boot.settings.group);
        let why = format!("cannot become user {user} and group {group}: {error}");
        tracing::error!("Exception in worker process: {why}");
        return refuse(&boot, &why, BOOT_FAILED);
    }
    let mut watched = boot.settings.reload_extra_files.clone();
    let app = match &boot.preloaded {
        Some(app) => app.share(gil),
        None => match python::load(gil, &boot.settings.app, boot.settings.paste.as_ref()) {
            Ok(app) => app,
            Err(error) => {
                let why = tell(&error);
                let page = error.syntax_error().filter(|_| boot.settings.reload);
                match page.map(|traceback| python::failing_app(gil, traceback)) {
                    Some(Ok((page, files))) => {
                        watched.extend(files);
                        page
                    }
                    Some(Err(_)) | None => return refuse(&boot, &why, error.exit_code().into()),
                }
            }
        },
    };
    if boot.settings.reload {
        python::watch_files(gil, &watched);
    }
    let hooked = boot.hooked.share(gil);
    let hooks = boot.settings.hooks.clone();
    let (code, finalize) = match Worker::new(gil, &app, boot) {
        Ok(mut worker) => match worker.serve(gil, &mut pipe) {
            End::Finished => (0, true),
            End::Cut { code } => (code, false),
        },
        Err(NotBooted) => (BOOT_FAILED, false),
    };
    tracing::info!("Worker exiting (pid: {})", process::getpid());
    let args = [Arg::Server(&hooked.server), Arg::Worker(&hooked.worker)];
    if let Err(error) = hooks.call(gil, Hook::WorkerExit, &args) {
        tracing::warn!("Exception during worker exit:\n{}", error.traceback);
    }
    // Nothing of Python's may be let go after its end.
    drop((app, hooks, hooked));
    if finalize {
        // The alarm's default action ends the process, should an exit handler or a thread not come to its end.
        nix::unistd::alarm::set(FINALIZE_SECONDS);
        gil.finalize();
    }
    code
}

/// Tells log and arbiter why there is no application.
fn tell(error: &python::LoadError) -> String {
    match error {
        // INT or QUIT came while it imported: nothing is wrong with the application.
        python::LoadError::Import { traceback, .. }
            if traceback.trim_end().ends_with("\nSystemExit: 0") =>
        {
            "it was told to end while it imported the application".to_owned()
        }
        python::LoadError::Import { traceback, summary } => {
            tracing::error!("Exception in worker process\n{traceback}");
            let last = traceback.lines().last().unwrap_or(summary);
            last.to_owned()
        }
        python::LoadError::Unusable { summary, .. } => {
            tracing::error!("{summary}");
            summary.clone()
        }
    }
}

fn refuse(boot: &Boot, why: &str, code: i32) -> i32 {
    boot.refuse(why);
    code
}
