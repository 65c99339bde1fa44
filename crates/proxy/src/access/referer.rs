//! `valid_referers`: whether a request says that it comes from a page of ours. Pure.
//!
//! Anybody can say so: this keeps other sites from showing our files, and nobody else. Not here: what is done about it (a
//! configuration says so by `if ($invalid_referer)`).

use crate::config::HostPattern;
use crate::pattern::Pattern;

/// Where requests may come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Referers {
    /// Those that do not say.
    pub(crate) none: bool,
    /// Those whose word somebody has taken out: it is no URL any more.
    pub(crate) blocked: bool,
    /// Hosts, each with what the path has to begin with.
    pub(crate) hosts: Vec<(HostPattern, String)>,
    /// What follows the scheme.
    pub(crate) regexes: Vec<Pattern>,
}

/// The longest host name that there can be.
const LONGEST_HOST: usize = 256;

impl Referers {
    /// Whether a request with this field may pass.
    pub(crate) fn allows(&self, referer: Option<&[u8]>) -> bool {
        let Some(referer) = referer else {
            return self.none;
        };
        let Some(rest) = without_scheme(referer) else {
            return self.blocked;
        };
        let is_end = |byte: &u8| matches!(byte, b'/' | b':');
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        let (host, behind) = rest.split_at(end);
        if host.len() > LONGEST_HOST {
            return false;
        }
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        if let Some((_, start)) = self.host(&host) {
            let path = behind.iter().position(|&byte| byte == b'/');
            let path = path.map_or(&[][..], |at| &behind[at..]);
            return path.starts_with(start.as_bytes());
        }
        let by_name = self.hosts.iter().any(|(pattern, _)| match pattern {
            HostPattern::Regex(pattern) => pattern.captures(host.as_bytes()).is_some(),
            _ => false,
        });
        by_name || self.regexes.iter().any(|one| one.captures(rest).is_some())
    }

    /// The host that fits best, as among the names of servers.
    fn host(&self, host: &str) -> Option<&(HostPattern, String)> {
        let exact = |(pattern, _): &&(HostPattern, String)| match pattern {
            HostPattern::Exact(name) => name == host,
            _ => false,
        };
        let longest = |fits: &dyn Fn(&HostPattern) -> Option<usize>| {
            let found = self
                .hosts
                .iter()
                .filter_map(|one| Some((fits(&one.0)?, one)));
            found.max_by_key(|(length, _)| *length).map(|(_, one)| one)
        };
        let suffix = |pattern: &HostPattern| match pattern {
            HostPattern::Suffix(end) => {
                (host.len() > end.len() && host.ends_with(end.as_str())).then_some(end.len())
            }
            _ => None,
        };
        let prefix = |pattern: &HostPattern| match pattern {
            HostPattern::Prefix(start) => (host.len() > start.len()
                && host.starts_with(start.as_str()))
            .then_some(start.len()),
            _ => None,
        };
        let exact = self.hosts.iter().find(exact);
        exact
            .or_else(|| longest(&suffix))
            .or_else(|| longest(&prefix))
    }
}

/// What follows `http://` or `https://` in a URL that is long enough to have a host.
fn without_scheme(url: &[u8]) -> Option<&[u8]> {
    let after = |scheme: &[u8]| {
        let start = url.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &url[scheme.len()..])
    };
    let is_long = url.len() >= b"http://i.ru".len();
    after(b"http://")
        .or_else(|| after(b"https://"))
        .filter(|_| is_long)
}
