//! Which fields go on to the other side. Pure: names and values in, decisions out.
//!
//! Not here: the fields that a proxy sets itself (see `forwarded`), or framing (the body decides it).

pub(crate) mod added;
pub(crate) mod cookies;
pub(crate) mod forwarded;
pub(crate) mod trailers;
pub(crate) mod via;

use smallvec::SmallVec;
use trine_http1::{Response, connection_options, is_letters, is_word};

/// The media type of an answer: the last one, if its upstream tells several, as in nginx.
pub(crate) fn media_type<'a>(answer: &Response<'a>) -> Option<&'a [u8]> {
    answer.get_all("content-type").last()
}

/// What becomes of a field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestField {
    /// It goes on as it is.
    Pass,
    /// It ends here: hop by hop, framing, or something no client may say to an application.
    Drop,
    /// It tells of an earlier hop: it goes on only if the client is trusted to tell.
    FromTrusted,
    /// `X-Forwarded-For`: replaced, or continued if the client is trusted.
    ForwardedFor,
}

/// Decides about one field of a request.
pub(crate) fn request_field(name: &[u8]) -> RequestField {
    // WSGI and CGI turn both `-` and `_` into `_`: `X_Forwarded_For` would pass for ours. nginx drops all of them too.
    if name.contains(&b'_') {
        return RequestField::Drop;
    }
    let is = |other: &str| is_word(name, other.as_bytes());
    let (drop, trusted) = match name.first().map(u8::to_ascii_lowercase) {
        Some(b'c') => (is("connection") || is("content-length"), false),
        Some(b'e') => (is("expect"), false),
        Some(b'f') => (is("forwarded"), false),
        Some(b'h') => (is("host") || is("http2-settings"), false),
        Some(b'k') => (is("keep-alive"), false),
        // `Proxy` becomes HTTP_PROXY in a CGI environment, which many HTTP clients obey.
        Some(b'p') => (
            is("proxy")
                || is("proxy-connection")
                || is("proxy-authorization")
                || is("proxy-authenticate"),
            false,
        ),
        Some(b't') => (is("te") || is("trailer") || is("transfer-encoding"), false),
        Some(b'u') => (is("upgrade"), false),
        Some(b'x') if is("x-forwarded-for") => return RequestField::ForwardedFor,
        Some(b'x') => (
            starts_with(name, "x-accel-")
                || is("x-sendfile")
                || is("x-real-ip")
                || is("x-request-start"),
            starts_with(name, "x-forwarded-") || is("x-request-id"),
        ),
        _ => (false, false),
    };
    match (drop, trusted) {
        (true, _) => RequestField::Drop,
        (false, true) => RequestField::FromTrusted,
        (false, false) => RequestField::Pass,
    }
}

/// Which names clients' fields may have in nginx's eyes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FieldNames {
    /// Those with underscores: `underscores_in_headers`.
    pub(crate) underscores: bool,
    /// Those with more than letters, digits and dashes: without `ignore_invalid_headers`.
    pub(crate) odd: bool,
    /// Those that are no tokens are left out; else the request is refused.
    pub(crate) drops: bool,
}

impl FieldNames {
    /// Whether a field with this name goes on.
    pub(crate) fn take(self, name: &[u8]) -> bool {
        is_letters(name)
            || name.iter().all(|&byte| match byte {
                b'_' => self.underscores,
                b'-' => true,
                byte => byte.is_ascii_alphanumeric() || self.odd,
            })
    }
}

/// Whether a field of an upstream's response goes on to the client.
pub(crate) fn response_field_passes(name: &[u8]) -> bool {
    let is = |other: &str| is_word(name, other.as_bytes());
    !match name.first().map(u8::to_ascii_lowercase) {
        Some(b'c') => is("connection") || is("content-length"),
        Some(b'k') => is("keep-alive"),
        Some(b'p') => {
            is("proxy-connection") || is("proxy-authenticate") || is("proxy-authentication-info")
        }
        // Ours is sent instead: what runs behind the proxy is nobody's business.
        Some(b's') => is("server"),
        Some(b't') => is("te") || is("trailer") || is("transfer-encoding"),
        Some(b'u') => is("upgrade"),
        // Orders for the proxy, not for clients.
        Some(b'x') => starts_with(name, "x-accel-") || is("x-sendfile"),
        _ => false,
    }
}

fn starts_with(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// The names that `Connection` fields list: hop by hop by the sender's own word.
#[derive(Debug, Default)]
pub(crate) struct Listed<'a>(SmallVec<[&'a [u8]; 4]>);

impl<'a> Listed<'a> {
    /// Options that mean something else, and fields that nobody may have taken out, are left aside.
    pub(crate) fn new(connection_fields: impl Iterator<Item = &'a [u8]>) -> Self {
        // What nearly all of them say.
        let fields = connection_fields
            .filter(|field| !is_word(field, b"keep-alive") && !is_word(field, b"close"));
        let names = fields.flat_map(connection_options);
        Self(
            names
                .filter(|name| !is_option(name) && !is_protected(name))
                .collect(),
        )
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.0
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(name))
    }
}

fn is_option(name: &[u8]) -> bool {
    ["close", "keep-alive", "upgrade"]
        .iter()
        .any(|option| name.eq_ignore_ascii_case(option.as_bytes()))
}

/// Fields whose removal would change who is asking, what is asked, or where the message ends.
fn is_protected(name: &[u8]) -> bool {
    const PROTECTED: [&str; 14] = [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "cookie",
        "set-cookie",
        "authorization",
        "www-authenticate",
        "cache-control",
        "vary",
        "location",
        "x-real-ip",
        "via",
        "max-forwards",
    ];
    PROTECTED
        .iter()
        .any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
        || starts_with(name, "x-forwarded-")
        || starts_with(name, "x-request-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let check = |want: RequestField, names: &str| {
            for name in names.split_whitespace() {
                assert_eq!(request_field(name.as_bytes()), want, "{name}");
                assert_eq!(
                    request_field(name.to_uppercase().as_bytes()),
                    want,
                    "{name} in capitals"
                );
            }
        };
        check(
            RequestField::Pass,
            "accept cookie authorization content-type user-agent range if-match x-api-key via",
        );
        check(
            RequestField::Pass,
            "te2 hosts proxy-x upgrade-insecure-requests x-forwarded x-real-ip2 origin",
        );
        check(
            RequestField::Drop,
            "connection keep-alive proxy-connection te trailer transfer-encoding upgrade",
        );
        check(
            RequestField::Drop,
            "proxy proxy-authorization proxy-authenticate http2-settings expect host content-length",
        );
        check(
            RequestField::Drop,
            "x-real-ip x-request-start forwarded x-accel-redirect x-accel-expires x-sendfile",
        );
        check(
            RequestField::Drop,
            "x_forwarded_for x-forwarded_for content_length user_id _",
        );
        check(RequestField::ForwardedFor, "x-forwarded-for");
        check(
            RequestField::FromTrusted,
            "x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-prefix x-request-id",
        );
    }

    #[test]
    fn names_that_go_on() {
        let check = |underscores: bool, odd: bool, want: [bool; 4]| {
            let names = FieldNames {
                underscores,
                odd,
                drops: false,
            };
            let got = ["X-1", "X_1", "X.1", "X_1.2"].map(|name| names.take(name.as_bytes()));
            assert_eq!(got, want, "{names:?}");
        };
        check(false, false, [true, false, false, false]);
        check(true, false, [true, true, false, false]);
        check(false, true, [true, false, true, false]);
        check(true, true, [true, true, true, true]);
    }

    #[test]
    fn responses() {
        for name in [
            "content-type",
            "set-cookie",
            "date",
            "location",
            "x-frame-options",
            "via",
            "age",
            "upgrade-x",
        ] {
            assert!(response_field_passes(name.as_bytes()), "{name}");
        }
        for name in [
            "Connection",
            "Keep-Alive",
            "Server",
            "Transfer-Encoding",
            "content-length",
            "X-Accel-Redirect",
            "X-Sendfile",
            "Upgrade",
            "TRAILER",
        ] {
            assert!(!response_field_passes(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn listed_by_connection() {
        let fields: [&[u8]; 2] = [
            b"close, X-Hop ,keep-alive",
            b"Cookie, Host, X-Forwarded-For, x-other, Upgrade",
        ];
        let listed = Listed::new(fields.into_iter());
        assert!(listed.contains(b"x-hop") && listed.contains(b"X-Other"));
        for kept in [
            "cookie",
            "host",
            "x-forwarded-for",
            "close",
            "upgrade",
            "accept",
        ] {
            assert!(!listed.contains(kept.as_bytes()), "{kept}");
        }
    }
}
