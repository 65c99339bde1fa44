//! How long clients may take: `client_…_timeout`, `send_timeout`, `keepalive_…`, `lingering_…`.
//!
//! Not here: how long upstreams may take (`proxy`).

use std::time::Duration;

use super::super::tree::Directive;
use super::{Builder, arg, is_on};
use crate::config::model::Timeouts;

impl Builder<'_> {
    pub(super) fn apply_timeouts(&mut self, level: &mut Timeouts, block: &[Directive]) {
        for directive in block {
            let first = arg(directive, 0);
            match directive.name.text.as_str() {
                "keepalive_timeout" => self.set_time(directive, &mut level.keepalive),
                "keepalive_min_timeout" => self.set_time(directive, &mut level.keepalive_min),
                "client_header_timeout" => self.set_time(directive, &mut level.header),
                "client_body_timeout" => self.set_time(directive, &mut level.body),
                "send_timeout" => self.set_time(directive, &mut level.send),
                "keepalive_requests" => match first.parse() {
                    Ok(count) => level.requests = count,
                    Err(_) => self.invalid(directive),
                },
                "keepalive_time" => self.set_time(directive, &mut level.lifetime),
                "reset_timedout_connection" => level.resets = is_on(directive),
                "lingering_close" => match first {
                    "off" => level.lingers = false,
                    "on" | "always" => level.lingers = true,
                    _ => self.wrong(directive, format!("invalid value \"{first}\""), ""),
                },
                "lingering_time" => self.set_time(directive, &mut level.linger),
                "lingering_timeout" => self.set_time(directive, &mut level.linger_silence),
                _ => {}
            }
        }
    }

    fn set_time(&mut self, directive: &Directive, slot: &mut Duration) {
        if let Some(time) = self.time(directive) {
            *slot = time;
        }
    }
}
