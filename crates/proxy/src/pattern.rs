//! Regular expressions as nginx's files have them, over bytes.
//!
//! What can be matched in linear time is; look-around and back-references, which PCRE has too, are matched by
//! backtracking with a bound. Not here: where expressions are used.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

/// Steps of a backtracking match before it counts as none (PCRE's default is ten million).
const BACKTRACK_LIMIT: usize = 1_000_000;

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pattern {
    source: String,
    caseless: bool,
    engine: Arc<Engine>,
    names: Arc<[Option<String>]>,
}

enum Engine {
    Linear(regex::bytes::Regex),
    Backtracking(fancy_regex::Regex),
}

/// What the groups of an expression matched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captures {
    subject: Vec<u8>,
    groups: SmallVec<[Option<(usize, usize)>; 8]>,
    names: Arc<[Option<String>]>,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn new(source: &str, caseless: bool) -> Result<Self, String> {
        let linear = regex::bytes::RegexBuilder::new(source)
            .case_insensitive(caseless)
            .unicode(false)
            .build();
        let engine = match linear {
            Ok(engine) => Engine::Linear(engine),
            Err(first) => fancy_regex::RegexBuilder::new(source)
                .case_insensitive(caseless)
                .backtrack_limit(BACKTRACK_LIMIT)
                .build()
                .map(Engine::Backtracking)
                .map_err(|_| last_line(&first.to_string()))?,
        };
        let own = |name: Option<&str>| name.map(str::to_owned);
        let names: Vec<_> = match &engine {
            Engine::Linear(engine) => engine.capture_names().map(own).collect(),
            Engine::Backtracking(engine) => engine.capture_names().map(own).collect(),
        };
        Ok(Self {
            source: source.to_owned(),
            caseless,
            engine: Arc::new(engine),
            names: names.into(),
        })
    }

    /// The names of its groups.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(String::as_str)
    }

    /// How many groups it has.
    pub(crate) fn groups(&self) -> usize {
        // The whole match is one.
        self.names.len() - 1
    }

    /// As it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// What its groups match in `subject`; `None` if it does not match.
    pub(crate) fn captures(&self, subject: &[u8]) -> Option<Captures> {
        let groups = match &*self.engine {
            Engine::Linear(engine) => {
                let found = engine.captures(subject)?;
                let range = |group: Option<regex::bytes::Match<'_>>| {
                    group.map(|group| (group.start(), group.end()))
                };
                found.iter().map(range).collect()
            }
            Engine::Backtracking(engine) => {
                let text = std::str::from_utf8(subject).ok()?;
                let found = engine.captures(text).ok()??;
                let range = |group: Option<fancy_regex::Match<'_>>| {
                    group.map(|group| (group.start(), group.end()))
                };
                found.iter().map(range).collect()
            }
        };
        Some(Captures {
            subject: subject.to_vec(),
            groups,
            names: Arc::clone(&self.names),
        })
    }
}

impl Captures {
    /// `$0` to `$9`.
    pub(crate) fn number(&self, number: usize) -> Option<&[u8]> {
        let (start, end) = (*self.groups.get(number)?)?;
        self.subject.get(start..end)
    }

    pub(crate) fn name(&self, name: &str) -> Option<&[u8]> {
        self.named()
            .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))?
    }

    /// The groups that have names, with what they match.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let names = self.names.iter().enumerate();
        names.filter_map(|(number, name)| Some((name.as_deref()?, self.number(number))))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.caseless == other.caseless
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "~{}{}",
            if self.caseless { "*" } else { "" },
            self.source
        )
    }
}

/// The last line of a regex error says what; the others draw the expression.
fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or(text);
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, subject: &str, want: &str) {
        let pattern = Pattern::new(source, false).unwrap();
        let got = pattern.captures(subject.as_bytes()).map_or_else(
            || "none".to_owned(),
            |found| {
                let groups = (0..found.groups.len()).map(|number| {
                    let text = found.number(number).unwrap_or(b"-");
                    String::from_utf8_lossy(text).into_owned()
                });
                groups.collect::<Vec<_>>().join(" ")
            },
        );
        assert_eq!(got, want, "{source} on {subject}");
    }

    #[test]
    fn matches() {
        check(r"^/u/([^/]+)/(\d*)$", "/u/ann/7", "/u/ann/7 ann 7");
        check(r"^/u/([^/]+)(/x)?$", "/u/ann", "/u/ann ann -");
        check(r"\.(css|js)$", "/a.png", "none");
        check(r"^/(?!api/)(.*)$", "/static/x", "/static/x static/x");
        check(r"^/(?!api/)(.*)$", "/api/x", "none");
        check(r"^/\w+\/é$", "/a/é", "/a/é");
    }

    #[test]
    fn names_and_bytes() {
        let pattern = Pattern::new(r"^(?<sub>.+)\.example\.org$", true).unwrap();
        let found = pattern.captures(b"WWW.Example.ORG").unwrap();
        assert_eq!(found.name("sub"), Some(&b"WWW"[..]));
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["sub"]);
        assert!(
            Pattern::new("^/(.)$", false)
                .unwrap()
                .captures(b"/\xff")
                .is_some()
        );
        assert!(
            Pattern::new("(", false)
                .unwrap_err()
                .contains("unclosed group")
        );
    }
}
