//! A checked configuration as YAML that means the same: what `convert` prints of a supervisord.conf. Only what differs
//! from the YAML's defaults is written.
//! Not here: writing YAML text (`trine_config::yaml`), which processes are one program (`programs`).

mod programs;

use super::{
    Config, Destination, Habits, Hangup, HttpServer, Level, Loaded, LogFormat, LogTarget, Output,
    Process, Socket,
};
use crate::program::state::{AutoRestart, Scope};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use trine_config::{Problems, yaml};

/// Keys and values in the order in which they are written.
#[derive(Debug, Default)]
struct Block(Vec<(String, Node)>);

#[derive(Debug)]
enum Node {
    Value(Value),
    Block(Block),
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (key, node) in &self.0 {
            match node {
                Node::Value(value) => map.serialize_entry(key, value)?,
                Node::Block(block) => map.serialize_entry(key, block)?,
            }
        }
        map.end()
    }
}

impl Block {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push((key.to_owned(), Node::Value(value.into())));
    }

    fn set_if(&mut self, differs: bool, key: &str, value: impl Into<Value>) {
        if differs {
            self.set(key, value);
        }
    }

    fn set_some<T: Into<Value>>(&mut self, key: &str, value: Option<T>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Nothing if it is empty.
    fn put(&mut self, key: &str, block: Self) {
        if !block.0.is_empty() {
            self.0.push((key.to_owned(), Node::Block(block)));
        }
    }

    /// Keys that were written as in YAML already.
    fn put_typed(&mut self, text: &str) {
        let read = yaml::parse::<Value>(text, Path::new("keys"), &mut Problems::new());
        if let Some(Value::Object(map)) = read.map(|document| document.raw) {
            for (key, value) in map {
                self.0.retain(|(known, _)| *known != key);
                self.set(&key, value);
            }
        }
    }
}

/// The text of the YAML.
pub fn to_yaml(loaded: &Loaded) -> Result<String, yaml::WriteError> {
    let config = &loaded.config;
    let mut out = Block::default();
    out.set_some("control", config.control.as_deref().map(path));
    out.set_some("pidfile", config.pidfile.as_deref().map(path));
    out.put("log", log(config));
    out.set_if(
        config.identifier != "supervisor",
        "identifier",
        config.identifier.as_str(),
    );
    daemon(config, &mut out);
    out.set_if(config.hangup == Hangup::Restart, "hangup", "restart");
    let of_supervisord = config.habits == Habits::Supervisord;
    out.set_if(of_supervisord, "habits", "supervisord");
    let typed = |section: &str| loaded.beyond.get(section).map_or("", String::as_str);
    let said: Vec<String> = out.0.iter().map(|(key, _)| key.clone()).collect();
    let mut more = Block::default();
    more.put_typed(typed("supervisord"));
    more.0
        .retain(|(key, _)| !said.contains(key) && key != "hangup" && key != "habits");
    out.0.append(&mut more.0);
    let mut servers = Block::default();
    for one in &config.servers {
        servers.put(&one.name, server(one));
    }
    out.put("servers", servers);
    let usual = ["supervisor".to_owned()];
    let names = config.rpc_namespaces.clone();
    out.set_if(config.rpc_namespaces != usual, "rpcinterfaces", names);
    out.put("supervisorctl", client(config));
    programs::put(loaded, &mut out);
    yaml::write(&out)
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn octal(bits: u32) -> String {
    let digits = format!("{bits:03o}");
    if digits.starts_with('0') {
        digits
    } else {
        format!("0{digits}")
    }
}

fn log(config: &Config) -> Block {
    let log = &config.log;
    let mut out = Block::default();
    match log.format {
        LogFormat::Text => {}
        LogFormat::Json => out.set("format", "json"),
        LogFormat::Supervisord => out.set("format", "supervisord"),
    }
    out.set_if(log.level != Level::Info, "level", log.level.name());
    match &log.target {
        LogTarget::Stderr => {}
        LogTarget::Syslog => out.set("file", "syslog"),
        LogTarget::File(file) => out.set("file", path(file)),
    }
    out.set_if(log.max_bytes != 50 << 20, "maxbytes", log.max_bytes);
    out.set_if(log.backups != 10, "backups", log.backups);
    out
}

fn daemon(config: &Config, out: &mut Block) {
    let daemon = &config.daemon;
    out.set_if(daemon.daemonize, "nodaemon", false);
    out.set_if(daemon.silent, "silent", true);
    out.set_some("umask", daemon.umask.map(octal));
    out.set_some("directory", daemon.directory.as_deref().map(path));
    out.set_some("user", daemon.user.clone());
    out.set_if(daemon.min_descriptors > 0, "minfds", daemon.min_descriptors);
    out.set_if(daemon.min_processes > 0, "minprocs", daemon.min_processes);
    out.put("environment", environment(&daemon.environment));
    let logs = &config.child_logs;
    out.set_some("childlogdir", logs.folder.as_deref().map(path));
    out.set_if(logs.keep, "nocleanup", true);
    out.set_if(logs.strip_ansi, "strip_ansi", true);
}

fn environment(variables: &BTreeMap<String, String>) -> Block {
    let pairs = variables.iter();
    let node = |value: &String| Node::Value(value.as_str().into());
    Block(
        pairs
            .map(|(name, value)| (name.clone(), node(value)))
            .collect(),
    )
}

fn server(server: &HttpServer) -> Block {
    let mut out = Block::default();
    out.set("listen", server.address.as_str());
    out.set_if(server.mode != 0o700, "mode", octal(server.mode));
    out.set_some("owner", server.owner.clone());
    if let Some(credentials) = &server.credentials {
        out.set("username", credentials.username.as_str());
        out.set("password", credentials.password.as_str());
    }
    out
}

fn client(config: &Config) -> Block {
    let client = &config.client;
    let mut out = Block::default();
    let url = client.server_url.as_str();
    out.set_if(url != "http://localhost:9001", "serverurl", url);
    out.set_some("username", client.username.clone());
    out.set_some("password", client.password.clone());
    let prompt = client.prompt.as_str();
    out.set_if(prompt != "supervisor", "prompt", prompt);
    out.set_some("history_file", client.history_file.as_deref().map(path));
    out
}

/// `id`: of one of its processes.
fn program(loaded: &Loaded, process: &Process, id: &str) -> Block {
    let mut out = Block::default();
    let split = shell_words::split(&process.command_line);
    // What cannot be split never ran; the YAML's check says so.
    if process.command.is_empty() || split.is_ok_and(|words| words == process.command) {
        out.set("command", process.command_line.as_str());
    } else {
        out.set("command", process.command.clone());
    }
    out.set(
        "directory",
        process
            .directory
            .as_deref()
            .map_or("inherit".to_owned(), path),
    );
    out.put("environment", environment(&process.environment));
    out.set_some("user", process.user.clone());
    out.set_some("umask", process.umask.map(octal));
    let listener = loaded
        .config
        .group(&process.group)
        .and_then(|g| g.listener.as_ref());
    if let Some(listener) = listener {
        out.set("events", listener.events.clone());
        out.set_if(
            listener.buffer_size != 10,
            "buffer_size",
            listener.buffer_size,
        );
    }
    out.set_if(process.priority != 999, "priority", process.priority);
    out.set_if(!process.autostart, "autostart", false);
    policy(process, &mut out);
    if let Some(one) = &process.stdin_socket {
        out.put("stdin_socket", socket(one));
    }
    output("stdout", &process.stdout, &mut out);
    if process.redirect_stderr {
        out.set("redirect_stderr", true);
    }
    output("stderr", &process.stderr, &mut out);
    if process.redirect_stderr {
        out.0.retain(|(key, _)| key != "stderr_logfile");
    }
    out.set_some("serverurl", process.server_url.clone());
    let lets_live = !process.extras.kill_descendants;
    out.set_if(lets_live, "kill_descendants", false);
    let typed = loaded
        .sections
        .get(id)
        .and_then(|(section, _)| loaded.beyond.get(section));
    out.put_typed(typed.map_or("", String::as_str));
    out
}

fn policy(process: &Process, out: &mut Block) {
    let policy = &process.policy;
    match policy.auto_restart {
        AutoRestart::Unexpected => {}
        AutoRestart::Always => out.set("autorestart", true),
        AutoRestart::Never => out.set("autorestart", false),
    }
    out.set_if(
        policy.exit_codes != [0],
        "exitcodes",
        policy.exit_codes.clone(),
    );
    let seconds = |given: Duration| match given.subsec_millis() {
        0 => format!("{}s", given.as_secs()),
        _ => format!("{}ms", given.as_millis()),
    };
    let one = Duration::from_secs(1);
    out.set_if(
        policy.start_secs != one,
        "startsecs",
        seconds(policy.start_secs),
    );
    out.set_if(
        policy.start_retries != 3,
        "startretries",
        policy.start_retries,
    );
    let signal = nix::sys::signal::Signal::try_from(policy.stop_signal).map_or_else(
        |_| policy.stop_signal.to_string(),
        |signal| signal.to_string(),
    );
    out.set_if(
        policy.stop_signal != 15,
        "stopsignal",
        signal.trim_start_matches("SIG"),
    );
    let ten = Duration::from_secs(10);
    out.set_if(
        policy.stop_wait != ten,
        "stopwaitsecs",
        seconds(policy.stop_wait),
    );
    out.set_if(policy.stop_scope == Scope::Group, "stopasgroup", true);
    out.set_if(policy.kill_scope == Scope::Main, "killasgroup", false);
}

fn socket(socket: &Socket) -> Block {
    let mut out = Block::default();
    out.set("listen", socket.address.as_str());
    out.set("mode", octal(socket.mode));
    out.set_some("owner", socket.owner.clone());
    out.set("backlog", socket.backlog);
    out
}

fn output(channel: &str, output: &Output, out: &mut Block) {
    let to = match &output.to {
        Destination::Nowhere => "NONE".to_owned(),
        Destination::Auto => "AUTO".to_owned(),
        Destination::Path(file) => path(file),
    };
    let mut set =
        |differs, key: &str, value: Value| out.set_if(differs, &format!("{channel}_{key}"), value);
    set(true, "logfile", json!(to));
    set(
        output.max_bytes != 50 << 20,
        "logfile_maxbytes",
        json!(output.max_bytes),
    );
    set(
        output.backups != 10,
        "logfile_backups",
        json!(output.backups),
    );
    set(output.syslog, "syslog", json!(true));
    set(
        output.capture_bytes > 0,
        "capture_maxbytes",
        json!(output.capture_bytes),
    );
    set(output.events, "events_enabled", json!(true));
}
