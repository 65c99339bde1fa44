//! The configuration: read, checked, and complete.
//!
//! `model` is what can run; `yaml` reads our own language into it, `nginx` reads `nginx.conf`.
//! Not here: putting a configuration into effect.

mod model;
pub(crate) mod nginx;
mod values;
mod yaml;

use std::path::{Path, PathBuf};

pub(crate) use model::NameRules;
pub(crate) use model::{
    Access, Asked, BasicAuth, CacheRules, Charset, Content, CookieEnd, ErrorTarget, Expires,
    FileTest, Files, Flag, Folder, Gateway, Kinds, Learn, LogUse, Op, Protocol, ProxyPass,
    ProxyTarget, Rebase, RedirectRule, RedirectStyle, RequestFields, Return, ReturnBody, Rewrite,
    Rules, Server, Sticky, StickyCookie, Store, StreamContent, StreamLog, StreamPass, StreamServer,
    StreamTable, StreamTarget, Test, TryFiles, TryLast, Who,
};
pub(crate) use model::{
    AccessLog, AccessPlace, CertificateFiles, ClientCertificates, Config, Demand, DialRules,
    HostPattern, Http2Rules, Identity, KeepAlive, LeastTime, Listen, Location, Locations, Log,
    LogEscape, LogFormat, LogPlace, Matcher, Method, NextUpstream, PeerAddr, Queue, Timeouts,
    TlsRules, Trusted, Upstream, UpstreamServer,
};
pub(crate) use model::{Additions, ReplaceRules, SecureLink, Signature};
pub(crate) use model::{BodyFile, Quota, Room, SpoolFolder};
pub(crate) use model::{BodyTest, Expectation, FieldTest, HealthCheck, Probe};
pub(crate) use model::{CodingRules, CompressionRules, Proxied};
pub(crate) use model::{CookieFlags, CookieName, CookieRule, CookieRules, SameSite};
pub(crate) use model::{FileRules, Links, Listing, ListingFormat, Network, Sibling, Since};
#[cfg(test)]
pub(crate) use model::{HeaderTest, StatusTest};
use trine_config::Problems;

pub(crate) use yaml::words::BETTER as BETTER_WORDS;

/// Which file is read, and how.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) path: PathBuf,
    /// Where relative paths of `nginx.conf` start, if not at the file's folder.
    pub(crate) prefix: Option<PathBuf>,
    /// Directives in front of those of `nginx.conf`.
    pub(crate) directives: Option<String>,
    /// Directives that are not supported are worth a warning only.
    pub(crate) ignore_unsupported: bool,
    /// The program is called as nginx, whose defaults count.
    pub(crate) as_nginx: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration, or all that is wrong.
    pub(crate) config: Result<Config, Problems>,
    pub(crate) warnings: Problems,
}

impl Reading {
    /// YAML is told by the file's ending; all else is `nginx.conf`.
    pub(crate) fn is_yaml(&self) -> bool {
        let ending = self.path.extension();
        ending.is_some_and(|ending| ending == "yaml" || ending == "yml")
    }

    /// The same with absolute paths, and the folder that `nginx.conf` starts from.
    fn located(&self) -> (PathBuf, PathBuf) {
        let path = absolute(&self.path);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        (path, self.prefix.as_deref().map_or(folder, absolute))
    }
}

/// Reads and checks a file.
pub(crate) fn load(reading: &Reading) -> Loaded {
    let mut problems = Problems::new();
    let mut warnings = Problems::new();
    let (path, prefix) = reading.located();
    let config = if reading.is_yaml() {
        yaml::load(&path, &mut problems)
    } else {
        let order = nginx::Order {
            path: &path,
            prefix: &prefix,
            directives: reading.directives.as_deref(),
            ignore_unsupported: reading.ignore_unsupported,
            as_nginx: reading.as_nginx,
            own: None,
        };
        nginx::load(&order, &mut problems, &mut warnings)
    };
    Loaded {
        config: problems.finish(config),
        warnings,
    }
}

/// An `nginx.conf` as YAML.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) text: String,
    /// Directives that are left out.
    pub(crate) lost: Vec<String>,
}

/// Reads a file of nginx's with all that it includes, and makes the YAML text that means the same.
pub(crate) fn convert(reading: &Reading, problems: &mut Problems) -> Converted {
    let (path, prefix) = reading.located();
    let tree = nginx::tree::read(&path, &prefix, problems).0;
    let (text, lost) = yaml::convert::convert(&tree);
    Converted { text, lost }
}

/// The tree of directives of either language, and whether our own defaults hold.
pub(crate) fn tree(
    reading: &Reading,
    problems: &mut Problems,
) -> (Vec<nginx::tree::Directive>, bool) {
    let (path, prefix) = reading.located();
    if !reading.is_yaml() {
        return (nginx::tree::read(&path, &prefix, problems).0, false);
    }
    let text = trine_config::yaml::text_of(&path, problems);
    let read = text.and_then(|text| yaml::tree(&text, &path, problems, true));
    read.map_or((Vec::new(), true), |read| (read.tree, read.house))
}

/// The schema of the typed keys alone.
pub(crate) fn typed_schema() -> serde_json::Value {
    yaml::schema::typed()
}

/// The JSON schema of YAML files.
pub(crate) fn schema() -> String {
    yaml::schema::text()
}

/// The files of an `nginx.conf`, as they were read.
pub(crate) fn sources(reading: &Reading) -> Vec<nginx::tree::SourceFile> {
    let (path, prefix) = reading.located();
    nginx::tree::read(&path, &prefix, &mut Problems::new()).1
}

/// Relative paths in the file start at its folder, wherever the daemon was started.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The configuration in `text`, which has to be good.
    #[track_caller]
    pub(crate) fn config(text: &str) -> Config {
        let mut problems = Problems::new();
        let config = yaml::parse(text, Path::new("/etc/proxy.yaml"), &mut problems, false);
        problems
            .finish(config)
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// One server with these directives of `nginx.conf`, which have to be good.
    #[track_caller]
    pub(crate) fn nginx(server: &str) -> Config {
        let text = format!("events {{}} http {{ server {{ listen 8000; {server} }} }}");
        let mut problems = Problems::new();
        let config = super::nginx::parse(
            &text,
            Path::new("/etc/nginx.conf"),
            &mut problems,
            &mut Problems::new(),
        );
        problems
            .finish(config)
            .unwrap_or_else(|problems| panic!("{problems}"))
    }
}

#[cfg(test)]
mod tests;
