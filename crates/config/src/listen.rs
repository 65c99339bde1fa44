//! Addresses to listen on, or to find a server at, as people write them.
//! Not here: resolving names, binding, or telling whether a descriptor was inherited.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::value::{Invalid, text_value};

/// Where to listen, or whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// `127.0.0.1:8000`, `[::1]:80`, `localhost:8000` (127.0.0.1), `:8000` and `8000` (every IPv4 address).
    Tcp(SocketAddr),
    /// `unix:/path`; a relative path is as it was written: see [`ListenAddr::resolved_in`].
    Unix(PathBuf),
    /// `fd:NAME`: the inherited descriptor of that name (LISTEN_FDNAMES).
    Fd(String),
    /// `fd://N`: the inherited descriptor with that number.
    FdNumber(i32),
}

const EXPECTED: &str =
    "an address such as \"127.0.0.1:8000\", \":8000\", \"unix:/run/app.sock\" or \"fd:NAME\"";

impl ListenAddr {
    /// A relative Unix path is taken from `folder`, where the config file lies.
    #[must_use]
    pub fn resolved_in(self, folder: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(folder.join(path)),
            other => other,
        }
    }
}

impl FromStr for ListenAddr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text.trim()).ok_or_else(|| Invalid::new(EXPECTED, text))
    }
}

fn parse(text: &str) -> Option<ListenAddr> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path
            .strip_prefix("//")
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(path);
        let usable = !path.is_empty() && !path.ends_with('/') && !path.contains('\0');
        return usable.then(|| ListenAddr::Unix(path.into()));
    }
    if let Some(number) = text.strip_prefix("fd://") {
        return number
            .parse()
            .ok()
            .filter(|fd| *fd >= 0)
            .map(ListenAddr::FdNumber);
    }
    if let Some(name) = text.strip_prefix("fd:") {
        // LISTEN_FDNAMES separates by colons, and takes no control characters.
        let usable = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        return usable.then(|| ListenAddr::Fd(name.to_owned()));
    }
    if let Ok(addr) = text.parse() {
        return Some(ListenAddr::Tcp(addr));
    }
    let (host, port) = text.split_once(':').unwrap_or(("", text));
    let port = port
        .parse()
        .ok()
        .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    let ip = match host {
        "" | "*" => Ipv4Addr::UNSPECIFIED,
        "localhost" => Ipv4Addr::LOCALHOST,
        _ => return None,
    };
    Some(ListenAddr::Tcp((ip, port).into()))
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Fd(name) => write!(f, "fd:{name}"),
            Self::FdNumber(number) => write!(f, "fd://{number}"),
        }
    }
}

text_value!(ListenAddr, "ListenAddr", EXPECTED, {
    "description": "An address: 127.0.0.1:8000, [::1]:80, :8000 or 8000 (all of IPv4), unix:/path, fd:NAME or fd://N (inherited).",
    "anyOf": [
        { "type": "string", "minLength": 1 },
        { "type": "integer", "minimum": 0, "maximum": 65535 },
    ],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match text.parse::<ListenAddr>() {
            Ok(addr) => {
                assert_eq!(
                    addr.to_string().parse(),
                    Ok(addr.clone()),
                    "{text:?} comes back"
                );
                addr.to_string()
            }
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn addresses() {
        check("127.0.0.1:8000", "127.0.0.1:8000");
        check(":8000", "0.0.0.0:8000");
        check("8000", "0.0.0.0:8000");
        check("*:8000", "0.0.0.0:8000");
        check("0", "0.0.0.0:0");
        check("[::1]:80", "[::1]:80");
        check("[::]:80", "[::]:80");
        check("localhost:8000", "127.0.0.1:8000");
        check("unix:/run/app.sock", "unix:/run/app.sock");
        check("unix:///run/app.sock", "unix:/run/app.sock");
        check("unix:run/app.sock", "unix:run/app.sock");
        check("fd:http", "fd:http");
        check("fd://3", "fd://3");
        for bad in [
            "",
            ":",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:70000",
            "::1:80",
            "[::1]",
            "+80",
            ":+80",
            "-1",
            "70000",
            "unix:",
            "unix:/run/",
            "fd:",
            "fd:a:b",
            "fd://",
            "fd://x",
            "fd://-1",
            "http://localhost:80",
            "example.org:80",
            "app.sock",
            "/run/app.sock",
            "80 90",
        ] {
            check(bad, "refused");
        }
    }

    #[test]
    fn relative_paths_count_from_the_config_file() {
        let resolve = |text: &str| {
            text.parse::<ListenAddr>()
                .unwrap()
                .resolved_in(Path::new("/etc/trine"))
                .to_string()
        };
        assert_eq!(resolve("unix:run/app.sock"), "unix:/etc/trine/run/app.sock");
        assert_eq!(resolve("unix:/run/app.sock"), "unix:/run/app.sock");
        assert_eq!(resolve("8000"), "0.0.0.0:8000");
    }
}
