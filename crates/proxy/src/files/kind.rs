//! Content types by file name. Pure.

use crate::config::{Charset, Kinds};

impl Kinds {
    /// The type for a file's name, with the character set for texts.
    pub(crate) fn of(&self, name: &[u8]) -> String {
        let kind = extension(name).and_then(|ending| match &self.by_ending {
            Some(table) => table.get(&ending.to_ascii_lowercase()).map(String::as_str),
            None => mime_guess::from_ext(ending).first_raw(),
        });
        self.with_charset(kind.unwrap_or(&self.default))
    }

    /// A type, with the character set if it is a text's.
    pub(crate) fn with_charset(&self, kind: &str) -> String {
        match &self.charset {
            Charset::Named(charset) if self.is_text(kind) => format!("{kind}; charset={charset}"),
            Charset::Named(_) | Charset::None => kind.to_owned(),
        }
    }

    /// The type of an upstream's answer, if it is a text's that does not say which character set it has. The upstream may
    /// name one for us, or forbid it.
    pub(crate) fn of_upstream(&self, kind: &[u8], named: Option<&[u8]>) -> Option<Vec<u8>> {
        if named.is_none() && !(self.for_upstreams && matches!(self.charset, Charset::Named(_))) {
            return None;
        }
        let has = |part: &[u8]| {
            let part = part.trim_ascii_start();
            part.get(..8)
                .is_some_and(|name| name.eq_ignore_ascii_case(b"charset="))
        };
        let mut parts = kind.split(|&byte| byte == b';');
        let plain = std::str::from_utf8(parts.next()?.trim_ascii()).ok()?;
        let charset = match (named, &self.charset) {
            (Some(b"off"), _) => return None,
            (Some(named), _) => named,
            (None, Charset::Named(charset)) if self.for_upstreams => charset.as_bytes(),
            (None, _) => return None,
        };
        let fits = self.is_text(&plain.to_ascii_lowercase()) && !parts.any(has);
        fits.then(|| [kind, b"; charset=", charset].concat())
    }

    fn is_text(&self, kind: &str) -> bool {
        if let Some(texts) = &self.texts {
            let is = |text: &String| text == "*" || text.eq_ignore_ascii_case(kind);
            return kind == "text/html" || texts.iter().any(is);
        }
        if self.by_ending.is_some() {
            // nginx's default for `charset_types`.
            return matches!(
                kind,
                "text/html"
                    | "text/xml"
                    | "text/plain"
                    | "text/vnd.wap.wml"
                    | "application/javascript"
                    | "application/rss+xml"
            );
        }
        kind.starts_with("text/")
            || matches!(
                kind,
                "application/javascript"
                    | "application/json"
                    | "application/xml"
                    | "application/manifest+json"
            )
    }
}

fn extension(name: &[u8]) -> Option<&str> {
    let file = name.rsplit(|&byte| byte == b'/').next()?;
    let dot = memchr::memrchr(b'.', file).filter(|&dot| dot > 0)?;
    std::str::from_utf8(&file[dot + 1..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: &str = "application/octet-stream";

    #[test]
    fn types() {
        let kinds = Kinds::built_in();
        for (name, want) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b/style.css", "text/css; charset=utf-8"),
            ("app.JS", "text/javascript; charset=utf-8"),
            ("data.json", "application/json; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("logo.png", "image/png"),
            ("font.woff2", "font/woff2"),
            ("archive.tar.gz", "application/gzip"),
            ("README", UNKNOWN),
            (".htaccess", UNKNOWN),
            ("a.b/README", UNKNOWN),
            ("x.unheard-of", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(kinds.of(name.as_bytes()), want, "{name}");
        }
    }
}
