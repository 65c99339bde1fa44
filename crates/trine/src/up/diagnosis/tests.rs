use std::path::PathBuf;

use super::super::python::FoundBy;
use super::*;

/// A log as the WSGI server writes it: a line of its own, then the worker's traceback, indented.
fn log(traceback: &str) -> String {
    let traceback = traceback
        .lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n");
    format!(
        "2026-11-23T10:00:00.123Z ERROR wsgi: the worker failed to boot pid=7\n{traceback}\n2026-11-23T10:00:00.200Z INFO wsgi: shutting down\n"
    )
}

#[track_caller]
fn check(app: &str, output: &str, what: &str, way_out: &str) {
    let (module, name) = app.split_once(':').unwrap();
    let app = AppRef {
        module: module.to_owned(),
        name: name.to_owned(),
        guessed_from: None,
    };
    let python = Python {
        path: PathBuf::from("/srv/.venv"),
        found_by: FoundBy::Folder,
    };
    let context = Context {
        app: &app,
        folder: Path::new("/srv/site"),
        python: Some(&python),
    };
    let dead = Dead {
        program: WSGI,
        verdict: "exit code 3",
        output,
        log: Path::new("/srv/wsgi.log"),
    };
    let failure = explain(&dead, &context);
    assert_eq!(
        (failure.what.as_str(), failure.way_out.as_str()),
        (what, way_out),
        "{output}"
    );
}

#[test]
fn the_module_is_missing() {
    check(
        "shop.web:app",
        &log(
            "Traceback (most recent call last):\n  File \"<frozen importlib._bootstrap>\", line 1126, in _find\nModuleNotFoundError: No module named 'shop'",
        ),
        "there is no Python module `shop` in /srv/site",
        "call trine in the folder that has shop/web.py, or name another: trine up MODULE:APP",
    );
}

#[test]
fn a_package_is_missing() {
    let text = "Traceback (most recent call last):\n  File \"/srv/site/app.py\", line 1, in <module>\n    import flask.views\nModuleNotFoundError: No module named 'flask.views'";
    let want = "app:app needs the Python package `flask`, which /srv/.venv does not have";
    check(
        "app:app",
        &log(text),
        want,
        "install it: /srv/.venv -m pip install flask",
    );
}

#[test]
fn the_syntax_is_wrong() {
    let text = "Traceback (most recent call last):\n  File \"<frozen>\", line 1, in x\n  File \"/srv/site/app.py\", line 3\n    def (:\n        ^\nSyntaxError: invalid syntax";
    check(
        "app:app",
        &log(text),
        "the application has an error of syntax in /srv/site/app.py:3: invalid syntax",
        "correct the line, then start again",
    );
}

#[test]
fn the_attribute_is_missing() {
    let want = (
        "the module `app` has no `web`",
        "name what app calls its application: trine up app:NAME",
    );
    check(
        "app:web",
        &log("Failed to find attribute 'web' in 'app'."),
        want.0,
        want.1,
    );
    let python =
        "Traceback (most recent call last):\nAttributeError: module 'app' has no attribute 'web'";
    check("app:web", &log(python), want.0, want.1);
}

#[test]
fn what_is_no_application() {
    let said = "2026-11-23T10:54:35.583Z ERROR wsgi: Failed to find application object: 'app'\n";
    let want = "`none:app` is not a WSGI application: it cannot be called";
    check(
        "none:app",
        said,
        want,
        "name what none calls its application: trine up none:NAME",
    );
}

#[test]
fn anything_else_is_quoted() {
    let text = "Traceback (most recent call last):\n  File \"/srv/site/app.py\", line 9, in <module>\n    1/0\nZeroDivisionError: division by zero";
    check(
        "app:app",
        &log(text),
        "app:app failed while it was imported (/srv/site/app.py:9): ZeroDivisionError: division by zero",
        "correct what the traceback shows, then start again",
    );
    check(
        "app:app",
        "killed\n",
        "wsgi did not start: exit code 3",
        "its whole log: /srv/wsgi.log",
    );
}

#[test]
fn tracebacks() {
    let chained = "x Traceback (most recent call last):\n  File \"a\", line 1\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"b\", line 2\nValueError: two\nnext line of the log";
    let got = last_traceback(chained).unwrap();
    assert!(
        got.starts_with("Traceback (most")
            && got.contains("KeyError: 1")
            && got.ends_with("ValueError: two"),
        "{got}"
    );

    let separate = "Traceback (most recent call last):\nKeyError: 1\nTraceback (most recent call last):\n  File \"b\", line 2\nValueError: two\n";
    assert_eq!(
        last_traceback(separate)
            .unwrap()
            .matches("Traceback")
            .count(),
        1
    );
    assert_eq!(last_traceback("no such thing"), None);
    assert_eq!(
        last_traceback("Traceback (most recent call last):").as_deref(),
        Some("Traceback (most recent call last):")
    );
}

#[test]
fn frames_of_the_import_machinery_are_left_out() {
    let text = "Traceback (most recent call last):
  File \"trine_wsgi_loader.py\", line 11, in load
  File \"/usr/lib/python3.11/importlib/__init__.py\", line 126, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
           ^^^^^^^^^^^^^^^^^^^^
  File \"<frozen importlib._bootstrap>\", line 1204, in _gcd_import
  File \"/srv/app.py\", line 1, in <module>
    import nope
ModuleNotFoundError: No module named 'nope'";
    let want = "Traceback (most recent call last):
  File \"/srv/app.py\", line 1, in <module>
    import nope
ModuleNotFoundError: No module named 'nope'";
    assert_eq!(last_traceback(text).unwrap(), want);
}
