//! What becomes of an answer's body, and what its head has to tell of that.
//!
//! Not here: doing it (`chain`).

use std::io;
use std::sync::Arc;

use trine_http1::{Request, write_header};

use super::chain::{Chain, Stage};
use super::replace::Replace;
use super::surround::{Around, Surround};
use crate::compress::{self, Answer, Choice, Encoder, Inflater};
use crate::config::{CompressionRules, ReplaceRules, Rules};
use crate::template::Scene;

/// What becomes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// It is gzip, and the client cannot read that. How many times as long it may become.
    unpacks: Option<u32>,
    replaces: Option<&'a ReplaceRules>,
    /// Texts are put around it.
    surrounds: bool,
    choice: Choice<'a>,
    /// Caches have to know that it depends on what the client accepts.
    varies: bool,
}

/// How a field of the answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    AsItIs,
    /// It is an entity tag, and the bytes are others now.
    Weak,
    Not,
}

/// Texts that go into an answer.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    replace: Option<Replace>,
    around: Option<Arc<Around>>,
}

/// Nothing is done.
pub(crate) const PLAIN: Plan<'static> = Plan {
    unpacks: None,
    replaces: None,
    surrounds: false,
    choice: Choice::Plain,
    varies: false,
};

impl<'a> Plan<'a> {
    /// For an answer that has a body, or would have one if the request were not HEAD.
    pub(crate) fn new(rules: &'a Rules, request: &Request<'_>, answer: &Answer<'_>) -> Self {
        let plan = match &rules.compression {
            None => PLAIN,
            Some(compression) => Self::compression(compression, request, answer),
        };
        let replaces = rules.replace.as_deref().filter(|replace| {
            answer.length != Some(0) && compress::is_listed(&replace.types, answer.content_type)
        });
        let surrounds = answer.status == 200
            && rules
                .additions
                .as_deref()
                .is_some_and(|added| compress::is_listed(&added.types, answer.content_type));
        Self {
            replaces,
            surrounds,
            ..plan
        }
    }

    fn compression(
        rules: &'a CompressionRules,
        request: &Request<'_>,
        answer: &Answer<'_>,
    ) -> Self {
        let coding = (answer.field)("content-encoding").unwrap_or_default();
        let is_gzip = rules.unpacks && coding.eq_ignore_ascii_case(b"gzip") && answer.status != 206;
        let unpacks = is_gzip && !compress::takes_gzip(rules, request, answer);
        let choice = if unpacks {
            let plain = Answer {
                encoded: false,
                length: None,
                ..*answer
            };
            compress::choose(rules, request, &plain)
        } else {
            compress::choose(rules, request, answer)
        };
        Self {
            unpacks: unpacks.then_some(rules.most_times),
            replaces: None,
            surrounds: false,
            choice,
            varies: rules.vary && (is_gzip || choice != Choice::Plain),
        }
    }

    /// Whether the body that goes out is another than the one that came.
    pub(crate) fn changes(&self) -> bool {
        self.is_another() || matches!(self.choice, Choice::Encode(_))
    }

    /// Whether more is done than compressing.
    fn is_another(&self) -> bool {
        self.unpacks.is_some() || self.replaces.is_some() || self.surrounds
    }

    /// How a field of the answer is shown. Its length is not known any more, nor can parts of it be had.
    pub(crate) fn shows(&self, name: &[u8]) -> Shown {
        if !self.changes() {
            return Shown::AsItIs;
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let is_another = self.replaces.is_some_and(|replace| !replace.keeps_modified);
        if is_another && (is("etag") || is("last-modified")) {
            Shown::Not
        } else if is("etag") {
            Shown::Weak
        } else if is("accept-ranges") || self.unpacks.is_some() && is("content-encoding") {
            Shown::Not
        } else {
            Shown::AsItIs
        }
    }

    /// Appends the fields that tell of it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Choice::Encode(rules) = self.choice {
            write_header(out, b"Content-Encoding", rules.coding.name().as_bytes());
        }
        if self.varies {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
    }

    /// What tells a body that was made by this plan from those made by others; `None` if the request matters too.
    pub(crate) fn mark(&self) -> Option<(compress::Coding, u32)> {
        match self.choice {
            Choice::Encode(rules) if !self.is_another() => Some((rules.coding, rules.level)),
            _ => None,
        }
    }

    /// The texts that go into this answer.
    pub(crate) fn texts(&self, scene: &Scene<'_>) -> Texts {
        let replace = self.replaces.and_then(|rules| {
            let pairs = rules.pairs.iter();
            let pairs = pairs.map(|(from, to)| (from.value(scene), to.value(scene)));
            Replace::new(pairs, rules.once)
        });
        let around = scene.record.visit.around.as_ref();
        let around = around.filter(|_| self.surrounds);
        Texts {
            replace,
            around: around.map(|(_, around)| Arc::clone(around)),
        }
    }

    /// What does it to a body of `length` bytes, if that is known. `None`: nothing is to be done.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn chain(&self, length: Option<u64>, texts: Texts) -> io::Result<Option<Chain>> {
        if !self.changes() {
            return Ok(None);
        }
        let mut chain = Chain::default();
        if let Some(most_times) = self.unpacks {
            chain.unpack(Inflater::new(most_times), 4);
        }
        if let Some(replace) = texts.replace {
            chain.add(Stage::Replace(replace), 2);
        }
        if let Some(around) = texts.around {
            chain.add(Stage::Surround(Surround::new(around)), 0);
        }
        if let Choice::Encode(rules) = self.choice {
            let length = length.filter(|_| !self.is_another());
            let encoder = Encoder::new(rules, length)?;
            chain.spend(compress::nanos_to_begin(rules.coding, rules.level, length));
            chain.add(
                Stage::Encode(encoder),
                compress::nanos_per_byte(rules.coding, rules.level),
            );
        }
        Ok(Some(chain))
    }
}
