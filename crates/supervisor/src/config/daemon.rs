//! What concerns the supervisor itself: its log, its life as a process, its HTTP servers and their clients.
//! Not here: programs (`program`), or doing any of it.

use super::endpoints::octal;
use super::raw::{RawClient, RawLog, RawServer};
use super::values::Word;
use super::yaml::absolute;
use super::{Client, Credentials, Habits, Hangup, HttpServer, Level, Log, LogFormat, LogTarget};
use std::collections::BTreeMap;
use std::path::Path;
use trine_config::{ByteSize, ListenAddr, Place, Problems};

const SERVER_MODE: u32 = 0o700;

pub(super) fn check_log(raw: RawLog, at: &Place, folder: &Path, problems: &mut Problems) -> Log {
    let format = match raw.format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some("supervisord") => LogFormat::Supervisord,
        Some(other) => {
            problems.push(
                at.key("format"),
                format!("{other:?} is not known here"),
                "there are text, json and supervisord",
            );
            LogFormat::Text
        }
    };
    let level = raw.level.as_deref().unwrap_or("info");
    let level = problems.keep(at.key("level"), level.parse());
    let target = match raw.file.as_deref() {
        None => LogTarget::Stderr,
        Some("syslog") => LogTarget::Syslog,
        Some(path) => LogTarget::File(absolute(folder, path)),
    };
    Log {
        format,
        level: level.unwrap_or(Level::Info),
        target,
        max_bytes: raw.maxbytes.unwrap_or(ByteSize::mib(50)).bytes(),
        backups: raw.backups.unwrap_or(10),
    }
}

pub(super) fn check_hangup(raw: Option<&Word>, at: &Place, problems: &mut Problems) -> Hangup {
    match raw.map(|word| word.0.as_str()) {
        None | Some("reload") => Hangup::Reload,
        Some("restart") => Hangup::Restart,
        Some(other) => {
            problems.push(
                at.clone(),
                format!("{other:?} is not known here"),
                "there are reload and restart",
            );
            Hangup::Reload
        }
    }
}

pub(super) fn check_habits(raw: Option<&Word>, at: &Place, problems: &mut Problems) -> Habits {
    match raw.map(|word| word.0.as_str()) {
        None | Some("own") => Habits::Own,
        Some("supervisord") => Habits::Supervisord,
        Some(other) => {
            problems.push(
                at.clone(),
                format!("{other:?} is not known here"),
                "there are own and supervisord",
            );
            Habits::Own
        }
    }
}

pub(super) fn check_servers(
    raw: BTreeMap<String, RawServer>,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<HttpServer> {
    let mut servers = Vec::new();
    for (name, raw) in raw {
        let at = at.key(&name);
        let mode = raw.mode.map_or(Some(SERVER_MODE), |word| {
            octal(&word.0, &at.key("mode"), problems)
        });
        let credentials = match (raw.username, raw.password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some(Credentials {
                username: username.0,
                password: password.0,
            }),
            (username, _) => {
                let missing = if username.is_none() {
                    "username"
                } else {
                    "password"
                };
                problems.missing(
                    at.key(missing),
                    "give both username and password, or neither",
                );
                continue;
            }
        };
        let Some(listen) = raw.listen else {
            problems.missing(at.key("listen"), "say where, such as 127.0.0.1:9001");
            continue;
        };
        let address = problems.keep(at.key("listen"), server_address(&listen.0, folder));
        if let (Some(address), Some(mode)) = (address, mode) {
            servers.push(HttpServer {
                name,
                address,
                mode,
                owner: raw.owner.map(|word| word.0),
                credentials,
                get_actions: raw.get_actions.unwrap_or(false),
            });
        }
    }
    servers
}

/// Host names stay, to be looked up when the server is started.
pub(super) fn server_address(text: &str, folder: &Path) -> Result<String, String> {
    match text.parse::<ListenAddr>() {
        Ok(address @ ListenAddr::Unix(_)) => Ok(address.resolved_in(folder).to_string()),
        Ok(ListenAddr::Tcp(_)) => Ok(match text.rsplit_once(':') {
            None => format!(":{text}"),
            Some(("*", port)) => format!(":{port}"),
            Some(_) => text.to_owned(),
        }),
        Ok(_) => Ok(text.to_owned()),
        Err(err) => {
            let named = text.split_once(':').is_some_and(|(host, port)| {
                host.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && host
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if named {
                Ok(text.to_owned())
            } else {
                Err(err.to_string())
            }
        }
    }
}

pub(super) fn check_client(raw: RawClient, folder: &Path) -> Client {
    Client {
        server_url: raw
            .serverurl
            .unwrap_or_else(|| "http://localhost:9001".to_owned()),
        username: raw.username.map(|word| word.0),
        password: raw.password.map(|word| word.0),
        prompt: raw.prompt.unwrap_or_else(|| "supervisor".to_owned()),
        history_file: raw.history_file.map(|path| absolute(folder, &path)),
    }
}
