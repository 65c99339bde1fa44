//! The traps, each with its name, what is wrong with it here, and the way out.
//!
//! Not here: walking through the tree (the parent module).

use std::collections::BTreeMap;

use super::{Block, Found, arg};
use crate::config::nginx::split_kind;
use crate::config::nginx::tree::Directive;

/// Fields that protect browsers, and are wanted with every answer.
const PROTECTIVE: [&str; 5] = [
    "strict-transport-security",
    "x-frame-options",
    "x-content-type-options",
    "content-security-policy",
    "referrer-policy",
];

/// Variables that hold what a client wrote.
const FROM_CLIENT: [&str; 8] = [
    "$host",
    "$http_",
    "$arg_",
    "$cookie_",
    "$uri",
    "$request_uri",
    "$document_uri",
    "$args",
];

/// What a block as a whole is wrong about.
pub(super) fn block(here: &Block<'_>, found: &mut Found) {
    header_loss(here, found);
    open_access(here, found);
    match here.kind() {
        "location" => location(here, found),
        "if" if here.outer.is_some_and(|outer| outer.kind() == "location") => evil_if(here, found),
        "server" => root_inside(here, found),
        _ => {}
    }
}

/// An address with several servers, of which none is named the default.
pub(super) fn listens(http: &Block<'_>, found: &mut Found) {
    let mut users: BTreeMap<&str, Vec<&Directive>> = BTreeMap::new();
    for server in http.all("server") {
        let block = Block::top(server);
        for listen in block.all("listen") {
            users.entry(arg(listen, 0)).or_default().push(listen);
        }
    }
    for (addr, listens) in users.iter().filter(|(_, listens)| listens.len() > 1) {
        let is_default = |listen: &&&Directive| {
            let words = &listen.args;
            words
                .iter()
                .any(|word| matches!(word.text.as_str(), "default_server" | "default"))
        };
        if listens.iter().filter(is_default).count() == 0 {
            found.add(
                listens[0],
                "no-default-server",
                format!("{} servers listen on {addr} and none is the default: requests for any other name come to this one", listens.len()),
                "add a server with `listen … default_server` that says `return 444`",
            );
        }
    }
}

/// A directive of one level takes away all of the same name that were inherited.
fn header_loss(here: &Block<'_>, found: &mut Found) {
    let merges = found.house || here.value("add_header_inherit") == Some("merge");
    if let (Some(own), Some(outer), false) = (
        here.all("add_header").next(),
        here.inherited("add_header"),
        merges,
    ) {
        let lost: Vec<&str> = outer.all("add_header").map(|one| arg(one, 0)).collect();
        let kept: Vec<&str> = here.all("add_header").map(|one| arg(one, 0)).collect();
        let lost: Vec<&str> = lost
            .into_iter()
            .filter(|name| !kept.iter().any(|kept| kept.eq_ignore_ascii_case(name)))
            .collect();
        if !lost.is_empty() {
            found.add(
                own,
                "add_header-loss",
                format!(
                    "add_header here takes away what the {} adds: {}",
                    outer.kind(),
                    lost.join(", ")
                ),
                "repeat them here, or say `add_header_inherit merge`",
            );
        }
    }
    if let (Some(own), Some(outer)) = (
        here.all("proxy_set_header").next(),
        here.inherited("proxy_set_header"),
    ) {
        let kept: Vec<&str> = here
            .all("proxy_set_header")
            .map(|one| arg(one, 0))
            .collect();
        let lost: Vec<&str> = outer
            .all("proxy_set_header")
            .map(|one| arg(one, 0))
            .filter(|name| !kept.iter().any(|kept| kept.eq_ignore_ascii_case(name)))
            .collect();
        if !lost.is_empty() {
            found.add(
                own,
                "proxy_set_header-loss",
                format!(
                    "proxy_set_header here takes away what the {} sets: {}",
                    outer.kind(),
                    lost.join(", ")
                ),
                "repeat them here, for example by `include proxy_params`",
            );
        }
    }
}

/// `allow` without a `deny` behind it changes nothing.
fn open_access(here: &Block<'_>, found: &mut Found) {
    if let (Some(allow), false) = (here.all("allow").next(), here.has("deny")) {
        found.add(
            allow,
            "allow-without-deny",
            "`allow` without `deny` keeps nobody out".to_owned(),
            "put `deny all` behind it",
        );
    }
}

fn location(here: &Block<'_>, found: &mut Found) {
    let (kind, path) = match here.directive.args.as_slice() {
        [one] => split_kind(&one.text),
        [kind, path] => (kind.text.as_str(), path.text.as_str()),
        _ => return,
    };
    let is_prefix = matches!(kind, "" | "^~") && path.starts_with('/');
    for alias in here.all("alias") {
        let folder = arg(alias, 0);
        if is_prefix && !path.ends_with('/') && folder.ends_with('/') {
            found.add(
                alias,
                "alias-traversal",
                format!("{path}../x would be the file {folder}../x: the location lacks the slash that the alias has"),
                "write `location PATH/` with a slash (trine-proxy keeps such requests inside, nginx does not)",
            );
        }
        if !folder.starts_with(['/', '$']) {
            found.add(
                alias,
                "relative-alias",
                format!("alias {folder} starts at the folder of the configuration"),
                "write the whole path",
            );
        }
    }
    for pass in here.all("proxy_pass") {
        let uri = crate::config::nginx::split_url(arg(pass, 0)).and_then(|(_, uri)| uri);
        if is_prefix && !path.ends_with('/') && uri.is_some_and(|uri| uri.ends_with('/')) {
            found.add(
                pass,
                "proxy_pass-slash",
                format!("{path}/x goes on with two slashes in front, and {path}x comes here, too"),
                "end both the location and the URL with a slash, or neither",
            );
        }
    }
    let gateway = ["uwsgi_pass", "fastcgi_pass", "scgi_pass"];
    let set = here.all("proxy_set_header").next();
    if let Some((pass, set)) = gateway.iter().find(|pass| here.has(pass)).zip(set) {
        found.add(
            set,
            "proxy_set_header-unused",
            format!("proxy_set_header has no effect beside {pass}"),
            "use uwsgi_param or fastcgi_param, or remove it",
        );
    }
    if kind.starts_with('~')
        && path
            .trim_end_matches('$')
            .rfind('.')
            .is_some_and(|at| at == 0 || !path[..at].ends_with('\\'))
    {
        let at = path.trim_end_matches('$').rfind('.').unwrap_or(0);
        let ending = &path[at + 1..].trim_end_matches('$');
        if !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            found.add(
                here.directive,
                "dot-in-expression",
                format!("the dot in {path} is any character"),
                "write it with a backslash in front",
            );
        }
    }
}

/// `if` in a location does what it says with `return` and `rewrite` only.
fn evil_if(here: &Block<'_>, found: &mut Found) {
    let safe = ["return", "rewrite", "set", "break"];
    let other = here
        .inner()
        .iter()
        .find(|one| !safe.contains(&one.name.text.as_str()));
    if let Some(other) = other {
        found.add(
            here.directive,
            "if-is-evil",
            format!(
                "`if` makes a location of its own, which loses what stands beside it; it has {}",
                other.name.text
            ),
            "keep to `return` and `rewrite` in it; choose values by `map`, files by `try_files`",
        );
    }
    let is_file = here.directive.args.iter().any(|word| {
        matches!(
            word.text.trim_start_matches('('),
            "-f" | "!-f" | "-e" | "!-e" | "-d" | "!-d"
        )
    });
    if is_file {
        found.add(
            here.directive,
            "if-file",
            "asks the file system with `if`".to_owned(),
            "write `try_files $uri @fallback`",
        );
    }
}

/// A folder that only one location knows.
fn root_inside(here: &Block<'_>, found: &mut Found) {
    if here.has("root") || here.inherited("root").is_some() {
        return;
    }
    for location in here.all("location") {
        let inner = Block::top(location);
        if let (Some(root), "/") = (inner.all("root").next(), arg(location, 0)) {
            found.add(
                root,
                "root-inside-location",
                "other locations of the server do not have this root, but the built-in one"
                    .to_owned(),
                "write `root` in the server",
            );
        }
    }
}

/// What a single directive is wrong about.
pub(super) fn directive(here: &Block<'_>, one: &Directive, found: &mut Found) {
    let (name, first, second) = (one.name.text.as_str(), arg(one, 0), arg(one, 1));
    for word in &one.args {
        if word
            .text
            .contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'])
        {
            found.add(
                one,
                "curly-quotes",
                format!("{} has quotes of printed text in it", word.text),
                "write \" or '",
            );
        }
    }
    match name {
        "proxy_set_header" => set_header(one, first, second, found),
        "proxy_pass" if first.contains('$') => pass_with_variables(one, first, found),
        "merge_slashes" if first == "off" => found.add(
            one,
            "merge_slashes",
            "//admin is another path than /admin now, for locations and `deny`, too".to_owned(),
            "leave it on; the application gets the path as it was written anyway",
        ),
        "autoindex" if first == "on" => found.add(
            one,
            "autoindex",
            "everybody can list the files".to_owned(),
            "leave it off where files are only linked to",
        ),
        "set_real_ip_from" if matches!(first, "0.0.0.0/0" | "::/0") => found.add(
            one,
            "real-ip-from-anybody",
            "every client may say which address it has".to_owned(),
            "name the networks of your proxies",
        ),
        "ssl_protocols" => {
            let old = one
                .args
                .iter()
                .find(|word| matches!(word.text.as_str(), "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1"));
            if let Some(old) = old {
                found.add(
                    one,
                    "old-tls",
                    format!("{} is broken, and never spoken here", old.text),
                    "write `ssl_protocols TLSv1.2 TLSv1.3`",
                );
            }
        }
        "return" | "rewrite" => splitting(here, one, found),
        "add_header" => {
            let lower = first.to_ascii_lowercase();
            if PROTECTIVE.contains(&lower.as_str()) && arg(one, 2) != "always" {
                found.add(
                    one,
                    "add_header-not-always",
                    format!("{first} is missing from errors and other answers beyond 2xx and 3xx"),
                    "put `always` behind it",
                );
            }
        }
        _ => {}
    }
}

fn set_header(one: &Directive, name: &str, value: &str, found: &mut Found) {
    let own = format!("$http_{}", name.to_ascii_lowercase().replace('-', "_"));
    let forwarded = name.to_ascii_lowercase().starts_with("x-forwarded-")
        || name.eq_ignore_ascii_case("x-real-ip");
    if forwarded && value.eq_ignore_ascii_case(&own) {
        found.add(
            one,
            "spoofable-forwarded",
            format!("{name} goes on as the client wrote it: it can claim https, or any address"),
            "write $scheme, $remote_addr or $proxy_add_x_forwarded_for; with a proxy in front, set_real_ip_from",
        );
    }
    if name.eq_ignore_ascii_case("host") && value == "$http_host" {
        found.add(
            one,
            "host-spoofing",
            "$http_host is what the client wrote, even when a URL in the request line says otherwise".to_owned(),
            "write $host (and $port, if the application needs it)",
        );
    }
}

fn pass_with_variables(one: &Directive, url: &str, found: &mut Found) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let whom = rest.split(['/', ':']).next().unwrap_or_default();
    let chosen = FROM_CLIENT.iter().find(|name| whom.starts_with(*name));
    match chosen {
        Some(name) if whom.starts_with('$') => found.add(
            one,
            "ssrf",
            format!("the client chooses by {name} which server is asked, inside your network, too"),
            "name the server, or choose among known ones by `map`",
        ),
        _ => found.add(
            one,
            "proxy_pass-variables",
            "with a variable the URL is taken as it is: the location's path is not replaced, and names are looked up later".to_owned(),
            "name an `upstream`; trine-proxy follows changes of its addresses without this trick",
        ),
    }
}

/// `$uri` is decoded: it may hold the end of a line.
fn splitting(here: &Block<'_>, one: &Directive, found: &mut Found) {
    let (text, redirects) = match one.name.text.as_str() {
        "return" => (arg(one, 1), arg(one, 0).starts_with('3')),
        _ => (arg(one, 1), matches!(arg(one, 2), "redirect" | "permanent")),
    };
    let decoded = ["$uri", "$document_uri"].iter().find(|name| {
        text.match_indices(*name).any(|(at, _)| {
            let after = text[at + name.len()..].bytes().next();
            after.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_')
        })
    });
    if let (Some(name), true) = (decoded, redirects) {
        found.add(
            one,
            "response-splitting",
            format!("{name} is decoded: %0d%0a in a path becomes a new line of the answer in the {} (trine-proxy takes it out, nginx does not)", here.kind()),
            "write $request_uri",
        );
    }
}
