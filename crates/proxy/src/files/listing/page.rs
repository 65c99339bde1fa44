//! A folder's list as HTML, XML, JSON and JSONP, byte for byte as nginx writes it. Pure.
//!
//! Not here: reading the folder.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Item, Kind};
use crate::config::Listing;

/// Longer names are cut.
const NAME_COLUMNS: usize = 50;

pub(super) fn html(path: &[u8], items: &[Item], listing: &Listing, utf8: bool) -> Vec<u8> {
    let mut out = b"<html>\r\n<head><title>Index of ".to_vec();
    escape_html(&mut out, path);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    escape_html(&mut out, path);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    for item in items {
        row(&mut out, item, listing, utf8);
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    out
}

fn row(out: &mut Vec<u8>, item: &Item, listing: &Listing, utf8: bool) {
    let is_folder = item.kind == Kind::Folder;
    out.extend_from_slice(b"<a href=\"");
    escape_uri(out, &item.name);
    if is_folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"\">");
    // Columns are characters where the page says that it is UTF-8, and bytes elsewhere.
    let text = std::str::from_utf8(&item.name).ok().filter(|_| utf8);
    let mut columns = text.map_or(item.name.len(), |text| text.chars().count());
    if columns > NAME_COLUMNS {
        let kept = NAME_COLUMNS - 3;
        let end = match text {
            Some(text) => text
                .char_indices()
                .nth(kept)
                .map_or(text.len(), |(at, _)| at),
            None => kept,
        };
        escape_html(out, &item.name[..end]);
        out.extend_from_slice(b"..&gt;</a>");
    } else {
        escape_html(out, &item.name);
        if is_folder && columns < NAME_COLUMNS {
            out.push(b'/');
            columns += 1;
        }
        out.extend_from_slice(b"</a>");
        out.resize(out.len() + NAME_COLUMNS - columns, b' ');
    }
    out.push(b' ');
    let zone = if listing.local_time {
        TimeZone::system()
    } else {
        TimeZone::UTC
    };
    let when = time(item.modified).to_zoned(zone);
    // Writing to a Vec cannot fail, here and below.
    let _ = write!(out, "{} ", when.strftime("%d-%b-%Y %H:%M"));
    let _ = match (listing.exact_size, is_folder) {
        (true, true) => write!(out, "{:>19}", "-"),
        (true, false) => write!(out, "{:>19}", item.size),
        (false, true) => write!(out, "{:>7}", "-"),
        (false, false) => {
            let (size, unit) = rounded(item.size);
            match unit {
                None => write!(out, "{size:>7}"),
                Some(unit) => write!(out, "{size:>6}{unit}"),
            }
        }
    };
    out.extend_from_slice(b"\r\n");
}

/// A size with at most four digits, as nginx rounds it.
fn rounded(size: i64) -> (i64, Option<char>) {
    const K: i64 = 1 << 10;
    const M: i64 = 1 << 20;
    const G: i64 = 1 << 30;
    let in_units = |unit: i64, letter| {
        let up = i64::from(size % unit > unit / 2 - 1);
        (size / unit + up, Some(letter))
    };
    if size > G - 1 {
        in_units(G, 'G')
    } else if size > M - 1 {
        in_units(M, 'M')
    } else if size > 9999 {
        in_units(K, 'K')
    } else {
        (size, None)
    }
}

pub(super) fn xml(items: &[Item]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for item in items {
        let element = word(item.kind);
        let when = time(item.modified).strftime("%Y-%m-%dT%H:%M:%SZ");
        let _ = write!(out, "<{element} mtime=\"{when}\"");
        if item.kind == Kind::File {
            let _ = write!(out, " size=\"{}\"", item.size);
        }
        out.push(b'>');
        escape_html(&mut out, &item.name);
        let _ = write!(out, "</{element}>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

/// `callback`: in a call of this function.
pub(super) fn json(items: &[Item], callback: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(callback) = callback {
        out.extend_from_slice(b"/* callback */\r\n");
        out.extend_from_slice(callback);
        out.push(b'(');
    }
    out.push(b'[');
    for (number, item) in items.iter().enumerate() {
        out.extend_from_slice(if number == 0 { b"\r\n" } else { b",\r\n" });
        out.extend_from_slice(b"{ \"name\":\"");
        escape_json(&mut out, &item.name);
        let when = time(item.modified).strftime("%a, %d %b %Y %H:%M:%S GMT");
        let _ = write!(
            out,
            "\", \"type\":\"{}\", \"mtime\":\"{when}\"",
            word(item.kind)
        );
        if item.kind == Kind::File {
            let _ = write!(out, ", \"size\":{}", item.size);
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    if callback.is_some() {
        out.extend_from_slice(b");");
    }
    out
}

/// Whether a name may be called: nothing else may come out of a client's argument.
pub(super) fn is_callback(name: &[u8]) -> bool {
    name.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Folder => "directory",
        Kind::File => "file",
        Kind::Other => "other",
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

fn escape_html(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

/// All but letters, digits and `-._~`.
fn escape_uri(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            ..0x20 => _ = write!(out, "\\u{byte:04X}"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (size, want) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10K"),
            (10_240 + 511, "10K"),
            (10_240 + 512, "11K"),
            ((1 << 20) - 1, "1024K"),
            (1 << 20, "1M"),
            ((1 << 30) - 1, "1024M"),
            (3 << 30, "3G"),
        ] {
            let (number, unit) = rounded(size);
            let unit = unit.map_or(String::new(), String::from);
            assert_eq!(format!("{number}{unit}"), want, "{size}");
        }
    }

    #[test]
    fn callbacks() {
        assert!(is_callback(b"a.b_1"));
        assert!(!is_callback(b"alert(1)") && !is_callback(b"a;b") && !is_callback(b"a b"));
    }
}
