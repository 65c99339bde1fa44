//! `sub_filter`, `add_before_body` and their kin.
//!
//! Not here: replacing (`filter`), or asking for what is added (`conn::around`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::{Builder, arg, is_on};
use crate::config::model::{Additions, ReplaceRules};
use crate::template::Template;

/// What a block hands down about this.
#[derive(Debug, Clone)]
pub(super) struct ReplaceLevel {
    pairs: Vec<(Template, Template)>,
    once: bool,
    types: Vec<String>,
    keeps_modified: bool,
    before: Option<String>,
    after: Option<String>,
    added_types: Vec<String>,
}

impl ReplaceLevel {
    pub(super) fn new() -> Self {
        Self {
            pairs: Vec::new(),
            once: true,
            types: Vec::new(),
            keeps_modified: false,
            before: None,
            after: None,
            added_types: Vec::new(),
        }
    }

    pub(super) fn rules(&self) -> Option<Arc<ReplaceRules>> {
        let rules = ReplaceRules {
            pairs: self.pairs.clone(),
            once: self.once,
            types: self.types.clone(),
            keeps_modified: self.keeps_modified,
        };
        (!rules.pairs.is_empty()).then(|| Arc::new(rules))
    }

    pub(super) fn additions(&self) -> Option<Arc<Additions>> {
        let additions = Additions {
            before: self.before.clone(),
            after: self.after.clone(),
            types: self.added_types.clone(),
        };
        let any = additions.before.is_some() || additions.after.is_some();
        any.then(|| Arc::new(additions))
    }
}

impl Builder<'_> {
    pub(super) fn apply_replace(&mut self, level: &mut ReplaceLevel, block: &[Directive]) {
        let mut pairs = None::<Vec<_>>;
        for directive in block {
            match directive.name.text.as_str() {
                "sub_filter" => {
                    let (from, to) = (arg(directive, 0).to_owned(), arg(directive, 1).to_owned());
                    if from.is_empty() {
                        self.wrong(directive, "empty search pattern", "");
                        continue;
                    }
                    let pair = (
                        self.template(directive, &from),
                        self.template(directive, &to),
                    );
                    pairs.get_or_insert_default().push(pair);
                }
                "sub_filter_once" => level.once = is_on(directive),
                "sub_filter_last_modified" => level.keeps_modified = is_on(directive),
                // An empty one takes away what was inherited.
                "add_before_body" => level.before = not_empty(arg(directive, 0)),
                "add_after_body" => level.after = not_empty(arg(directive, 0)),
                "addition_types" => {
                    let types = directive.args.iter().map(|word| word.text.clone());
                    level.added_types = types.collect();
                }
                "sub_filter_types" => {
                    let types = directive.args.iter().map(|word| word.text.clone());
                    level.types = types.collect();
                }
                _ => {}
            }
        }
        level.pairs = pairs.unwrap_or_else(|| std::mem::take(&mut level.pairs));
    }
}

fn not_empty(path: &str) -> Option<String> {
    (!path.is_empty()).then(|| path.to_owned())
}
