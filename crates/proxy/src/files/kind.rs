//! Content types by file name. Pure.

/// What is not known is bytes.
const UNKNOWN: &str = "application/octet-stream";

/// The type for a file's name, with the character set for text.
pub(crate) fn content_type(name: &[u8]) -> String {
    let Some(extension) = extension(name) else {
        return UNKNOWN.to_owned();
    };
    let Some(kind) = mime_guess::from_ext(extension).first_raw() else {
        return UNKNOWN.to_owned();
    };
    let text = kind.starts_with("text/")
        || matches!(
            kind,
            "application/javascript"
                | "application/json"
                | "application/xml"
                | "application/manifest+json"
        );
    if text {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
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

    #[test]
    fn types() {
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
            assert_eq!(content_type(name.as_bytes()), want, "{name}");
        }
    }
}
