//! `rewrite`, `if`, `set`, `break` and `return`, in the order of the file.
//!
//! Not here: carrying them out (`conn::script`).

use super::super::tree::Directive;
use super::level::Level;
use super::{Builder, arg};
use crate::config::model::{Asked, FileTest, Flag, Matcher, Op, Rewrite, Test};
use crate::template::is_fixed;

/// The location that a script stands in, for what `if` blocks inherit.
pub(super) struct Around<'a> {
    pub(super) level: &'a Level,
    pub(super) block: &'a [Directive],
    pub(super) matcher: &'a Matcher,
}

/// Whether a directive belongs to a script.
pub(super) fn is_script(directive: &Directive) -> bool {
    matches!(
        directive.name.text.as_str(),
        "rewrite" | "if" | "set" | "break" | "return"
    )
}

impl Builder<'_> {
    /// The script of a block. `around` is missing in a server, whose `if` blocks hold nothing but scripts.
    pub(super) fn script(&mut self, block: &[Directive], around: Option<&Around<'_>>) -> Vec<Op> {
        let mut ops = Vec::new();
        for directive in block {
            let op = match directive.name.text.as_str() {
                "set" => self.set(directive),
                "if" => self.condition(directive, around),
                "rewrite" => self.rewrite(directive).map(Op::Rewrite),
                "break" => Some(Op::Break),
                "return" => self.fixed(directive).map(Op::Return),
                _ => None,
            };
            ops.extend(op);
        }
        ops
    }

    fn set(&mut self, directive: &Directive) -> Option<Op> {
        let name = arg(directive, 0);
        let Some(name) = name.strip_prefix('$') else {
            self.wrong(directive, format!("invalid variable name \"{name}\""), "");
            return None;
        };
        self.check_free(directive, name);
        let slot = *self.names.set.get(&name.to_ascii_lowercase())?;
        let value = arg(directive, 1).to_owned();
        let value = self.template(directive, &value);
        Some(Op::Set { slot, value })
    }

    /// Refuses to give another meaning to a variable that has one.
    pub(super) fn check_free(&mut self, directive: &Directive, name: &str) {
        if is_fixed(name) {
            let message = format!("the duplicate \"{}\" variable", name.to_ascii_lowercase());
            self.wrong(directive, message, "choose another name");
        }
    }

    fn condition(&mut self, directive: &Directive, around: Option<&Around<'_>>) -> Option<Op> {
        let test = self.test(directive)?;
        let block = directive.block.as_deref().unwrap_or_default();
        let then = self.script(block, around);
        let rest: Vec<Directive> = block
            .iter()
            .filter(|inner| !is_script(inner))
            .cloned()
            .collect();
        let rules = match around {
            Some(around) if !rest.is_empty() => Some(self.overlaid(around, &rest)),
            _ => None,
        };
        Some(Op::If { test, then, rules })
    }

    /// Makes the rules of a location with further directives in it, as `if` and `limit_except` do. Returns their index.
    pub(super) fn overlaid(&mut self, around: &Around<'_>, more: &[Directive]) -> usize {
        let mut level = around.level.clone();
        self.apply(&mut level, more);
        let kept = around.block.iter().filter(|outer| {
            let name = outer.name.text.as_str();
            !is_script(outer) && !matches!(name, "try_files" | "location" | "limit_except")
        });
        let all: Vec<Directive> = kept.chain(more).cloned().collect();
        let rules = self.location_rules(&all, &level, around.matcher);
        self.rules.push(rules);
        self.rules.len() - 1
    }

    /// `($a)`, `($a = b)`, `($a ~ b)`, `(-f b)`, each also negated.
    fn test(&mut self, directive: &Directive) -> Option<Test> {
        let mut words: Vec<String> = directive
            .args
            .iter()
            .map(|word| word.text.clone())
            .collect();
        let opens = words.first_mut().is_some_and(|first| {
            let opens = first.starts_with('(');
            first.drain(..usize::from(opens));
            opens
        });
        let closes = words.last_mut().and_then(String::pop) == Some(')');
        if !opens || !closes {
            self.wrong(directive, "invalid condition", "write it in parentheses");
            return None;
        }
        if words.first().is_some_and(String::is_empty) {
            words.remove(0);
        }
        // What was quoted may be empty; what was only the parenthesis is not there.
        if words.len() > 3 || (words.len() == 2 && words[1].is_empty()) {
            words.pop();
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [variable] if variable.starts_with('$') => Some(Test {
                what: Asked::Truth(self.template(directive, variable)),
                negated: false,
            }),
            [test, path] if test.trim_start_matches('!').starts_with('-') => {
                let negated = test.starts_with('!');
                let kind = match test.trim_start_matches('!') {
                    "-f" => FileTest::Regular,
                    "-d" => FileTest::Folder,
                    "-e" => FileTest::Any,
                    "-x" => FileTest::Executable,
                    other => {
                        let message = format!("invalid condition \"{other}\"");
                        self.wrong(directive, message, "");
                        return None;
                    }
                };
                let path = self.path_template(directive, path);
                Some(Test {
                    what: Asked::File(path, kind),
                    negated,
                })
            }
            [variable, operator, value] if variable.starts_with('$') => {
                let left = self.template(directive, variable);
                let negated = operator.starts_with('!');
                let what = match operator.trim_start_matches('!') {
                    "=" => Asked::Equal(left, self.template(directive, value)),
                    "~" => Asked::Match(left, self.pattern(directive, value, false)?),
                    "~*" => Asked::Match(left, self.pattern(directive, value, true)?),
                    _ => {
                        let message = format!("unexpected \"{operator}\" in condition");
                        self.wrong(directive, message, "it is one of = != ~ !~ ~* !~*");
                        return None;
                    }
                };
                Some(Test { what, negated })
            }
            _ => {
                let message = format!("invalid condition \"{}\"", words.join(" "));
                self.wrong(directive, message, "");
                None
            }
        }
    }

    fn rewrite(&mut self, directive: &Directive) -> Option<Rewrite> {
        let source = arg(directive, 0).to_owned();
        let pattern = self.pattern(directive, &source, false)?;
        let text = arg(directive, 1).to_owned();
        let is_url = ["http://", "https://", "$scheme"]
            .iter()
            .any(|start| text.starts_with(start));
        let flag = match directive.args.get(2).map(|word| word.text.as_str()) {
            None if is_url => Flag::Redirect(302),
            None => Flag::Next,
            Some("last") if !is_url => Flag::Last,
            Some("break") if !is_url => Flag::Break,
            Some("redirect" | "last" | "break") => Flag::Redirect(302),
            Some("permanent") => Flag::Redirect(301),
            Some(other) => {
                let message = format!("invalid parameter \"{other}\"");
                self.wrong(
                    directive,
                    message,
                    "it is one of last, break, redirect, permanent",
                );
                return None;
            }
        };
        let (drops_args, text) = match text.strip_suffix('?') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let (path, args) = match text.split_once('?') {
            Some((path, args)) => (path, Some(args)),
            None => (text, None),
        };
        Some(Rewrite {
            pattern,
            to: self.template(directive, path),
            args: args.map(|args| self.template(directive, args)),
            drops_args,
            flag,
        })
    }
}
