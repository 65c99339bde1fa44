//! supervisord.conf as Supervisor reads it and as we do: every file of `corpus/supervisord` by both, every setting
//! compared. What differs has to be exactly what `differences.txt` there lists, with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::tools;
use serde_json::{Value, json};

/// Settings by their path, such as `processes.web:web.command`.
type Flat = BTreeMap<String, String>;

#[test]
fn files_mean_to_us_what_they_mean_to_supervisord() {
    let Some(venv) = tools::venv() else { return };
    let python = venv.join("bin/python");
    let folder = tools::repository().join("tests/corpus/supervisord");
    let files = files(&folder);
    assert!(files.len() >= 60, "{} files", files.len());
    let theirs = theirs(&python, &folder, &files);
    let mut found = String::new();
    for file in &files {
        let ours = ours(&folder, file);
        for (key, theirs, ours) in differing(&theirs[file], &ours) {
            let line = format!("{file}: {key}: supervisord {theirs}, we {ours}\n");
            found.push_str(&line.replace(&*folder.to_string_lossy(), "FOLDER"));
        }
    }
    let reviewed = std::fs::read_to_string(folder.join("differences.txt")).unwrap();
    let reviewed: Vec<&str> = reviewed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let found: Vec<&str> = found.lines().collect();
    let news: Vec<_> = found
        .iter()
        .filter(|line| !reviewed.contains(line))
        .collect();
    let gone: Vec<_> = reviewed
        .iter()
        .filter(|line| !line.is_empty() && !found.contains(line))
        .collect();
    assert!(
        news.is_empty() && gone.is_empty(),
        "new: {news:#?}\nno longer there: {gone:#?}"
    );
}

/// With a command that cannot be split: supervisord tells that when it starts the program, the YAML at once.
const NEVER_RAN: [&str; 2] = ["command-unclosed-quote.conf", "inline-comment.conf"];

/// What `convert` prints of a file means what the file means, to the last setting.
#[test]
fn files_converted_to_yaml_mean_the_same() {
    let folder = tools::repository().join("tests/corpus/supervisord");
    let place = tempfile::tempdir().unwrap();
    let yaml = place.path().join("s.yaml");
    let run = |args: &[&str]| {
        let mut command = Command::new(tools::binary("trine-supervisor"));
        surroundings(&mut command, &folder);
        let output = command.args(args).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, told)
    };
    let dump = |file: &str| {
        let (good, json, _) = run(&["--dump", "-c", file]);
        let mut config: Value = good.then(|| serde_json::from_slice(&json).unwrap())?;
        config.as_object_mut().unwrap().remove("file");
        let servers = config["servers"].as_array_mut().unwrap();
        servers.sort_by_key(|server| text(&server["name"]));
        Some(config)
    };
    let mut count = 0;
    for file in files(&folder) {
        let Some(before) = dump(&file) else { continue };
        let (good, converted, told) = run(&["convert", &file]);
        assert!(good, "{file}: {told}");
        std::fs::write(&yaml, &converted).unwrap();
        let converted = String::from_utf8(converted).unwrap();
        let path = yaml.to_str().unwrap();
        if NEVER_RAN.contains(&file.as_str()) {
            let (good, _, told) = run(&["--check", path]);
            assert!(
                !good && told.contains("a quote is not closed"),
                "{file}: {told}"
            );
            continue;
        }
        let mut after = dump(path)
            .unwrap_or_else(|| panic!("{file}: {}\n{converted}", run(&["--check", path]).2));
        if file == "command-escapes.conf" {
            // A shell would split it otherwise, so it is written as a list; the line as it was typed is lost.
            after["processes"][0]["command_line"] = before["processes"][0]["command_line"].clone();
        }
        assert_eq!(before, after, "{file}:\n{converted}");
        count += 1;
    }
    assert!(count >= 60, "{count} files");
}

/// Where a file is refused by one of the two, that is all there is to say.
fn differing(theirs: &Flat, ours: &Flat) -> Vec<(String, String, String)> {
    let value = |flat: &Flat, key: &str| {
        let found = flat.get(key).cloned();
        found.unwrap_or_else(|| if key == "file" { "accepted" } else { "absent" }.to_owned())
    };
    let is_refused = |flat: &Flat| flat.contains_key("file");
    let keys: BTreeSet<&String> = if is_refused(theirs) || is_refused(ours) {
        theirs
            .keys()
            .chain(ours.keys())
            .filter(|key| *key == "file")
            .collect()
    } else {
        theirs.keys().chain(ours.keys()).collect()
    };
    let all = keys
        .into_iter()
        .map(|key| (key.clone(), value(theirs, key), value(ours, key)));
    all.filter(|(_, theirs, ours)| theirs != ours).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".conf")).collect();
    names.sort();
    names
}

/// The same surroundings for both: variables are names in these files.
fn surroundings(command: &mut Command, folder: &Path) {
    command.current_dir(folder).env_clear().envs([
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/root"),
        ("TRINE_TEST", "env"),
    ]);
}

fn theirs(python: &Path, folder: &Path, files: &[String]) -> BTreeMap<String, Flat> {
    let mut command = Command::new(python);
    surroundings(&mut command, folder);
    let output = command.arg("settings.py").args(files).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let each = lines.lines().map(|line| {
        let mut settings: Value = serde_json::from_str(line).unwrap();
        let file = settings["file"].as_str().unwrap().to_owned();
        settings.as_object_mut().unwrap().remove("file");
        (file, flat(&settings))
    });
    each.collect()
}

fn ours(folder: &Path, file: &str) -> Flat {
    let mut command = Command::new(tools::binary("trine-supervisor"));
    surroundings(&mut command, folder);
    let output = command.args(["--dump", "-c", file]).output().unwrap();
    if !output.status.success() {
        return flat(&json!({ "refused": String::from_utf8_lossy(&output.stderr) }));
    }
    flat(&shape(&serde_json::from_slice(&output.stdout).unwrap()))
}

/// A refusal is compared as such, its words are each one's own.
fn flat(settings: &Value) -> Flat {
    let mut out = Flat::new();
    if settings.get("refused").is_some() {
        out.insert("file".to_owned(), "refused".to_owned());
    } else {
        flatten("", settings, &mut out);
    }
    out
}

fn flatten(path: &str, value: &Value, out: &mut Flat) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{key}"), value, out);
            }
        }
        other => drop(out.insert(path.to_owned(), other.to_string())),
    }
}

/// Our checked configuration in the shape of `settings.py`.
fn shape(config: &Value) -> Value {
    let daemon = &config["daemon"];
    let log = match &config["log"]["target"] {
        Value::Object(target) => target["file"].clone(),
        other => other.clone(),
    };
    let list = |key: &str| config[key].as_array().unwrap().clone();
    let servers = list("servers")
        .into_iter()
        .map(|server| (text(&server["name"]), shape_server(&server)));
    let groups = list("groups").into_iter().map(|group| {
        let mut entry = json!({ "priority": group["priority"] });
        if let Value::Object(listener) = &group["listener"] {
            entry["events"] = listener["events"].clone();
            entry["buffer_size"] = listener["buffer_size"].clone();
        }
        (text(&group["name"]), entry)
    });
    let processes = list("processes").into_iter().map(|process| {
        let id = format!("{}:{}", text(&process["group"]), text(&process["name"]));
        (id, shape_process(&process, &daemon["environment"]))
    });
    json!({
        "log": log,
        "log_max_bytes": config["log"]["max_bytes"],
        "log_backups": config["log"]["backups"],
        "level": config["log"]["level"],
        "pidfile": config["pidfile"],
        "umask": if daemon["umask"].is_null() { json!(0o22) } else { daemon["umask"].clone() },
        "nodaemon": json!(!daemon["daemonize"].as_bool().unwrap()),
        "silent": daemon["silent"],
        "minfds": daemon["min_descriptors"],
        "minprocs": daemon["min_processes"],
        "nocleanup": config["child_logs"]["keep"],
        "childlogdir": match &config["child_logs"]["folder"] {
            Value::Null => json!("/tmp"),
            folder => folder.clone(),
        },
        "uid": uid(&daemon["user"]),
        "directory": daemon["directory"],
        "strip_ansi": config["child_logs"]["strip_ansi"],
        "identifier": config["identifier"],
        "url": url(config),
        "rpc": config["rpc_namespaces"],
        "servers": servers.collect::<serde_json::Map<_, _>>(),
        "groups": groups.collect::<serde_json::Map<_, _>>(),
        "processes": processes.collect::<serde_json::Map<_, _>>(),
    })
}

/// As SUPERVISOR_SERVER_URL says it.
fn url(config: &Value) -> Value {
    let servers = config["servers"].as_array().unwrap();
    let addresses: Vec<String> = servers
        .iter()
        .map(|server| text(&server["address"]))
        .collect();
    let unix = addresses
        .iter()
        .find_map(|address| address.strip_prefix("unix:"));
    match (unix, addresses.last()) {
        (Some(path), _) => json!(format!("unix://{path}")),
        (None, Some(address)) if address.starts_with(':') => {
            json!(format!("http://localhost{address}"))
        }
        (None, Some(address)) => json!(format!("http://{address}")),
        (None, None) => Value::Null,
    }
}

fn shape_server(server: &Value) -> Value {
    let credential = |key: &str| server["credentials"].get(key).cloned().unwrap_or_default();
    let mut entry = json!({
        "address": server["address"],
        "username": credential("username"),
        "password": credential("password"),
    });
    if text(&server["address"]).starts_with("unix:") {
        entry["mode"] = server["mode"].clone();
        entry["owner"] = match &server["owner"] {
            Value::Null => json!([-1, -1]),
            owner => self::owner(owner),
        };
    }
    entry
}

fn shape_process(process: &Value, common: &Value) -> Value {
    let policy = &process["policy"];
    let seconds = |key: &str| policy[key]["secs"].clone();
    let mut environment = common.clone();
    for (name, value) in process["environment"].as_object().unwrap() {
        environment[name] = value.clone();
    }
    let mut entry = json!({
        "group_priority": process["group_priority"],
        "command": process["command_line"],
        "argv": process["command"],
        "directory": process["directory"],
        "environment": environment,
        "autorestart": policy["auto_restart"],
        "exitcodes": policy["exit_codes"],
        "serverurl": process["server_url"],
        "priority": process["priority"],
        "autostart": process["autostart"],
        "startsecs": seconds("start_secs"),
        "startretries": policy["start_retries"],
        "stopsignal": policy["stop_signal"],
        "stopwaitsecs": seconds("stop_wait"),
        "stopasgroup": policy["stop_scope"] == "group",
        "killasgroup": policy["kill_scope"] == "group",
        "uid": uid(&process["user"]),
        "umask": process["umask"],
        "redirect_stderr": process["redirect_stderr"],
    });
    for channel in ["stdout", "stderr"] {
        let output = &process[channel];
        entry[format!("{channel}_logfile")] = match &output["to"] {
            Value::String(word) if word == "nowhere" => json!("none"),
            Value::String(word) => json!(word),
            path => path["path"].clone(),
        };
        let keys = [
            ("logfile_maxbytes", "max_bytes"),
            ("logfile_backups", "backups"),
            ("capture_maxbytes", "capture_bytes"),
            ("events_enabled", "events"),
            ("syslog", "syslog"),
        ];
        for (theirs, ours) in keys {
            entry[format!("{channel}_{theirs}")] = output[ours].clone();
        }
    }
    if let socket @ Value::Object(_) = &process["stdin_socket"] {
        let address = text(&socket["address"]);
        let unix = address.strip_prefix("unix:");
        entry["socket"] = json!({
            "url": unix.map_or_else(|| format!("tcp://{address}"), |path| format!("unix://{path}")),
            "backlog": socket["backlog"],
            "mode": if unix.is_some() { socket["mode"].clone() } else { Value::Null },
            "owner": if unix.is_some() { owner(&socket["owner"]) } else { Value::Null },
        });
    }
    entry
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn uid(user: &Value) -> Value {
    match user.as_str() {
        None => Value::Null,
        Some(name) => json!(id_in("/etc/passwd", name, 2)),
    }
}

/// `user:group` as numbers; -1 is nobody in particular.
fn owner(owner: &Value) -> Value {
    let Some(owner) = owner.as_str() else {
        return Value::Null;
    };
    match owner.split_once(':') {
        Some((user, group)) => {
            json!([id_in("/etc/passwd", user, 2), id_in("/etc/group", group, 2)])
        }
        None => json!([
            id_in("/etc/passwd", owner, 2),
            id_in("/etc/passwd", owner, 3)
        ]),
    }
}

fn id_in(file: &str, name: &str, column: usize) -> i64 {
    let table = std::fs::read_to_string(PathBuf::from(file)).unwrap();
    let row = table
        .lines()
        .find(|line| line.split(':').next() == Some(name));
    let id = row.and_then(|row| row.split(':').nth(column));
    id.unwrap_or(name).parse().unwrap()
}
