//! What trine-wsgi refuses, with gunicorn's exit codes for the application and the house's for configuration.

use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::refusal::{self, wrong};
use e2e::{port, tools};

use super::wsgi;

/// Starts it on a module that cannot be served.
#[track_caller]
fn refused(module: &str, content: &str, app: &str, code: i32, says: &[&str]) {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    folder.write(&format!("{module}.py"), content);
    let bind = port::free().to_string();
    let launch = Launch::trine("trine-wsgi")
        .args(["-w", "2", "-b", &bind, app])
        .env("VIRTUAL_ENV", &venv);
    let (found, output) = daemon::run(launch, &folder);
    assert_eq!(found, code, "{output}");
    for text in says {
        assert!(output.contains(text), "{text:?} is not in:\n{output}");
    }
}

#[test]
fn an_application_that_cannot_be_imported_ends_the_server() {
    refused(
        "site",
        "",
        "no_such_module:app",
        3,
        &["No module named 'no_such_module'"],
    );
    refused(
        "broken",
        "def app(:\n",
        "broken:app",
        3,
        &["SyntaxError", "broken.py", "line 1"],
    );
    refused(
        "raises",
        "raise RuntimeError('on import')\n",
        "raises:app",
        3,
        &["Traceback", "on import"],
    );
}

#[test]
fn an_application_object_that_is_none_ends_the_server() {
    refused("empty", "", "empty:app", 4, &["app", "empty"]);
    refused("number", "app = 7\n", "number:app", 4, &["callable"]);
}

#[test]
fn a_bad_command_line_is_a_usage_error() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    for args in [
        &["--no-such-option", "rooms:app"][..],
        &["-w", "many", "rooms:app"],
        &["--timeout", "soon", "rooms:app"],
    ] {
        let (code, output) = daemon::run(wsgi(&venv, args), &folder);
        assert_eq!(code, 2, "{args:?}: {output}");
        assert!(
            output.contains(args[0].trim_start_matches("-w")),
            "{output}"
        );
    }
}

#[test]
fn a_bad_config_is_told_whole_and_starts_nothing() {
    refusal::check(
        "trine-wsgi",
        &["-c", "wsgi.yaml"],
        "wsgi.yaml",
        "wsgi_app: rooms:app
bind: ['127.0.0.1:99999']
worker: 2
workers: -1
threads: [4]
timeout: soon
",
        &[
            wrong(2, "99999"),
            wrong(3, "worker"),
            wrong(4, "workers"),
            wrong(5, "threads"),
            wrong(6, "timeout"),
        ],
    );
    refusal::check(
        "trine-wsgi",
        &["-c", "wsgi.yaml"],
        "wsgi.yaml",
        "wsgi_app: rooms:app\nchdir: ./no-such-folder\n",
        &[wrong(2, "no-such-folder")],
    );
    refusal::check_missing("trine-wsgi", &["-c", "none.yaml", "rooms:app"], "none.yaml");
}
