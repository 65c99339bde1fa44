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

    fn is_text(&self, kind: &str) -> bool {
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
