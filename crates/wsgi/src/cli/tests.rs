use super::*;

/// The line as text: `name=value` for each setting, then the words.
fn shown(name: &str, text: &str) -> String {
    let words = shell_words::split(text).unwrap();
    match parse(&Program::called(Some(name)), &words) {
        Ok(line) => {
            let values = line
                .values
                .iter()
                .map(|(place, value)| format!("{}={value}", table::all()[*place].name));
            values
                .chain(line.args.iter().cloned())
                .collect::<Vec<_>>()
                .join(" ")
        }
        Err(Stop::Wrong(why)) => format!("wrong: {why}"),
        Err(stop) => format!("{stop:?}"),
    }
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(shown("trine-wsgi", text), want, "{text}");
}

#[test]
fn flags_and_words() {
    check("", "");
    check("app", "app");
    check("app more", "app more");
    check("-w 2 app", "workers=2 app");
    check("app -w2", "workers=2 app");
    check("app --workers=2", "workers=2 app");
    check("app --workers ' 2 '", "workers=2 app");
    check("-b a -b b --bind=c", "bind=['a', 'b', 'c']");
    check("--no-sendfile", "sendfile=False");
    check("--proxy-protocol", "proxy_protocol=auto");
    check("--proxy-protocol v1 app", "proxy_protocol=v1 app");
    check("-- --workers", "--workers");
    check("-- app -w", "app -w");
    check("-w -5", "workers=-5");
    check("-n 'a b'", "proc_name=a b");
    check("'-a b'", "-a b");
    check("-", "-");
}

#[test]
fn beginnings() {
    check("--thr 2", "threads=2");
    check("--thr=2", "threads=2");
    check("--max-requests 3", "max_requests=3");
    check(
        "--wor 3",
        "wrong: ambiguous option: --wor could match --workers, --worker-class, --worker-connections, --worker-tmp-dir",
    );
    check(
        "--wor=3",
        "wrong: ambiguous option: --wor=3 could match --workers, --worker-class, --worker-connections, --worker-tmp-dir",
    );
}

#[test]
fn bundles() {
    check(
        "-RDw2",
        "workers=2 daemon=True enable_stdio_inheritance=True",
    );
    check("-Rw 2", "workers=2 enable_stdio_inheritance=True");
    check("-Rw", "wrong: argument -w/--workers: expected one argument");
    check(
        "-RZ",
        "wrong: argument -R/--enable-stdio-inheritance: ignored explicit argument 'Z'",
    );
    check(
        "--reload=x",
        "wrong: argument --reload: ignored explicit argument 'x'",
    );
}

#[test]
fn what_makes_no_sense() {
    check("--nope", "wrong: unrecognized arguments: --nope");
    check("-x app --nope", "wrong: unrecognized arguments: -x --nope");
    check("app -w 2 more", "wrong: unrecognized arguments: more");
    check("-w", "wrong: argument -w/--workers: expected one argument");
    check(
        "-w --reload",
        "wrong: argument -w/--workers: expected one argument",
    );
    check(
        "-w two",
        "wrong: argument -w/--workers: invalid int value: 'two'",
    );
    check(
        "-m 9x",
        "wrong: argument -m/--umask: invalid auto_int value: '9x'",
    );
    check("-h", "Help");
    check("--nope -v", "Version");
    check(
        "-w two -v",
        "wrong: argument -w/--workers: invalid int value: 'two'",
    );
}

#[test]
fn umasks_are_octal() {
    check("-m 022", "umask=18");
    check("-m 0o22", "umask=18");
    check("-m 0x12", "umask=18");
    check("-m 18", "umask=18");
    check("-m 0", "umask=0");
}

#[test]
fn times_have_units_where_seconds_are_meant() {
    check("-t 500ms", "timeout=500ms");
    check("--request-timeout 2m", "request_timeout=2m");
    check(
        "--backlog 2m",
        "wrong: argument --backlog: invalid int value: '2m'",
    );
}

#[test]
fn under_gunicorns_name_its_flags_come_first() {
    check("--python venv", "python=venv");
    check("--control here", "control=here");
    assert_eq!(shown("gunicorn", "--python lib"), "pythonpath=lib");
    assert_eq!(
        shown("gunicorn", "--control here"),
        "wrong: ambiguous option: --control could match --control-socket, --control-socket-mode"
    );
    assert_eq!(
        shown("/usr/bin/gunicorn", "--request-timeout 3"),
        "request_timeout=3"
    );
}

#[test]
fn names_and_flags_are_there_once() {
    let mut seen = std::collections::HashSet::new();
    for setting in table::all() {
        assert!(seen.insert(setting.name), "{} twice", setting.name);
        for flag in setting.flags {
            assert!(seen.insert(flag), "{flag} twice");
        }
    }
    assert_eq!(table::of_gunicorn().len(), 120);
}
