//! Values that only the proxy's file has: "none" for a time without end, networks, upstream addresses.
//!
//! Not here: which key has which of them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use trine_config::Duration;

use super::model::{HostPattern, Network, PeerAddr};

/// A time, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"30s\", or \"none\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
                if matches!(text, "none" | "off") {
                    return Ok(Limit(None));
                }
                text.parse()
                    .map(|time| Limit(Some(time)))
                    .map_err(E::custom)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Limit, E> {
                if value {
                    Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self))
                } else {
                    Ok(Limit(None))
                }
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Limit, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Limit, E> {
                self.visit_str(&seconds.to_string())
            }
        }
        from.deserialize_any(Read)
    }
}

/// `off`, a path, or a map `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OffOr<T> {
    Off,
    Path(String),
    Map(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OffOr<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
            type Value = OffOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("off, a path, or a map with path and format")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<OffOr<T>, E> {
                if on {
                    Err(E::invalid_type(serde::de::Unexpected::Bool(on), &self))
                } else {
                    Ok(OffOr::Off)
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OffOr<T>, E> {
                Ok(if matches!(text, "off" | "none") {
                    OffOr::Off
                } else {
                    OffOr::Path(text.to_owned())
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OffOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OffOr::Map)
            }
        }
        from.deserialize_any(Read(PhantomData))
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A time such as 30s, or none.", "type": ["string", "number", "boolean"] })
    }
}

impl<T: JsonSchema> JsonSchema for OffOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OffOr_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "const": false }, { "type": "string" }, map] })
    }
}

/// `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Option<Network> {
    match text.split_once('/') {
        None => text.parse().ok().map(Network::host),
        Some((addr, bits)) => Network::new(addr.parse::<IpAddr>().ok()?, bits.parse().ok()?),
    }
}

/// `127.0.0.1:8000`, `app:8000`, `unix:run/app.sock`, each also with `http://` in front; paths start at `folder`.
pub(super) fn peer(text: &str, folder: &Path) -> Option<PeerAddr> {
    let text = text
        .strip_prefix("http://")
        .map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
    if let Some(path) = text.strip_prefix("unix:") {
        let path = folder.join(path);
        let usable = !path.as_os_str().is_empty() && trine_sys::net::fits_unix_path(&path);
        return usable.then_some(PeerAddr::Unix(path));
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return (addr.port() != 0).then_some(PeerAddr::Ip(addr));
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    if name == "localhost" {
        return Some(PeerAddr::Ip(([127, 0, 0, 1], port).into()));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!name.is_empty() && name.bytes().all(good)).then(|| PeerAddr::Name(name.to_owned(), port))
}

/// `example.org` or `*.example.org`.
pub(super) fn host_pattern(text: &str) -> Option<HostPattern> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (rest, pattern) = match name.strip_prefix("*.") {
        Some(rest) => (rest, HostPattern::Suffix(format!(".{rest}"))),
        None => (name.as_str(), HostPattern::Exact(name.clone())),
    };
    let literal = rest
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let named = !rest.is_empty() && !rest.starts_with('.') && rest.bytes().all(good);
    (named || literal).then_some(pattern)
}
