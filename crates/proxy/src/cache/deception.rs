//! Pages under names of files: an application that answers `/account/x.css` as it answers `/account` gives a stranger's page
//! to a cache that goes by names ("web cache deception"). Pure.

use percent_encoding::percent_decode;

/// Whether an answer is a page although its path ends like a picture's, a style sheet's, a script's or another file's.
///
/// Delimiters mean nothing here: `/account;x.css` and `/account%2Fx.css` end in `.css` as well.
pub(super) fn is_disguised(path: &[u8], content_type: Option<&[u8]>) -> bool {
    let Some(kind) = content_type else {
        return false;
    };
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    let kind = String::from_utf8_lossy(kind.trim_ascii()).to_ascii_lowercase();
    let is_page = matches!(
        &*kind,
        "text/html" | "application/xhtml+xml" | "application/json"
    );
    is_page && is_named_as_file(path)
}

fn is_named_as_file(path: &[u8]) -> bool {
    let path: Vec<u8> = percent_decode(path).collect();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let Some(dot) = memchr::memrchr(b'.', name) else {
        return false;
    };
    let ending = String::from_utf8_lossy(&name[dot + 1..]);
    let Some(kind) = mime_guess::from_ext(&ending).first_raw() else {
        return false;
    };
    let (class, _) = kind.split_once('/').unwrap_or((kind, ""));
    matches!(class, "image" | "font" | "audio" | "video")
        || matches!(
            kind,
            "text/css"
                | "text/javascript"
                | "application/javascript"
                | "application/pdf"
                | "application/zip"
                | "application/gzip"
                | "application/wasm"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_under_names_of_files() {
        for (path, kind, want) in [
            ("/account/x.css", "text/html", true),
            ("/account/x.CSS", "Text/HTML; charset=utf-8", true),
            ("/account;x.js", "text/html", true),
            ("/account%2Fx.woff2", "text/html", true),
            ("/account/x%2ejpg", "application/json", true),
            ("/account/.png", "text/html", true),
            ("/a.pdf", "application/xhtml+xml", true),
            ("/a.css", "text/css", false),
            ("/a.js", "application/x-javascript", false),
            ("/a.svg", "image/svg+xml", false),
            ("/a.css", "text/plain", false),
            ("/a.html", "text/html", false),
            ("/a.php", "text/html", false),
            ("/a.json", "application/json", false),
            ("/a.css/", "text/html", false),
            ("/css", "text/html", false),
            ("/", "text/html", false),
        ] {
            let got = is_disguised(path.as_bytes(), Some(kind.as_bytes()));
            assert_eq!(got, want, "{path} {kind}");
        }
        assert!(!is_disguised(b"/a.css", None));
    }
}
