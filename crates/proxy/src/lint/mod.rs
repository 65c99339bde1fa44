//! Traps in a configuration that is valid: what people write by mistake again and again, and the way out of each.
//!
//! `rules`, `upstreams` and `stream` have one function for each trap. Both languages are looked at as the tree of directives. Not here: what is not
//! valid at all (`config`).

mod rules;
mod stream;
mod upstreams;

use trine_config::Place;

use crate::config::nginx::tree::Directive;

/// A trap somebody is in.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) at: Place,
    /// Its name, for people who want to leave it out.
    pub(crate) rule: &'static str,
    pub(crate) message: String,
    /// The way out.
    pub(crate) help: &'static str,
}

/// Goes through a tree. `house`: our own defaults hold, under which some traps are none.
pub(crate) fn lint(tree: &[Directive], house: bool) -> Vec<Finding> {
    let mut found = Found {
        house,
        findings: Vec::new(),
    };
    let http = tree.iter().filter(|one| one.name.text == "http");
    for http in http {
        let outer = Block::top(http);
        rules::listens(&outer, &mut found);
        block(&outer, &mut found);
    }
    for block in tree.iter().filter(|one| one.name.text == "stream") {
        let outer = Block::top(block);
        for one in outer.all("server") {
            let server = Block {
                directive: one,
                outer: Some(&outer),
            };
            stream::server(&server, &mut found);
        }
    }
    let Found { mut findings, .. } = found;
    findings.sort_by(|one, other| {
        let key = |one: &Finding| (one.at.file().to_owned(), one.at.line());
        key(one).cmp(&key(other))
    });
    findings
}

struct Found {
    house: bool,
    findings: Vec<Finding>,
}

impl Found {
    fn add(&mut self, at: &Directive, rule: &'static str, message: String, help: &'static str) {
        self.findings.push(Finding {
            at: at.at.clone(),
            rule,
            message,
            help,
        });
    }
}

/// A block, and those it stands in.
struct Block<'a> {
    directive: &'a Directive,
    outer: Option<&'a Block<'a>>,
}

impl<'a> Block<'a> {
    fn top(directive: &'a Directive) -> Self {
        Self {
            directive,
            outer: None,
        }
    }

    fn kind(&self) -> &str {
        &self.directive.name.text
    }

    fn inner(&self) -> &'a [Directive] {
        self.directive.block.as_deref().unwrap_or_default()
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a Directive> {
        self.inner().iter().filter(move |one| one.name.text == name)
    }

    fn has(&self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }

    /// The nearest block around this one that has such a directive.
    fn inherited(&self, name: &'static str) -> Option<&Block<'a>> {
        let mut outer = self.outer;
        while let Some(block) = outer {
            if block.has(name) {
                return Some(block);
            }
            outer = block.outer;
        }
        None
    }

    /// The first value of a directive here or around.
    fn value(&self, name: &'static str) -> Option<&'a str> {
        let own = self.all(name).last().map(|one| arg(one, 0));
        own.or_else(|| self.outer.and_then(|outer| outer.value(name)))
    }
}

fn block(here: &Block<'_>, found: &mut Found) {
    rules::block(here, found);
    for directive in here.inner() {
        let known = ["server", "location", "if", "limit_except"];
        if directive.block.is_some() && known.contains(&directive.name.text.as_str()) {
            let inner = Block {
                directive,
                outer: Some(here),
            };
            block(&inner, found);
        } else {
            rules::directive(here, directive, found);
            upstreams::directive(here, directive, found);
        }
    }
}

fn arg(directive: &Directive, index: usize) -> &str {
    directive
        .args
        .get(index)
        .map_or("", |word| word.text.as_str())
}

#[cfg(test)]
mod tests;
