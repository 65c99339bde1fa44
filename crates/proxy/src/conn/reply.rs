//! Answers of the proxy's own: heads, short error pages, redirects.
//!
//! Not here: answers of upstreams (`upstream::relay`) and files (`files`).

use std::borrow::Cow;

use trine_http1::{
    CHUNK_END, Version, default_reason, write_chunk_head, write_header, write_status_line,
};

use crate::config::Signature;
use crate::filter::{self, Plan};
use crate::template::Scene;
use crate::time::WallClock;

/// Tells a client to go on with its body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer tells of the program, and what the variables in that are taken from.
pub(crate) type Signed<'s, 'r> = (&'s Signature, Option<&'s Scene<'r>>);

/// Makes the last chunk, with the head at hand.
pub(crate) type Last<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Keep,
    Close,
}

/// An answer without a file or an upstream behind it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// One more field.
    pub(crate) field: Option<(&'static str, Vec<u8>)>,
    /// In place of the short page: its type and the bytes.
    pub(crate) body: Option<(String, Vec<u8>)>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn with(status: u16, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            field: Some((name, value.into())),
            body: None,
        }
    }

    pub(crate) fn text(status: u16, kind: String, body: Vec<u8>) -> Self {
        Self {
            status,
            field: None,
            body: Some((kind, body)),
        }
    }

    /// The type and the bytes of its body, with this status.
    pub(crate) fn content(
        &self,
        status: u16,
        signed: Signed<'_, '_>,
    ) -> (Cow<'_, str>, Cow<'_, [u8]>) {
        match &self.body {
            Some((kind, body)) => (kind.into(), body.into()),
            None => (
                "text/html; charset=utf-8".into(),
                page(status, &signed.0.text(signed.1)).into_bytes().into(),
            ),
        }
    }

    /// Writes all of it. `head_only` for HEAD. Returns the length of the body.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        time: &WallClock,
        signature: &Signature,
        version: Version,
        closing: Closing,
        head_only: bool,
    ) -> u64 {
        let status = self.status;
        let (kind, body) = self.content(status, (signature, None));
        let change = (&filter::PLAIN, &*body);
        self.write_with(
            out,
            time,
            (signature, None),
            status,
            version,
            closing,
            head_only,
            (&kind, change, None),
            |_| (),
        )
    }

    /// The same with another status, a body that may be changed, with the `last` chunk if it goes out in chunks, and with
    /// fields that `add` appends.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the answer is, and how this client gets it"
    )]
    pub(crate) fn write_with(
        &self,
        out: &mut Vec<u8>,
        time: &WallClock,
        signed: Signed<'_, '_>,
        status: u16,
        version: Version,
        closing: Closing,
        head_only: bool,
        (kind, (plan, body), last): (&str, (&Plan<'_>, &[u8]), Option<Last<'_>>),
        add: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        out.clear();
        start_head(out, time, &signed.0.line(signed.1), status);
        if let Some((name, value)) = &self.field {
            write_header(out, name.as_bytes(), value);
        }
        let bodiless = is_bodiless(status);
        if !bodiless {
            if !kind.is_empty() {
                write_header(out, b"Content-Type", kind.as_bytes());
            }
            plan.write(out);
            // What a changed body's length is would be known only after all the work.
            if last.is_some() {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            } else if !head_only || !plan.changes() {
                write_number(out, b"Content-Length", body.len() as u64);
            }
        }
        add(out);
        write_connection(out, closing, version);
        out.extend_from_slice(b"\r\n");
        let head = out.len();
        if head_only || bodiless {
            return 0;
        }
        match last {
            None => out.extend_from_slice(body),
            Some(last) => {
                if !body.is_empty() {
                    write_chunk_head(out, body.len());
                    out.extend_from_slice(body);
                    out.extend_from_slice(CHUNK_END);
                }
                let end = last(&out[..head]);
                out.extend_from_slice(&end);
            }
        }
        body.len() as u64
    }
}

/// Whether an answer with this status never has a body.
pub(crate) fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
}

fn page(status: u16, signed: &[u8]) -> String {
    let reason = default_reason(status);
    let foot = match String::from_utf8_lossy(signed) {
        signed if signed.is_empty() => String::new(),
        signed => format!("<hr><p>{}</p>", escaped(&signed)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {reason}</title></head>\n\
         <body><h1>{status} {reason}</h1>{foot}</body></html>\n"
    )
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Appends the status line and the fields that every answer has.
/// `server`: the line that names the program.
pub(crate) fn start_head(out: &mut Vec<u8>, time: &WallClock, server: &[u8], status: u16) {
    write_status_line(
        out,
        Version::Http11,
        status,
        default_reason(status).as_bytes(),
    );
    out.extend_from_slice(server);
    time.write_date(out);
}

/// Appends what the client has to be told about the connection's future.
pub(crate) fn write_connection(out: &mut Vec<u8>, closing: Closing, version: Version) {
    match (closing, version) {
        (Closing::Keep, Version::Http11) => {}
        (Closing::Keep, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Closing::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
    }
}

/// Appends a field whose value is a number.
pub(crate) fn write_number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    push_number(out, number);
    out.extend_from_slice(b"\r\n");
}

/// Appends decimal digits, without the formatting machinery.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    #[test]
    fn pages() {
        let time = WallClock::new();
        let name = Signature::name();
        let mut out = b"old".to_vec();
        let body = Reply::with(405, "Allow", "GET").write(
            &mut out,
            &time,
            &name,
            Version::Http11,
            Closing::Close,
            false,
        );
        let text = String::from_utf8(out.clone()).unwrap();
        let (head, page) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 405 Method Not Allowed\r\nServer: trine\r\nDate: "),
            "{head}"
        );
        assert!(
            head.contains("\r\nAllow: GET\r\n") && head.ends_with("\r\nConnection: close"),
            "{head}"
        );
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())));
        assert_eq!(body, page.len() as u64);

        let body = Reply::status(404).write(
            &mut out,
            &time,
            &Signature::new(Template::literal("")),
            Version::Http10,
            Closing::Keep,
            true,
        );
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(text.ends_with("\r\nConnection: keep-alive\r\n\r\n") && body == 0);
        Reply::status(204).write(
            &mut out,
            &time,
            &name,
            Version::Http11,
            Closing::Keep,
            false,
        );
        assert!(!String::from_utf8(out).unwrap().contains("Content-"));
    }

    #[test]
    fn numbers() {
        for number in [0, 9, 10, 1_700_000_000, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
