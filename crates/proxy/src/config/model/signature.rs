//! What answers tell of the program that sends them: the `Server` field, and the foot of its own pages.
//!
//! Not here: the pages (`conn::reply`).

use std::borrow::Cow;

use crate::template::{Scene, Template};

/// The name without a version, which is all that anybody is told unless the configuration wants more.
const NAME: &str = "trine";

/// It.
#[derive(Debug, Clone)]
pub(crate) struct Signature {
    text: Template,
    /// The whole line of a text without variables.
    line: Option<Vec<u8>>,
}

impl Signature {
    /// A text; an empty one leaves both out.
    pub(crate) fn new(text: Template) -> Self {
        let line = text.as_literal().map(line);
        Self { text, line }
    }

    /// The name alone: `server_tokens off`.
    pub(crate) fn name() -> Self {
        Self::new(Template::literal(NAME))
    }

    /// The name and the version: `server_tokens on`.
    pub(crate) fn version() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self::new(Template::literal(format!("{NAME}/{version}")))
    }

    /// And what it was built for: `server_tokens build`.
    pub(crate) fn build() -> Self {
        use std::env::consts::{ARCH, OS};
        let version = env!("CARGO_PKG_VERSION");
        Self::new(Template::literal(format!("{NAME}/{version} ({ARCH}-{OS})")))
    }

    /// The `Server` line, or nothing.
    pub(crate) fn line(&self, scene: Option<&Scene<'_>>) -> Cow<'_, [u8]> {
        match (&self.line, scene) {
            (Some(line), _) => line.into(),
            (None, Some(scene)) => line(&self.text.value(scene)).into(),
            (None, None) => Cow::default(),
        }
    }

    /// Whether it has no variables.
    pub(crate) fn is_fixed(&self) -> bool {
        self.line.is_some()
    }

    /// The text.
    pub(crate) fn text(&self, scene: Option<&Scene<'_>>) -> Vec<u8> {
        match (self.text.as_literal(), scene) {
            (Some(text), _) => text.to_vec(),
            (None, Some(scene)) => self.text.value(scene),
            (None, None) => Vec::new(),
        }
    }
}

/// Nothing for a text that is empty, or that would end the line.
fn line(text: &[u8]) -> Vec<u8> {
    if text.is_empty() || text.iter().any(u8::is_ascii_control) {
        return Vec::new();
    }
    [b"Server: ", text, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |signature: Signature, want: &str| {
            assert_eq!(signature.line(None), want.as_bytes());
        };
        check(Signature::name(), "Server: trine\r\n");
        let version = env!("CARGO_PKG_VERSION");
        check(
            Signature::version(),
            &format!("Server: trine/{version}\r\n"),
        );
        check(Signature::new(Template::literal("")), "");
        check(Signature::new(Template::literal("a\r\nb: c")), "");
    }
}
