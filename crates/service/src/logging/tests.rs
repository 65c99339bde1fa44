//! Lines as a reader of the file sees them.

use std::fs;
use std::io;

use super::*;

fn lines(format: LogFormat, log: impl FnOnce(&LogHandle, &std::path::Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.log");
    let target = LogTarget::File(path.clone());
    let (subscriber, handle) = build(&LogSettings {
        format,
        target,
        ..LogSettings::new("proxy")
    })
    .unwrap();
    tracing::subscriber::with_default(subscriber, || log(&handle, &path));
    fs::read_to_string(path).unwrap()
}

#[track_caller]
fn check_text(log: impl FnOnce(), want: &str) {
    let text = lines(LogFormat::Text, |_, _| log());
    let (time, rest) = text.split_once(' ').unwrap();
    assert_eq!(
        (time.len(), &time[19..20], &time[23..]),
        (24, ".", "Z"),
        "{time}"
    );
    assert_eq!(rest, want);
}

#[test]
fn text() {
    check_text(|| tracing::info!("ready"), "INFO proxy: ready\n");
    check_text(
        || tracing::warn!(addr = "127.0.0.1:80", n = 3, name = "a b", "in use"),
        "WARN proxy: in use addr=127.0.0.1:80 n=3 name=\"a b\"\n",
    );
    check_text(|| tracing::error!(worker = 1), "ERROR proxy: worker=1\n");
    check_text(
        || tracing::info!(name = "c\nd", "a\nforged {}", "line\u{1b}"),
        "INFO proxy: a\n  forged line\\u{1b} name=\"c\\nd\"\n",
    );
    let error: &(dyn std::error::Error + 'static) = &io::Error::other("too slow");
    check_text(
        || tracing::info!(error, "gave up"),
        "INFO proxy: gave up error=\"too slow\"\n",
    );
}

#[track_caller]
fn check_gunicorn(log: impl FnOnce(), want: &str) {
    let text = lines(LogFormat::Gunicorn, |_, _| log());
    let (time, rest) = text.split_once("] ").unwrap();
    assert!(
        jiff::Zoned::strptime("[%Y-%m-%d %H:%M:%S %z", time).is_ok(),
        "{time}"
    );
    assert_eq!(rest, format!("[{}] {want}", std::process::id()));
}

#[test]
fn gunicorns_lines() {
    check_gunicorn(|| tracing::info!("ready"), "[INFO] ready\n");
    check_gunicorn(
        || tracing::warn!(n = 3, "first\nsecond\rforged"),
        "[WARNING] first\nsecond\\rforged n=3\n",
    );
    check_gunicorn(
        || tracing::error!(critical = true, "WORKER TIMEOUT (pid:3)"),
        "[CRITICAL] WORKER TIMEOUT (pid:3)\n",
    );
}

#[test]
fn relayed() {
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let text = lines(LogFormat::Gunicorn, |handle, _| {
        let list = Arc::clone(&taken);
        handle.relay(Some(Arc::new(move |line: &Line<'_>| {
            let said = format!("{} {} {}", line.level, line.critical, line.message);
            list.lock().unwrap().push(said);
            line.level != Level::WARN
        })));
        tracing::debug!("left out");
        tracing::error!(critical = true, worker = 1, "a\nb");
        tracing::warn!("not wanted");
        handle.relay(None);
        tracing::info!("ours again");
    });
    assert_eq!(
        *taken.lock().unwrap(),
        ["ERROR true a\nb worker=1", "WARN false not wanted"]
    );
    let kept: Vec<&str> = text
        .lines()
        .map(|line| line.rsplit("] ").next().unwrap())
        .collect();
    assert_eq!(kept, ["not wanted", "ours again"]);
}

#[test]
fn supervisord() {
    let text = lines(LogFormat::Supervisord, |_, _| {
        tracing::info!("spawned: 'web' with pid 7");
        tracing::error!(critical = true, "two\nlines");
    });
    let mut said = text.lines();
    let line = said.next().unwrap();
    let (time, rest) = line.split_at("2026-11-23 10:00:00,123 ".len());
    assert_eq!(rest, "INFO spawned: 'web' with pid 7");
    assert!(
        time.ends_with(' ') && time.as_bytes()[19] == b',',
        "{time:?}"
    );
    assert!(said.next().unwrap().ends_with(" CRIT two"), "{text}");
}

#[test]
fn json() {
    let text = lines(LogFormat::Json, |_, _| {
        tracing::info!(n = 3, ok = true, time = "forged", "started \"x\"")
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&line["n"], &line["ok"], &line["level"]),
        (&3.into(), &true.into(), &"info".into())
    );
    assert_eq!(
        (&line["message"], &line["program"]),
        (&"started \"x\"".into(), &"proxy".into())
    );
    assert_eq!(line["pid"], std::process::id());
    assert_ne!(line["time"], "forged");
    assert!(text.ends_with("}\n"));
}

#[test]
fn level_and_reopen() {
    let text = lines(LogFormat::Text, |handle, path| {
        tracing::debug!("left out");
        handle.set_level(Level::DEBUG);
        tracing::debug!("moved away");
        let old = path.with_extension("1");
        fs::rename(path, &old).unwrap();
        tracing::info!("still in the old file");
        handle.reopen().unwrap();
        tracing::info!("in the new file");
        assert_eq!(fs::read_to_string(old).unwrap().lines().count(), 2);
    });
    assert!(
        text.ends_with("INFO proxy: in the new file\n") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn words() {
    assert_eq!(parse_level("WARNING"), Ok(Level::WARN));
    assert!(parse_level("loud").unwrap_err().contains("there are error"));
    assert_eq!("json".parse(), Ok(LogFormat::Json));
    assert!("xml".parse::<LogFormat>().is_err());
}

#[test]
fn unopenable() {
    let target = LogTarget::File("/nonexistent/x.log".into());
    let error = build(&LogSettings {
        target,
        ..LogSettings::new("proxy")
    })
    .err()
    .unwrap();
    assert_eq!(error.to_string(), "cannot open log file /nonexistent/x.log");
}
