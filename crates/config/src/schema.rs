//! The JSON schema of a raw config type, for editors that complete and check YAML while it is typed.

use schemars::JsonSchema;

/// The schema of `Raw` as text; its doc comments are the descriptions. For `--generate schema`.
#[must_use]
pub fn schema<Raw: JsonSchema>() -> String {
    let mut text = format!("{:#}", schemars::schema_for!(Raw).as_value());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteSize, Duration, ListenAddr, OneOrMany};

    /// A server.
    #[derive(JsonSchema)]
    #[schemars(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Raw {
        /// Where to listen.
        listen: OneOrMany<ListenAddr>,
        timeout: Option<Duration>,
        max_body: Option<ByteSize>,
    }

    #[test]
    fn descriptions_and_references_are_there() {
        let text = schema::<Raw>();
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["description"], "A server.");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(
            schema["properties"]["listen"]["description"],
            "Where to listen."
        );
        for name in ["ListenAddr", "Duration", "ByteSize", "OneOrMany_ListenAddr"] {
            assert!(schema["$defs"][name].is_object(), "{name} in {text}");
        }
    }
}
