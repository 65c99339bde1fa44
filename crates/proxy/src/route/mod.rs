//! Which server and location answer a request. Pure: the head and the configuration in, a decision out.
//!
//! Not here: doing what was decided (`files`, `upstream`), or limits on bodies.

pub(crate) mod host;
pub(crate) mod path;

use crate::config::{Config, Content, Location, Locations, Matcher};
use crate::pattern::Captures;

/// The location for a normalised path, or the one that would answer if a slash were added.
#[derive(Debug)]
pub(crate) enum Found<'c> {
    Location(&'c Location, Option<Box<Captures>>),
    /// `/static` was asked for, and there is `/static/`: redirect.
    AddSlash,
    Nothing,
}

/// Finds the location for `path` as nginx does: an exact one; else the longest prefix, unless an expression matches.
///
/// As in nginx, a proxied `/api/` also takes `/api`, by a redirect; in a YAML file served files do so too, if nobody
/// else wants the path.
pub(crate) fn location<'c>(config: &Config, level: &'c Locations, path: &[u8]) -> Found<'c> {
    let mut search = Search {
        config,
        path,
        best: Found::Nothing,
        slash: false,
    };
    search.level(level);
    match search.best {
        Found::Nothing if search.slash => Found::AddSlash,
        found => found,
    }
}

struct Search<'a, 'c> {
    config: &'a Config,
    path: &'a [u8],
    best: Found<'c>,
    /// Adding a slash would help, if nothing else is found.
    slash: bool,
}

impl<'c> Search<'_, 'c> {
    /// Looks through one level; true when nothing further can change the outcome.
    fn level(&mut self, level: &'c Locations) -> bool {
        let mut stops = false;
        for location in &level.plain {
            match self.fits(location) {
                Fit::No => {}
                Fit::Exact => {
                    self.best = Found::Location(location, None);
                    return true;
                }
                Fit::Slash => {
                    self.best = Found::AddSlash;
                    return true;
                }
                Fit::Perhaps => self.slash = true,
                Fit::Prefix { last } => {
                    self.best = Found::Location(location, None);
                    stops = last;
                    if self.level(&location.nested) {
                        return true;
                    }
                    break;
                }
            }
        }
        if stops {
            return false;
        }
        for location in &level.regexes {
            if let Matcher::Regex(pattern) = &location.matcher
                && let Some(captures) = pattern.captures(self.path)
            {
                self.best = Found::Location(location, Some(Box::new(captures)));
                self.level(&location.nested);
                return true;
            }
        }
        false
    }

    fn fits(&self, location: &Location) -> Fit {
        let path = self.path;
        let want = location.matcher.path().as_bytes();
        let lacks_slash =
            want.len() == path.len() + 1 && want.last() == Some(&b'/') && want.starts_with(path);
        let proxied = || {
            let content = &self.config.rules(location.rules).content;
            matches!(content, Content::Proxy(_))
        };
        match &location.matcher {
            Matcher::Exact(_) if path == want => Fit::Exact,
            Matcher::Prefix { stops, .. } if path.starts_with(want) => Fit::Prefix { last: *stops },
            Matcher::Below(_) if path.starts_with(want) => {
                let whole = want.last() == Some(&b'/')
                    || path.len() == want.len()
                    || path[want.len()] == b'/';
                if whole {
                    Fit::Prefix { last: true }
                } else {
                    Fit::No
                }
            }
            Matcher::Prefix { .. } | Matcher::Below(_) if lacks_slash && proxied() => Fit::Slash,
            Matcher::Below(_) if lacks_slash => Fit::Perhaps,
            _ => Fit::No,
        }
    }
}

enum Fit {
    No,
    Exact,
    Slash,
    Perhaps,
    Prefix { last: bool },
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
            let got = match location(&config, &config.servers[0].locations, path.as_bytes()) {
                Found::Location(found, _) => found.matcher.path(),
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

    #[test]
    fn as_nginx_searches() {
        let config = crate::config::testing::nginx(
            "location / {} location = /x { return 204; } location /p/ { proxy_pass http://127.0.0.1:1; }
             location ^~ /img/ {} location /doc { location /doc/deep { } location ~ \\.md$ { } }
             location ~ \\.png$ { } location ~* ^/CASE$ { }",
        );
        let check = |path: &str, want: &str| {
            let got = match location(&config, &config.servers[0].locations, path.as_bytes()) {
                Found::Location(found, _) => format!("{:?}", found.matcher),
                Found::AddSlash => "add a slash".to_owned(),
                Found::Nothing => "nothing".to_owned(),
            };
            assert!(got.contains(want), "{path}: {got}, not {want}");
        };
        check("/x", "Exact(\"/x\")");
        check("/xy", "\"/\"");
        check("/p", "add a slash");
        check("/a.png", ".png");
        check("/img/a.png", "/img/");
        check("/document", "/doc\"");
        check("/doc/deep/x.png", ".png");
        check("/doc/deep/x.md", ".md");
        check("/doc/deep/x", "/doc/deep");
        check("/doc/x.md", ".md");
        check("/case", "CASE");
    }
}
