//! The values of supervisord.conf: text in, value or a sentence about what is wrong out.
//! Not here: which key has which kind of value (`program`, `daemon`).

use std::path::{Component, Path, PathBuf};
use trine_config::ByteSize;

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(format!(
            "expected true or false (also yes, no, on, off, 1, 0), found {text:?}"
        )),
    }
}

pub(super) fn integer(text: &str) -> Result<i64, String> {
    let bad = || format!("expected a whole number, found {text:?}");
    // Python's: blanks around it, a plus, underscores between digits.
    let plain = text.trim();
    if plain.starts_with('_') || plain.ends_with('_') || plain.contains("__") {
        return Err(bad());
    }
    plain.replace('_', "").parse().map_err(|_| bad())
}

/// A number for a place where nothing below zero makes sense: there it means zero, as supervisord takes it.
pub(super) fn count(text: &str) -> Result<u32, String> {
    let number = integer(text)?.max(0);
    u32::try_from(number).map_err(|_| format!("{text} is too large"))
}

pub(super) fn size(text: &str) -> Result<ByteSize, String> {
    let lower = text.to_lowercase();
    let units = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];
    let unit = units
        .into_iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?, factor)));
    let (digits, factor) = unit.unwrap_or((&lower, 1_i64));
    let bytes = integer(digits)
        .ok()
        .and_then(|number| number.checked_mul(factor));
    let bytes = bytes.ok_or_else(|| {
        format!("expected a number of bytes, or one with KB, MB or GB, found {text:?}")
    })?;
    Ok(ByteSize(u64::try_from(bytes).unwrap_or(0)))
}

pub(super) fn octal(text: &str) -> Result<u32, String> {
    let plain = text.trim();
    let digits = plain
        .strip_prefix("0o")
        .or_else(|| plain.strip_prefix("0O"))
        .unwrap_or(plain);
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|bits| *bits <= 0o7777)
        .ok_or_else(|| format!("expected octal permission bits, such as 022, found {text:?}"))
}

pub(super) fn exit_codes(text: &str) -> Result<Vec<i32>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let code = |part: &str| {
        let number = integer(part).ok()?;
        u8::try_from(number).ok().map(i32::from)
    };
    text.split(',')
        .map(code)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected exit codes from 0 to 255, such as 0,2; found {text:?}"))
}

/// `host:port`, `*:port` or a port, as `host:port` with nothing for every address.
pub(super) fn inet_address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = integer(port)
        .ok()
        .filter(|port| (1..=65535).contains(port))
        .ok_or_else(|| format!("expected HOST:PORT, *:PORT or PORT, found {text:?}"))?;
    let host = host.trim().to_ascii_lowercase();
    let host = if host == "*" { "" } else { &host };
    Ok(format!("{host}:{port}"))
}

/// A path with `~` filled in, counted from `base`, and as supervisord writes it: `..` takes the folder before it away,
/// even where that is a link.
pub(super) fn path(base: &Path, text: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in base.join(home(text)).components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// `~` and `~user` at the beginning.
pub(super) fn home(text: &str) -> String {
    let Some(rest) = text.strip_prefix('~') else {
        return text.to_owned();
    };
    let (user, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let folder = if user.is_empty() {
        std::env::var_os("HOME").map(PathBuf::from).or_else(|| {
            let uid = trine_sys::privileges::effective_uid().to_string();
            trine_sys::privileges::find_user(&uid)
                .ok()?
                .map(|user| user.home)
        })
    } else {
        let user = trine_sys::privileges::find_user(user).ok().flatten();
        user.map(|user| user.home)
    };
    match folder.as_deref().and_then(Path::to_str) {
        Some(folder) => format!("{}{rest}", folder.trim_end_matches('/')),
        None => text.to_owned(),
    }
}

/// `KEY=value,KEY2="another"`, and what is odd about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) pairs: Vec<(String, String)>,
    /// What it became although hardly anybody means it so.
    pub(super) odd: Option<String>,
}

pub(super) fn environment(text: &str) -> Result<Environment, String> {
    let tokens = super::tokens::split(text)?;
    let mut found = Environment::default();
    let mut rest = tokens.as_slice();
    while !rest.is_empty() {
        let [key, equals, value, after @ ..] = rest else {
            return Err(format!(
                "expected KEY=VALUE,KEY=VALUE, found {text:?}; put values into double quotes"
            ));
        };
        if equals != "=" {
            return Err(format!(
                "expected = after {key:?}, found {equals:?}; put values into double quotes"
            ));
        }
        let plain_name = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain_name {
            found
                .odd
                .get_or_insert(format!("it sets a variable called {key:?}"));
        }
        found
            .pairs
            .push((key.clone(), value.trim_matches(['\'', '"']).to_owned()));
        if let [separator, ..] = after
            && separator != ","
        {
            found
                .odd
                .get_or_insert(format!("{separator:?} after {key}={value} is dropped"));
        }
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of these was tried with Supervisor 4.3.
    #[test]
    fn values_as_supervisord_reads_them() {
        assert_eq!(boolean("YES"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        assert!(boolean("").is_err() && boolean("none").is_err());
        assert_eq!(integer(" +1_000 "), Ok(1000));
        assert!(integer("1.5").is_err() && integer("").is_err() && integer("1__0").is_err());
        assert_eq!(count("-5"), Ok(0));
        let bytes = |text| size(text).map(ByteSize::bytes).ok();
        assert_eq!(
            (bytes("1 GB"), bytes("2kB"), bytes("7")),
            (Some(1 << 30), Some(2048), Some(7))
        );
        assert_eq!(
            (bytes("-1"), bytes("10B"), bytes("1K"), bytes("1.5MB")),
            (Some(0), None, None, None)
        );
        assert_eq!(
            (octal("022"), octal("22"), octal("0o22")),
            (Ok(18), Ok(18), Ok(18))
        );
        assert!(octal("9").is_err() && octal("77777").is_err());
        assert_eq!(exit_codes("0, 2"), Ok(vec![0, 2]));
        assert!(exit_codes("256").is_err() && exit_codes("1,").is_err());
        assert_eq!(inet_address("*:9001"), Ok(":9001".to_owned()));
        assert_eq!(inet_address("9001"), Ok(":9001".to_owned()));
        assert_eq!(inet_address("Box:80"), Ok("box:80".to_owned()));
        assert!(inet_address("box:").is_err() && inet_address("box").is_err());
        assert!(inet_address("1:0").is_err());
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match environment(text) {
            Ok(found) => {
                let pairs = found
                    .pairs
                    .iter()
                    .map(|(key, value)| format!("{key}={value:?};"));
                format!(
                    "{}{}",
                    pairs.collect::<String>(),
                    found.odd.unwrap_or_default()
                )
            }
            Err(err) => format!("error: {err}"),
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn environments() {
        check("", "");
        check("A=1", "A=\"1\";");
        check("A=1,B=\"x,y\",", "A=\"1\";B=\"x,y\";");
        check("A='a \"b\"'", "A=\"a \\\"b\";");
        check("A=\"\"", "A=\"\";");
        check("A = 1 ,\n B=/usr/bin:/bin", "A=\"1\";B=\"/usr/bin:/bin\";");
        check("A=1;B=2", "A=\"1\";B=\"2\";\";\" after A=1 is dropped");
        check(
            "A=http://x:80/p?q=1",
            "A=\"http://x:80/p\";q=\"1\";\"?\" after A=http://x:80/p is dropped",
        );
        check("A=1,#B=2", "A=\"1\";");
        check(
            "A",
            "error: expected KEY=VALUE,KEY=VALUE, found \"A\"; put values into double quotes",
        );
        check(
            "A=",
            "error: expected KEY=VALUE,KEY=VALUE, found \"A=\"; put values into double quotes",
        );
        check("A=\"x", "error: a quote is not closed");
        check("A==1", "A=\"=\";\"1\" after A== is dropped");
        check("A:b=1", "A:b=\"1\";it sets a variable called \"A:b\"");
    }
}
