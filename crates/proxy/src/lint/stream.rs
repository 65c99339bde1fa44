//! Traps of `stream`.
//!
//! Not here: those of `http` (`rules`).

use super::{Block, Found, arg};

/// Looks at one server of `stream`.
pub(super) fn server(here: &Block<'_>, found: &mut Found) {
    let has = |word: &str| {
        let mut listens = here.all("listen");
        listens.find(|one| one.args.iter().skip(1).any(|arg| arg.text == word))
    };
    let passes = here.has("proxy_pass");
    if let Some(listen) = has("udp")
        && passes
        && here.value("proxy_responses").is_none()
        && here.value("proxy_timeout").is_none()
    {
        let message =
            "each client that sends a datagram keeps a session, and its socket, for ten minutes";
        found.add(
            listen,
            "endless-datagrams",
            message.to_owned(),
            "say how many answers come (proxy_responses), or for how long to wait (proxy_timeout)",
        );
    }
    if let Some(listen) = has("proxy_protocol")
        && here.value("set_real_ip_from").is_none()
    {
        let message = "what the preamble says about the client is read and not believed";
        found.add(
            listen,
            "preamble-unbelieved",
            message.to_owned(),
            "name who may say it: set_real_ip_from ADDRESS",
        );
    }
    let tls = here.value("proxy_ssl") == Some("on");
    let verify = here
        .value("proxy_ssl_verify")
        .unwrap_or(if found.house { "on" } else { "off" });
    if let Some(pass) = here.all("proxy_pass").next()
        && tls
        && verify != "on"
    {
        let message = format!("anybody can answer for \"{}\"", arg(pass, 0));
        found.add(
            pass,
            "upstream-unverified",
            message,
            "add proxy_ssl_verify on and proxy_ssl_trusted_certificate",
        );
    }
}
