//! What a person reads: what was chosen for them, and once all is ready, where everything is.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use trine_config::ListenAddr;

use super::configs::PROXY;
use super::plan::Plan;
use super::python::FoundBy;
use crate::supervisor;

/// Before the start, on standard error: guesses are told, not made in silence.
pub(crate) fn choices(plan: &Plan) {
    let mut text = String::new();
    if let Some(file) = &plan.app.guessed_from {
        let _ = writeln!(
            text,
            "trine: serving {}, found in {}",
            plan.app,
            file.display()
        );
    }
    match &plan.python {
        Some(python) => {
            let why = match python.found_by {
                FoundBy::Option => return emit(&text), // it was asked for
                FoundBy::Active => "the active environment",
                FoundBy::Folder => "found here",
            };
            let _ = writeln!(text, "trine: Python from {} ({why})", python.path.display());
        }
        None => text.push_str("trine: no virtual environment here; the application runs on the Python of trine-wsgi\n"),
    }
    emit(&text);
}

fn emit(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Once all programs are ready, on standard output.
pub(crate) async fn ready(plan: &Plan, detached: bool) {
    let mut text = format!("\nServing {} at {}\n", plan.app, address(plan).await);
    for one in &plan.statics {
        let _ = writeln!(text, "  files    {} from {}", one.url, one.folder.display());
    }
    let flag = plan.run_dir.flag();
    let _ = writeln!(
        text,
        "  configs  {}/{{supervisor,proxy,wsgi}}.yaml",
        plan.run_dir.path().display()
    );
    let _ = writeln!(text, "  logs     {}/", plan.run_dir.logs().display());
    let stop = if detached {
        format!("trine down{flag}")
    } else {
        "Ctrl-C".to_owned()
    };
    let _ = writeln!(text, "  status   trine status{flag}\n  stop     {stop}");
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The address as the proxy has it (port 0 became a real one), as something to open.
async fn address(plan: &Plan) -> String {
    let status = supervisor::daemon_status(&plan.run_dir, PROXY).await.ok();
    let bound = status
        .and_then(|status| status.listeners.into_iter().next())
        .and_then(|one| one.address.parse().ok());
    url(&bound.unwrap_or_else(|| plan.listen.clone()))
}

fn url(listen: &ListenAddr) -> String {
    match listen {
        ListenAddr::Tcp(addr) => {
            let host = if !addr.ip().is_unspecified() {
                addr.to_string()
            } else if addr.is_ipv4() {
                format!("127.0.0.1:{}", addr.port())
            } else {
                format!("[::1]:{}", addr.port())
            };
            let host = host.strip_suffix(":80").unwrap_or(&host);
            let everywhere = if addr.ip().is_unspecified() {
                "  (and on every address of this machine)"
            } else {
                ""
            };
            format!("http://{host}/{everywhere}")
        }
        ListenAddr::Unix(_) | ListenAddr::Fd(_) | ListenAddr::FdNumber(_) => listen.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check =
            |typed: &str, want: &str| assert_eq!(url(&typed.parse().unwrap()), want, "{typed}");
        check("127.0.0.1:8000", "http://127.0.0.1:8000/");
        check("127.0.0.1:80", "http://127.0.0.1/");
        check("[::1]:8000", "http://[::1]:8000/");
        check(
            "0.0.0.0:8000",
            "http://127.0.0.1:8000/  (and on every address of this machine)",
        );
        check("unix:/run/site.sock", "unix:/run/site.sock");
    }
}
