//! The JSON schema of the YAML language, for editors: typed keys from their types, words from the table.
//!
//! Not here: checking a file against it; that is `yaml`'s own business.

use serde_json::{Map, Value, json};

use super::raw::RawConfig;
use super::words::{self, LISTS, Scope, Shape};
use crate::config::nginx::table::{Known, Standing};

/// The schema as text.
pub(crate) fn text() -> String {
    let mut text = format!("{:#}", value());
    text.push('\n');
    text
}

/// The schema of the typed keys alone.
pub(crate) fn typed() -> Value {
    schemars::schema_for!(RawConfig).to_value()
}

/// The schema.
pub(crate) fn value() -> Value {
    let mut schema = typed();
    for scope in Scope::ALL {
        let place = match scope {
            Scope::Top => schema.get_mut("properties"),
            Scope::Http => schema.pointer_mut("/$defs/RawHttp"),
            Scope::Server => schema.pointer_mut("/$defs/RawServer/properties"),
            Scope::Location => schema.pointer_mut("/$defs/RawLocation/properties"),
            Scope::Upstream => schema.pointer_mut("/$defs/RawUpstream/properties"),
            Scope::Stream => schema.pointer_mut("/$defs/RawStream/properties"),
            Scope::StreamServer => schema.pointer_mut("/$defs/RawStreamServer/properties"),
            Scope::StreamUpstream => schema.pointer_mut("/$defs/RawStreamUpstream/properties"),
        };
        let Some(place) = place else { continue };
        let properties = match scope {
            Scope::Http => {
                place["properties"] = json!({});
                &mut place["properties"]
            }
            _ => place,
        };
        if let Value::Object(properties) = properties {
            add_words(properties, scope);
        }
    }
    schema
}

fn add_words(properties: &mut Map<String, Value>, scope: Scope) {
    for known in scope.words() {
        let (name, word) = (known.name, words::word(known.name).into_owned());
        if known.standing == Standing::Refused || scope.typed().contains(&word.as_str()) {
            continue;
        }
        properties.insert(word, property(known, &format!("nginx's `{name}`.")));
    }
    for (list, names) in LISTS.iter().filter(|(list, _)| scope.takes(list)) {
        let text = format!("In their order: {}.", names.join(", "));
        properties.insert(
            (*list).to_owned(),
            json!({ "description": text, "type": "array" }),
        );
    }
}

fn property(known: &Known, text: &str) -> Value {
    let text = match known.standing {
        Standing::Accepted => format!("{text} Changes nothing: {}.", known.note),
        Standing::Works | Standing::Refused => text.to_owned(),
    };
    let scalar = json!(["string", "number", "boolean"]);
    let list = json!({ "type": "array" });
    let value = json!({ "type": scalar });
    let mut property = match words::shape(known) {
        Shape::Flag | Shape::Bare => json!({ "type": "boolean" }),
        Shape::One => value,
        Shape::Words | Shape::Each => json!({ "anyOf": [value, list] }),
        Shape::Pairs => json!({ "anyOf": [{ "type": "object" }, list] }),
        Shape::Blocks => json!({ "type": ["object", "array"] }),
    };
    if known.name == "sticky" {
        property = sticky();
    }
    property["description"] = text.into();
    property
}

/// nginx's words in a list, or keys.
fn sticky() -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let time = || json!({ "type": ["string", "number"] });
    let flag = || json!({ "type": "boolean" });
    let cookie = json!({
        "cookie": text(), "expires": time(), "domain": text(), "path": text(),
        "httponly": flag(), "secure": flag(), "samesite": text(),
    });
    let learn = json!({
        "create": texts(), "lookup": texts(), "zone": text(), "timeout": time(), "header": flag(), "sync": flag(),
    });
    let only = |kind: &str, properties: Value| {
        json!({
            "type": "object", "properties": properties, "required": [kind], "additionalProperties": false,
        })
    };
    let learn = json!({
        "type": "object", "properties": learn, "required": ["create", "lookup", "zone"], "additionalProperties": false,
    });
    json!({ "anyOf": [
        { "type": "array" },
        only("cookie", cookie),
        only("route", json!({ "route": texts() })),
        only("learn", json!({ "learn": learn })),
    ] })
}
