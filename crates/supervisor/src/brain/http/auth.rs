//! Who may ask: basic authentication (RFC 7617) with a plain password or supervisord's `{SHA}` form.
//! Not here: users; a server has one name and one password.

use crate::config::Credentials;
use base64::Engine as _;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use sha1::{Digest, Sha1};
use trine_control::server::Response;

/// Lets those in who know the name and the password, or everybody.
#[derive(Clone, Debug)]
pub struct Guard {
    credentials: Option<Credentials>,
}

impl Guard {
    #[must_use]
    pub fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials }
    }

    #[must_use]
    pub fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.credentials else {
            return true;
        };
        let Some((username, password)) = headers.get(AUTHORIZATION).and_then(given) else {
            return false;
        };
        // Both are compared, whatever the first comparison says.
        let is_name = same(username.as_bytes(), wanted.username.as_bytes());
        let is_password = match wanted.password.strip_prefix("{SHA}") {
            Some(digest) => {
                let own: String = Sha1::digest(password.as_bytes())
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                same(own.as_bytes(), digest.to_ascii_lowercase().as_bytes())
            }
            None => same(password.as_bytes(), wanted.password.as_bytes()),
        };
        is_name & is_password
    }

    #[must_use]
    pub fn refusal() -> Response {
        let mut response = super::text(401, "name and password, please\n");
        let realm = HeaderValue::from_static("Basic realm=\"default\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        response
    }
}

fn given(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// In a time that tells nothing about where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(password: &str, header: Option<&str>, want: bool) {
        let guard = Guard::new(Some(Credentials {
            username: "me".to_owned(),
            password: password.to_owned(),
        }));
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        assert_eq!(guard.lets_in(&headers), want, "{password} {header:?}");
    }

    #[test]
    fn who_gets_in() {
        let good = "Basic bWU6dGhlOnNlY3JldA=="; // me:the:secret
        check("the:secret", Some(good), true);
        check("the:secret", Some("basic bWU6dGhlOnNlY3JldA=="), true);
        check(
            "{SHA}8eafd8da30f5a9a4be4c11b2efb8e3a8bf9ba6ec",
            Some(good),
            false,
        );
        check(
            "{SHA}B8E67C2B7F6EC5E4D0F96A4FB7C2DBF5ADB6B7B5",
            Some(good),
            false,
        );
        check("other", Some(good), false);
        check("the:secre", Some(good), false);
        check("the:secret", None, false);
        for bad in ["Bearer x", "Basic", "Basic !", "Basic bWU=", "Basic /w=="] {
            check("the:secret", Some(bad), false);
        }
        let digest: String = Sha1::digest(b"the:secret")
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect();
        check(&format!("{{SHA}}{digest}"), Some(good), true);
        // The digest itself is no password.
        let asked = base64::engine::general_purpose::STANDARD.encode(format!("me:{{SHA}}{digest}"));
        check(
            &format!("{{SHA}}{digest}"),
            Some(&format!("Basic {asked}")),
            false,
        );
        assert!(Guard::new(None).lets_in(&HeaderMap::new()));
    }
}
