//! Which values a setting takes, with gunicorn's conversions and its words about the others.
//!
//! Not here: what needs Python (`python::Object`), and what settings mean together (`settings`).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trine_config::ByteSize;

use super::address;
use super::origin::Origin;
use super::table::{Check, Wrong};
use super::value::{Value, quoted};

/// The value as it is kept, or why it is none.
///
/// # Errors
/// gunicorn's sentence about the value.
pub(crate) fn validate(
    name: &str,
    check: Check,
    value: Value,
    origin: &Origin,
) -> Result<Value, String> {
    match check {
        Check::Bool => boolean(value),
        Check::Count => count(&value).map(Value::Int),
        Check::Seconds => seconds(value),
        Check::MaybeSeconds if value.is_nothing() => Ok(value),
        Check::MaybeSeconds => seconds(value),
        Check::Size => size(value),
        Check::Text | Check::Path | Check::Class => text(value),
        Check::Texts => texts(value).map(Value::List),
        Check::Files => files(value),
        Check::Words => words(value).map(Value::texts),
        Check::Addresses => addresses(value),
        Check::OneOf(known, wrong) => one_of(value, known, wrong),
        Check::User => user(value, origin),
        Check::Group => group(value, origin),
        Check::Chdir => chdir(value, origin),
        Check::Statsd => statsd(value),
        Check::Dict => match value {
            Value::Dict(_) => Ok(value),
            other => Err(format!("Value is not a dictionary: {other} ")),
        },
        Check::SslVersion => Ok(value),
        Check::ProxyProtocol => proxy_protocol(value),
        Check::HttpProtocols => http_protocols(value),
        Check::Http2Cleartext => http2_cleartext(value),
        Check::Range(least, most, wrong) => match count(&value)? {
            number if (least..=most).contains(&number) => Ok(Value::Int(number)),
            number => Err(wrong.replace("{}", &number.to_string())),
        },
        // Python looks at these before they come here; what is left is not of Python.
        Check::Hook(_) | Check::PostRequest => match value {
            Value::Object(_) | Value::Builtin(_) => Ok(value),
            other => Err(format!("Value is not callable: {other}")),
        },
    }
    .map_err(|why: String| {
        if why.is_empty() {
            format!("invalid value for {name}")
        } else {
            why
        }
    })
}

fn boolean(value: Value) -> Result<Value, String> {
    match &value {
        Value::Nothing | Value::Bool(_) => Ok(value),
        Value::Text(text) => match text.trim().to_lowercase().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("Invalid boolean: {text}")),
        },
        other => Err(format!("Invalid type for casting: {other}")),
    }
}

/// Python's `int(value)` for numbers and `int(value, 0)` for texts, from 0.
fn count(value: &Value) -> Result<i64, String> {
    let number = match value {
        Value::Int(number) => *number,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => integer(text, 0)
            .ok_or_else(|| format!("invalid literal for int() with base 0: {}", quoted(text)))?,
        _ => return Err("int() can't convert non-string with explicit base".to_owned()),
    };
    if number < 0 {
        return Err(format!("Value must be positive: {number}"));
    }
    Ok(number)
}

/// Python's `int(text, base)` for the bases 10 and 0, where 0 knows `0x`, `0o` and `0b` and no leading zeros.
#[must_use]
pub(crate) fn integer(text: &str, base: u32) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|rest| (rest, base)));
    let (digits, radix) = match prefixed {
        Some((rest, radix)) if base == 0 => (rest.strip_prefix('_').unwrap_or(rest), radix),
        _ => (lower.as_str(), 10),
    };
    let grouped = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    let plain = digits.replace('_', "");
    let octal_of_old = base == 0 && radix == 10 && plain.len() > 1 && plain.starts_with('0');
    if !grouped
        || plain.starts_with(['+', '-'])
        || (octal_of_old && plain.bytes().any(|b| b != b'0'))
    {
        return None;
    }
    i64::from_str_radix(&plain, radix)
        .ok()
        .map(|number| sign * number)
}

/// Whole seconds as gunicorn has them, or a time with a unit or a fraction.
fn seconds(value: Value) -> Result<Value, String> {
    let time = match &value {
        Value::Float(time) if *time >= 0.0 && *time < 1e9 => Duration::from_secs_f64(*time),
        Value::Text(text) if integer(text, 0).is_none() => {
            let time: trine_config::Duration = text
                .parse()
                .map_err(|error: trine_config::Invalid| error.to_string())?;
            time.get()
        }
        Value::Time(time) => *time,
        _ => return count(&value).map(Value::Int),
    };
    Ok(match i64::try_from(time.as_secs()) {
        Ok(whole) if time.subsec_nanos() == 0 => Value::Int(whole),
        _ => Value::Time(time),
    })
}

fn size(value: Value) -> Result<Value, String> {
    match &value {
        Value::Nothing => Ok(value),
        Value::Text(text) => {
            let size: ByteSize = text
                .parse()
                .map_err(|error: trine_config::Invalid| error.to_string())?;
            Ok(Value::Int(i64::try_from(size.bytes()).unwrap_or(i64::MAX)))
        }
        _ => count(&value).map(Value::Int),
    }
}

fn text(value: Value) -> Result<Value, String> {
    match value {
        Value::Nothing => Ok(Value::Nothing),
        Value::Text(text) => Ok(Value::text(text.trim())),
        other => Err(format!("Not a string: {other}")),
    }
}

fn texts(value: Value) -> Result<Vec<Value>, String> {
    if !value.is_truthy() {
        return Ok(vec![]);
    }
    match value {
        Value::Text(_) => Ok(vec![text(value)?]),
        Value::List(items) | Value::Tuple(items) => items.into_iter().map(text).collect(),
        other => Err(format!("Not a list of strings: {other}")),
    }
}

fn files(value: Value) -> Result<Value, String> {
    let files = texts(value)?;
    for file in &files {
        let Some(path) = file.as_str() else { continue };
        if !path.contains(['*', '?', '[']) && !Path::new(path).exists() {
            return Err(format!("File {path} does not exists."));
        }
    }
    Ok(Value::List(files))
}

fn words(value: Value) -> Result<Vec<String>, String> {
    // gunicorn takes a text only; a list is what everybody expects, and what YAML has.
    let value = match value {
        Value::List(items) | Value::Tuple(items) => {
            let items: Vec<Value> = texts(Value::List(items))?;
            let items = items.iter().filter_map(Value::as_str);
            Value::text(items.collect::<Vec<_>>().join(","))
        }
        other => text(other)?,
    };
    let text = value.as_str().unwrap_or_default();
    let words = text.split(',').filter(|word| !word.is_empty());
    Ok(words.map(|word| word.trim().to_owned()).collect())
}

/// Like Python's `ipaddress.ip_network`, in its strict mode.
fn addresses(value: Value) -> Result<Value, String> {
    let list = words(value)?;
    for word in list.iter().filter(|word| *word != "*") {
        network(word)?;
    }
    Ok(Value::texts(list))
}

/// A network with the length of its prefix: `10.0.0.0/255.0.0.0` is `10.0.0.0/8`.
pub(crate) fn network(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "{} does not appear to be an IPv4 or IPv6 network",
            quoted(text)
        )
    };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let named = address;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let Some(prefix) = prefix else {
        return Ok(named.to_owned());
    };
    let prefix: u32 = match (prefix.parse(), address) {
        (Ok(prefix), _) if prefix <= width => prefix,
        (_, IpAddr::V4(_)) => netmask(prefix).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let host = bits.checked_shl(128 - width + prefix).unwrap_or(0);
    if host != 0 {
        return Err(format!("{text} has host bits set"));
    }
    Ok(format!("{named}/{prefix}"))
}

/// The length of `255.255.255.0`.
fn netmask(text: &str) -> Option<u32> {
    let mask: std::net::Ipv4Addr = text.parse().ok()?;
    let bits = mask.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() >= 32).then(|| bits.leading_ones())
}

fn one_of(value: Value, known: &[&str], wrong: Wrong) -> Result<Value, String> {
    let told = |value: &Value| match wrong {
        Wrong::Invalid(what) => format!("Invalid {what}: {value}"),
        Wrong::Must(name) => format!("{name} must be one of: {}", known.join(", ")),
        Wrong::Exactly(what) => match value {
            Value::Text(text) => format!("Invalid {what}: {}", quoted(text)),
            other => format!("Invalid {what}: {other}"),
        },
    };
    let exact = matches!(wrong, Wrong::Exactly(_));
    match &value {
        Value::Nothing if !exact => Ok(Value::text(known[0])),
        Value::Text(text) => {
            let word = if exact {
                text.clone()
            } else {
                text.trim().to_lowercase()
            };
            if known.contains(&word.as_str()) {
                Ok(Value::text(word))
            } else {
                Err(told(&value))
            }
        }
        other => Err(match wrong {
            Wrong::Must(name) => format!("{name} must be a string"),
            Wrong::Invalid(_) => format!("Invalid type for casting: {other}"),
            Wrong::Exactly(_) => told(other),
        }),
    }
}

fn user(value: Value, origin: &Origin) -> Result<Value, String> {
    account(value, origin.user, |name| {
        let found = nix::unistd::User::from_name(name).ok().flatten();
        found
            .map(|user| user.uid.as_raw())
            .ok_or_else(|| format!("No such user: '{name}'"))
    })
}

fn group(value: Value, origin: &Origin) -> Result<Value, String> {
    account(value, origin.group, |name| {
        let found = nix::unistd::Group::from_name(name).ok().flatten();
        found
            .map(|group| group.gid.as_raw())
            .ok_or_else(|| format!("No such group: '{name}'"))
    })
}

fn account(
    value: Value,
    own: u32,
    find: impl Fn(&str) -> Result<u32, String>,
) -> Result<Value, String> {
    match value {
        Value::Nothing => Ok(Value::Int(own.into())),
        Value::Int(number) => Ok(Value::Int(number)),
        Value::Text(text) => match text.parse::<u32>() {
            Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Value::Int(number.into())),
            _ => find(&text).map(|number| Value::Int(number.into())),
        },
        other => Err(format!("Not a string: {other}")),
    }
}

fn chdir(value: Value, origin: &Origin) -> Result<Value, String> {
    let value = text(value)?;
    let given = value.as_str().unwrap_or_default();
    let path = normal(&origin.folder.join(given));
    if !path.exists() {
        return Err(format!("can't chdir to {}", quoted(given)));
    }
    Ok(Value::text(path.to_string_lossy()))
}

/// Without `.` and `..`, by the names alone, as Python's `normpath`.
fn normal(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// As gunicorn keeps it: a path, or host and port.
fn statsd(value: Value) -> Result<Value, String> {
    let value = text(value)?;
    let Some(text) = value.as_str() else {
        return Ok(Value::Nothing);
    };
    let port_alone = text
        .strip_prefix("unix:")
        .and_then(|port| port.parse().ok());
    if let Some(port) = port_alone {
        return Ok(Value::Tuple(vec![Value::text("unix"), Value::Int(port)]));
    }
    match address::parse(text, "8125") {
        Ok(address::Given::Host(host, port)) => Ok(Value::Tuple(vec![
            Value::text(host),
            Value::Int(port.into()),
        ])),
        Ok(address::Given::Path(path)) => Ok(Value::text(path)),
        _ => Err("Value must be one of ('host:port', 'unix://PATH')".to_owned()),
    }
}

fn proxy_protocol(value: Value) -> Result<Value, String> {
    let word = match &value {
        Value::Nothing | Value::Bool(false) => "off",
        Value::Bool(true) => "auto",
        Value::Text(text) => match text.trim().to_lowercase().as_str() {
            "false" | "off" | "0" | "none" => "off",
            "true" | "auto" | "1" => "auto",
            "v1" => "v1",
            "v2" => "v2",
            _ => return Err("proxy_protocol must be: off, v1, v2, or auto".to_owned()),
        },
        _ => return Err("proxy_protocol must be string or bool".to_owned()),
    };
    Ok(Value::text(word))
}

fn http_protocols(value: Value) -> Result<Value, String> {
    let text = match &value {
        Value::Nothing => "",
        Value::Text(text) => text,
        _ => return Err("http_protocols must be a string".to_owned()),
    };
    let words = text.split(',').map(|word| word.trim().to_lowercase());
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    for (place, word) in words.iter().enumerate() {
        if !["h1", "h2"].contains(&word.as_str()) {
            return Err(format!(
                "Invalid protocol '{word}'. Valid protocols: h1, h2"
            ));
        }
        if words[..place].contains(word) {
            return Err("Duplicate protocols specified".to_owned());
        }
    }
    Ok(if words.is_empty() {
        Value::texts(["h1"])
    } else {
        Value::texts(words)
    })
}

fn http2_cleartext(value: Value) -> Result<Value, String> {
    match value {
        Value::Bool(true) => Ok(Value::text("prior-knowledge")),
        Value::Bool(false) => Ok(Value::text("off")),
        other => one_of(
            other,
            &["off", "prior-knowledge", "upgrade", "both"],
            Wrong::Invalid("http2_cleartext"),
        ),
    }
}

#[cfg(test)]
mod tests;
