//! The heads of answers that applications write as CGI scripts do: read as they are where they are plain, else made into
//! HTTP/1 heads in place.
//!
//! Not here: reading them (`trine_gateway::cgi`), or what goes on to the client (`relay`).

use trine_gateway::Error;
use trine_gateway::cgi::{Head, Kind, Limits, Response, Style};
use trine_http1::{ResponseHead, Version, default_reason, write_header, write_status_line};

use super::ANSWER_LIMITS;
use crate::upstream::fault::Fault;
use crate::workbench::Input;

const LIMITS: Limits = Limits {
    bytes: ANSWER_LIMITS.head,
    fields: ANSWER_LIMITS.header_count,
};

/// The head of one answer.
#[derive(Debug)]
pub(crate) struct ScriptHead {
    head: Head,
    style: Style,
    /// The connection can become something else.
    upgrades: bool,
    done: bool,
}

impl ScriptHead {
    pub(super) fn new(style: Style, upgrades: bool) -> Self {
        Self {
            head: Head::default(),
            style,
            upgrades,
            done: false,
        }
    }

    /// Reads a head that is plain and whole as it is, and takes it; false for any other, which is to be translated.
    pub(super) fn read(&mut self, answer: &mut Input, head: &mut ResponseHead) -> bool {
        if self.done {
            return false;
        }
        let lined = self.style == Style::HttpOrCgi;
        let Some(length) = head.parse_script(answer.unread(), &ANSWER_LIMITS, lined) else {
            return false;
        };
        answer.consume(length);
        self.done = true;
        true
    }

    /// Puts an HTTP/1 head in the place of the script's at the start of what is unread; false while it is not whole.
    pub(super) fn translate(&mut self, answer: &mut Input) -> Result<bool, Fault> {
        if self.done || answer.is_empty() {
            return Ok(self.done);
        }
        let found = self
            .head
            .parse(answer.unread(), self.style, &LIMITS)
            .map_err(Fault::Gateway)?;
        let Some(length) = found else {
            return Ok(false);
        };
        let head = http_head(&self.head.on(answer.unread()), self.upgrades)?;
        answer.replace_front(length, &head);
        self.done = true;
        Ok(true)
    }
}

fn http_head(response: &Response<'_>, upgrades: bool) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(512);
    let status = match (response.kind(), response.status()) {
        // A web server may look a path up itself (RFC 3875 section 6.2.2); nginx lets the client do it.
        (Kind::LocalRedirect(_), _) => 302,
        // An interim answer would be followed by another head, which scripts cannot write.
        (_, ..200) if !(upgrades && response.status() == 101) => {
            return Err(Fault::Gateway(Error::Status));
        }
        (_, status) => status,
    };
    let reason = match response.reason() {
        [] => default_reason(status).as_bytes(),
        reason => reason,
    };
    write_status_line(&mut out, Version::Http11, status, reason);
    for (name, value) in response.fields() {
        if !is_about_connection(name, status == 101) {
            write_header(&mut out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Fields that tell of a connection or a framing which there is not.
fn is_about_connection(name: &[u8], switches: bool) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    is("transfer-encoding")
        || is("keep-alive")
        || is("te")
        || is("trailer")
        || is("proxy-connection")
        || (!switches && (is("connection") || is("upgrade")))
}
