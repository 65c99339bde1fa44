//! `proxy_bind` and `proxy_socket_keepalive`: how connections to servers are made.
//!
//! Not here: TLS on them (`dial`), or whom they lead to.

use std::net::{IpAddr, SocketAddr};

use super::super::tree::Directive;
use super::family::Family;
use super::{Builder, arg, is_on};
use crate::config::model::Outgoing;

impl Builder<'_> {
    pub(super) fn apply_outgoing(
        &mut self,
        level: &mut Outgoing,
        family: Family,
        directive: &Directive,
    ) {
        let first = arg(directive, 0).to_owned();
        match family.rest_of(directive) {
            "socket_keepalive" => level.keepalive = is_on(directive),
            "bind" if first == "off" => level.bind = None,
            "bind" => {
                match arg(directive, 1) {
                    "" => {}
                    "transparent" => {
                        let message = "\"transparent\" is not supported";
                        let help = "servers learn the client's address from X-Forwarded-For";
                        self.wrong(directive, message, help);
                    }
                    other => self.wrong(directive, format!("invalid parameter \"{other}\""), ""),
                }
                if !first.contains('$') && local_address(&first).is_none() {
                    let message = format!("invalid address \"{first}\"");
                    self.wrong(
                        directive,
                        message,
                        "write an address of this machine, or off",
                    );
                }
                level.bind = Some(self.template(directive, &first));
            }
            _ => {}
        }
    }
}

/// An address, with a port or without.
pub(crate) fn local_address(text: &str) -> Option<SocketAddr> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(addr);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, 0))
}
