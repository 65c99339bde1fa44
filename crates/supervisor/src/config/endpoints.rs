//! Where a program listens, and where it is asked whether it is ready.
//! Not here: the rest of a program (`program`), binding or asking.

use super::raw::{RawReady, RawSocket};
use super::values::{TextOrBlock, Word};
use super::yaml::absolute;
use super::{HttpPeer, Ready, Socket};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use trine_config::{ListenAddr, Place, Problems};

const BACKLOG: u32 = 2048;
const SOCKET_MODE: u32 = 0o660;

pub(super) fn check_sockets(
    raw: &BTreeMap<String, TextOrBlock<RawSocket>>,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for (name, raw) in raw {
        let at = at.key(name);
        if name.is_empty()
            || name.len() > 255
            || name.contains(|c: char| !c.is_ascii_graphic() || c == ':')
        {
            problems.push(
                at.clone(),
                "not usable as the name of a socket",
                "leave out spaces and colons",
            );
        }
        sockets.extend(check_socket(
            name.clone(),
            raw.clone(),
            &at,
            folder,
            problems,
        ));
    }
    sockets
}

pub(super) fn check_socket(
    name: String,
    raw: TextOrBlock<RawSocket>,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Socket> {
    let raw = match raw {
        TextOrBlock::Text(listen) => RawSocket {
            listen: Some(Word(listen)),
            ..RawSocket::default()
        },
        TextOrBlock::Block(raw) => raw,
    };
    let mode = raw.mode.map_or(Some(SOCKET_MODE), |word| {
        octal(&word.0, &at.key("mode"), problems)
    });
    let Some(listen) = raw.listen else {
        problems.missing(at.key("listen"), "say where, such as 127.0.0.1:8000");
        return None;
    };
    let address = problems.keep(at.key("listen"), ListenAddr::from_str(&listen.0));
    Some(Socket {
        name,
        address: address?.resolved_in(folder).to_string(),
        mode: mode?,
        owner: raw.owner.map(|word| word.0),
        backlog: raw.backlog.unwrap_or(BACKLOG),
    })
}

pub(super) fn check_ready(
    raw: Option<&TextOrBlock<RawReady>>,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> Ready {
    let ways = "there are startsecs, notify, { http: URL }, { tcp: HOST:PORT }, { exec: COMMAND }, { log: TEXT } and { fd: NUMBER }";
    let parts = match raw {
        None => return Ready::Age,
        Some(TextOrBlock::Block(raw)) => raw.clone(),
        Some(TextOrBlock::Text(word)) => match (word.as_str(), word.split_once(':')) {
            ("startsecs", _) => return Ready::Age,
            ("notify", _) => return Ready::Notify,
            (_, Some(("http", rest))) if rest.starts_with("//") => RawReady {
                http: Some(word.clone()),
                ..RawReady::default()
            },
            (_, Some((kind, rest))) => in_one_text(kind, rest.trim()),
            _ => RawReady::default(),
        },
    };
    let mut found = Vec::new();
    if let Some(url) = &parts.http {
        found.extend(problems.keep(at.key("http"), http_target(url, folder)));
    }
    if let Some(address) = &parts.tcp {
        let address = problems.keep(at.key("tcp"), host_port(&address.0));
        found.extend(address.map(|address| Ready::Tcp { address }));
    }
    if let Some(Word(line)) = &parts.exec {
        match shell_words::split(line) {
            Ok(command) if !command.is_empty() => found.push(Ready::Exec { command }),
            _ => problems.push(
                at.key("exec"),
                "not usable as a command",
                "close its quotes",
            ),
        }
    }
    if let Some(Word(text)) = parts.log.clone().filter(|text| !text.0.is_empty()) {
        found.push(Ready::Log { text });
    }
    match parts.fd {
        Some(number) if number >= 3 => found.push(Ready::Descriptor { number }),
        Some(number) => problems.push(
            at.key("fd"),
            format!("expected 3 or more, found {number}"),
            "0, 1 and 2 are the standard streams",
        ),
        None => {}
    }
    match <[Ready; 1]>::try_from(found) {
        Ok([ready]) => ready,
        Err(found) => {
            let typed = match raw {
                Some(TextOrBlock::Text(word)) => format!("{word:?} is not known here"),
                _ if found.is_empty() => "says nothing that is usable".to_owned(),
                _ => "says more than one thing".to_owned(),
            };
            problems.push(at.clone(), typed, ways);
            Ready::Age
        }
    }
}

/// `exec:test -e ready` and the like, as one text.
fn in_one_text(kind: &str, rest: &str) -> RawReady {
    let mut raw = RawReady::default();
    let word = Some(Word(rest.to_owned())).filter(|_| !rest.is_empty());
    match kind {
        "http" => raw.http = Some(rest.to_owned()),
        "tcp" => raw.tcp = word,
        "exec" => raw.exec = word,
        "log" => raw.log = word,
        "fd" => raw.fd = Some(rest.parse().unwrap_or(-1)),
        _ => {}
    }
    raw
}

fn http_target(url: &str, folder: &Path) -> Result<Ready, String> {
    let expected = || format!("expected http://HOST:PORT/PATH or unix:SOCKET:/PATH, found {url:?}");
    if let Some(rest) = url.strip_prefix("unix:") {
        let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
        let socket = Some(socket)
            .filter(|socket| !socket.is_empty())
            .ok_or_else(expected)?;
        return Ok(Ready::Http {
            peer: HttpPeer::Unix(absolute(folder, socket)),
            path: format!("/{path}"),
        });
    }
    let rest = url.strip_prefix("http://").ok_or_else(expected)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    Ok(Ready::Http {
        peer: HttpPeer::Tcp(host_port(&address).map_err(|_| expected())?),
        path: format!("/{path}"),
    })
}

fn host_port(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("expected HOST:PORT, found {text:?}"))
    }
}

pub(super) fn octal(text: &str, at: &Place, problems: &mut Problems) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        // YAML reads a bare 022 as it likes; only a leading zero shows what was meant.
        Ok(value) if value <= 0o7777 && text.starts_with('0') => Some(value),
        _ => {
            problems.push(
                at.clone(),
                format!("expected octal permission bits, found {text}"),
                "write them in quotes with a leading 0, such as \"022\"",
            );
            None
        }
    }
}
