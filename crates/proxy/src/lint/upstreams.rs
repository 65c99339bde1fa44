//! Traps towards upstream servers.
//!
//! Not here: those of one's own clients (see `rules`).

use super::{Block, Found, arg};
use crate::config::nginx::tree::Directive;

const HELP: &str =
    "write `proxy_ssl_verify on` and `proxy_ssl_trusted_certificate FILE` with the authorities";

pub(super) fn directive(here: &Block<'_>, one: &Directive, found: &mut Found) {
    let unverified = match one.name.text.as_str() {
        "proxy_ssl_verify" => arg(one, 0) == "off",
        "proxy_pass" => {
            let secure = crate::config::nginx::is_https(arg(one, 0));
            secure && !found.house && here.value("proxy_ssl_verify").is_none()
        }
        _ => false,
    };
    if unverified {
        let message = "whoever gets between reads and changes what goes to the server, TLS or not";
        found.add(one, "upstream-unverified", message.to_owned(), HELP);
    }
}
