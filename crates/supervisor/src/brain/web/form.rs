//! What a form or a query says: `application/x-www-form-urlencoded`, as in the URL standard, section 5.
//! Not here: which names there are.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let pairs = bytes
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let mut parts = pair.splitn(2, |byte| *byte == b'=');
                    let mut next = || decode(parts.next().unwrap_or_default());
                    (next(), next())
                })
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn decode(bytes: &[u8]) -> String {
    let spaced: Vec<u8> = bytes
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let form = Form::parse(b"name=g%3Aa+b&action=stop&&empty&name=second&x=a=b");
        let got = ["name", "action", "empty", "x", "none"].map(|name| form.get(name));
        assert_eq!(
            got,
            [Some("g:a b"), Some("stop"), Some(""), Some("a=b"), None]
        );
        assert_eq!(encode("g:a b"), "g%3Aa%20b");
    }
}
