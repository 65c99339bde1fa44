//! Which server and location answer a request. Pure: the head and the configuration in, a decision out.
//!
//! Not here: doing what was decided (`files`, `upstream`), or limits on bodies.

pub(crate) mod host;
pub(crate) mod path;

use crate::config::{Action, Config, Location, PathMatch, Server};

/// The location for a normalised path, or the one that would answer if a slash were added.
#[derive(Debug)]
pub(crate) enum Found<'c> {
    Location(&'c Location),
    /// `/static` was asked for, and there is `/static/`: redirect.
    AddSlash,
    Nothing,
}

/// The server for this request; `None` if nothing answers on this listener any more.
pub(crate) fn server<'c>(
    config: &'c Config,
    servers: &[usize],
    authority: Option<&[u8]>,
) -> Option<&'c Server> {
    host::find(config, servers, authority).map(|index| &config.servers[index])
}

/// The longest location that holds `path`. The locations are sorted, longest first.
///
/// As in nginx, a proxied `/api/` also takes `/api`, by a redirect; served files only if nobody else wants it.
pub(crate) fn location<'c>(server: &'c Server, path: &[u8]) -> Found<'c> {
    let mut otherwise = Found::Nothing;
    for location in &server.locations {
        let PathMatch::Below(prefix) = &location.path;
        let prefix = prefix.as_bytes();
        if path.starts_with(prefix) {
            if prefix.ends_with(b"/") || path.len() == prefix.len() || path[prefix.len()] == b'/' {
                return Found::Location(location);
            }
        } else if prefix.len() == path.len() + 1
            && prefix.ends_with(b"/")
            && prefix.starts_with(path)
        {
            match location.action {
                Action::Proxy(_) => return Found::AddSlash,
                Action::Files(_) => otherwise = Found::AddSlash,
            }
        }
    }
    otherwise
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    #[test]
    fn longest_location_wins() {
        let config = config(
            "servers:\n\
             - listen: 8000\n  \
               locations:\n  \
               - { path: /api, proxy: '127.0.0.1:1' }\n  \
               - { path: /static/, files: . }\n  \
               - { path: /api/v2/, proxy: '127.0.0.1:1' }\n",
        );
        let check = |path: &str, want: &str| {
            let got = match location(&config.servers[0], path.as_bytes()) {
                Found::Location(found) => found.path(),
                Found::AddSlash => "add a slash",
                Found::Nothing => "nothing",
            };
            assert_eq!(got, want, "{path}");
        };
        check("/", "nothing");
        check("/api", "/api");
        check("/api/", "/api");
        check("/api/v1", "/api");
        check("/apiary", "nothing");
        check("/api/v2", "add a slash");
        check("/api/v2/x", "/api/v2/");
        check("/static", "add a slash");
        check("/static/", "/static/");
        check("/static/a/b.css", "/static/");
        check("/statica", "nothing");
        check("/stati", "nothing");
    }
}
