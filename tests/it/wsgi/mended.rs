//! Reloads of configurations that are broken, in Python and in YAML, under load, and mended again: the old generation
//! serves meanwhile, and the reason is in the log, on `/v1/status` and in STATUS. Every answer counts.
//! Not here: broken applications (`faults`), broken TLS files (the server's own tests).

use std::fs;

use e2e::control::Control;
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::load::Load;
use e2e::{tools, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::faults::{mix, wait_settled};

/// A file as it should be, and what it is broken to: its text (`None`: it is gone), and a word of the reason.
struct Case {
    file: &'static str,
    good: String,
    broken: Vec<(Option<String>, &'static str)>,
}

fn python(bind: &str) -> Case {
    let good = format!("bind = '{bind}'\nworkers = 2\nthreads = 2\n");
    let broken = |text: &str| Some(format!("{good}{text}\n"));
    Case {
        file: "gunicorn.conf.py",
        broken: vec![
            (broken("workers = ("), "SyntaxError"),
            (broken("workers = 1 / 0"), "ZeroDivisionError"),
            (broken("import no_such_module"), "no_such_module"),
            (broken("workers = 'many'"), "workers"),
            (broken("worker_class = 'gevent'"), "worker_class"),
            (broken("def when_ready(): pass"), "when_ready"),
            (
                broken("bind = 'unix:/no/such/folder/sock'"),
                "/no/such/folder",
            ),
            (None, "gunicorn.conf.py"),
        ],
        good,
    }
}

fn yaml(bind: &str) -> Case {
    let good = format!("bind: ['{bind}']\nworkers: 2\n");
    let broken = |text: &str| Some(format!("{good}{text}\n"));
    Case {
        file: "wsgi.yaml",
        broken: vec![
            (broken("threads: [1"), "wsgi.yaml"),
            (broken("thread: 2"), "thread"),
            (broken("timeout: soon"), "timeout"),
            (Some(String::from("\t- what")), "wsgi.yaml"),
            (None, "wsgi.yaml"),
        ],
        good,
    }
}

#[test]
fn a_configuration_broken_and_mended_under_load_is_never_noticed() {
    let Some(venv) = tools::venv() else { return };
    for case in [python, yaml] {
        let folder = Folder::new();
        let case = case(&format!("unix:{}", folder.join("app.sock").display()));
        let config = folder.write(case.file, &case.good);
        let launch = Launch::trine("trine-wsgi")
            .arg("-c")
            .arg(&config)
            .arg("--chdir")
            .arg(tools::apps())
            .arg("--control")
            .arg(folder.join("wsgi.sock"))
            .arg("faults:app")
            .env("VIRTUAL_ENV", &venv)
            .env("STORY", folder.path());
        let mut daemon = launch.notify().start(&folder).wait_ready();
        let control = Control::new(folder.join("wsgi.sock"));
        let old = wait_settled(&control);
        let load = Load::start(folder.join("app.sock"), &mix());
        let mut last = Value::Null;
        let mut reloaded = |ok: bool| {
            wait::until("the reload's end", || {
                let report = control.status()["last_reload"].clone();
                let new = !report.is_null() && report["time"] != last && report["ok"] == ok;
                new.then(|| {
                    last = report["time"].clone();
                    report
                })
            })
        };
        for (text, reason) in &case.broken {
            match text {
                Some(text) => drop(folder.write(case.file, text)),
                None => fs::remove_file(&config).unwrap(),
            }
            let logged = daemon.output().len();
            daemon.signal(Signal::SIGHUP);
            // In STATUS, as `systemctl status` shows it,
            let status = "STATUS=2 of 2 workers ready; the last reload failed: ";
            daemon.wait_next_notified(status, reason);
            // on /v1/status,
            let report = reloaded(false);
            assert!(report["problems"].to_string().contains(reason), "{report}");
            // and in the log.
            let output = daemon.output();
            let log = &output[logged..];
            let said = "the reload failed, the old workers serve on: ";
            assert!(
                log.contains(said) && log.contains(reason),
                "{reason}: {log}"
            );
            assert_eq!(wait_settled(&control), old, "{reason}");
            load.wait_for_more(20);
        }
        folder.write(case.file, &case.good);
        daemon.signal(Signal::SIGHUP);
        reloaded(true);
        let new = wait_settled(&control);
        assert!(new.iter().all(|pid| !old.contains(pid)), "{new:?} {old:?}");
        assert_eq!(control.status()["status_text"], "2 of 2 workers ready");
        load.wait_for_more(50);
        load.stop().assert_none_failed();
        daemon.stop();
    }
}
