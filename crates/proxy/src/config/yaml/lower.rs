//! Words and their values to directives of nginx's tree, which know their place in the YAML file.
//!
//! Not here: which words there are (`words`), keys with types of their own (`servers`).

use trine_config::yaml::{Any, Item};
use trine_config::{Place, Problems};

use super::words::{self, LISTS, Scope, Shape};
use crate::config::nginx::lexer::Word;
use crate::config::nginx::table;
use crate::config::nginx::tree::Directive;

/// A directive that stands at a place of the YAML file.
pub(super) fn directive(name: &str, args: &[&str], at: &Place) -> Directive {
    let args = args.iter().map(|text| word(text, at)).collect();
    Directive {
        name: word(name, at),
        args,
        block: None,
        at: at.clone(),
    }
}

/// The same with a block.
pub(super) fn block(name: &str, args: &[&str], inner: Vec<Directive>, at: &Place) -> Directive {
    Directive {
        block: Some(inner),
        ..directive(name, args, at)
    }
}

fn word(text: &str, at: &Place) -> Word {
    Word {
        text: text.to_owned(),
        quoted: true,
        line: at.line(),
    }
}

/// One key and its value.
pub(super) fn lower(
    scope: Scope,
    key: &str,
    item: &Item,
    problems: &mut Problems,
) -> Vec<Directive> {
    let contexts = scope.contexts();
    let mut lowering = Lowering { problems, contexts };
    if LISTS.iter().any(|(list, _)| *list == key) {
        return lowering.list(item);
    }
    lowering.word(&words::nginx_name(key), item)
}

/// The ways to tell which server a client belongs to.
pub(super) const STICKY_KINDS: [&str; 3] = ["cookie", "route", "learn"];

struct Lowering<'p> {
    problems: &'p mut Problems,
    /// Where its words may stand in nginx.conf.
    contexts: u16,
}

impl Lowering<'_> {
    fn wrong(&mut self, item: &Item, message: &str, help: &str) -> Vec<Directive> {
        self.problems.push(item.place.clone(), message, help);
        Vec::new()
    }

    fn word(&mut self, name: &str, item: &Item) -> Vec<Directive> {
        let Some(shape) = table::find_in(name, self.contexts).map(words::shape) else {
            let near = table::nearest(name).map(|near| words::word(near).into_owned());
            let help = near.map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
            return self.wrong(item, &format!("unknown word \"{name}\""), &help);
        };
        if shape == Shape::Blocks {
            return match name {
                "types" => self.types(name, item),
                _ => self.blocks(name, item),
            };
        }
        let at = &item.place;
        match &item.value {
            Any::Null | Any::Bool(true) if shape == Shape::Bare => vec![directive(name, &[], at)],
            Any::Bool(false) if shape == Shape::Bare => Vec::new(),
            Any::Null => self.wrong(item, "has no value", "give one, or remove the key"),
            Any::Map(entries) if shape == Shape::Pairs => {
                let pair = |(key, item): &(String, Item)| self.pair(name, key, item);
                entries.iter().filter_map(pair).collect()
            }
            Any::Map(entries) if name == "sticky" => self.sticky(item, entries),
            Any::Map(_) => self.wrong(
                item,
                "expected a value or a list, found a block of keys",
                "",
            ),
            Any::List(items) => {
                let apart = matches!(shape, Shape::Each | Shape::Pairs | Shape::One)
                    || items.iter().any(|item| matches!(item.value, Any::List(_)));
                if apart {
                    let one = |item: &Item| {
                        Some(self.args(item)?).map(|args| Directive {
                            args,
                            ..directive(name, &[], &item.place)
                        })
                    };
                    return items.iter().filter_map(one).collect();
                }
                let args = self.args(item);
                args.into_iter()
                    .map(|args| Directive {
                        args,
                        ..directive(name, &[], at)
                    })
                    .collect()
            }
            scalar => vec![directive(name, &[scalar.text().unwrap_or_default()], at)],
        }
    }

    /// `{ cookie: NAME, path: /, secure: true }`, `{ route: $VARIABLE }` or `{ learn: { create: …, lookup: …, zone: … } }`.
    fn sticky(&mut self, item: &Item, entries: &[(String, Item)]) -> Vec<Directive> {
        let mut kinds = entries
            .iter()
            .filter(|(key, _)| STICKY_KINDS.contains(&key.as_str()));
        let (Some((kind, first)), None) = (kinds.next(), kinds.next()) else {
            return self.wrong(
                item,
                "expected exactly one of cookie, route and learn",
                "write { cookie: srv_id, path: / } or another way to tell clients apart",
            );
        };
        let mut args = vec![word(kind, &first.place)];
        match &first.value {
            Any::Map(options) if kind == "learn" => self.options(options, &mut args),
            _ => args.extend(self.args(first).unwrap_or_default()),
        }
        let rest: Vec<_> = entries
            .iter()
            .filter(|(key, _)| key != kind)
            .cloned()
            .collect();
        self.options(&rest, &mut args);
        vec![Directive {
            args,
            ..directive("sticky", &[], &item.place)
        }]
    }

    /// Each as `KEY=VALUE`; one that is true as its key alone.
    fn options(&mut self, entries: &[(String, Item)], args: &mut Vec<Word>) {
        for (key, value) in entries {
            match &value.value {
                Any::Bool(true) => args.push(word(key, &value.place)),
                Any::Bool(false) => {}
                _ => {
                    for one in self.args(value).unwrap_or_default() {
                        args.push(word(&format!("{key}={}", one.text), &value.place));
                    }
                }
            }
        }
    }

    /// The arguments in a scalar or a list of scalars.
    fn args(&mut self, item: &Item) -> Option<Vec<Word>> {
        let list = match &item.value {
            Any::List(list) => list.iter().collect(),
            _ => vec![item],
        };
        let texts = list.iter().map(|one| match one.value.text() {
            Some(text) => Some(word(text, &one.place)),
            None => {
                self.wrong(one, "expected a text or a number", "put it in quotes");
                None
            }
        });
        texts.collect()
    }

    fn pair(&mut self, name: &str, key: &str, item: &Item) -> Option<Directive> {
        let mut args = vec![word(key, &item.place)];
        args.extend(self.args(item)?);
        Some(Directive {
            args,
            ..directive(name, &[], &item.place)
        })
    }

    /// `{ text/html: [html, htm] }`.
    fn types(&mut self, name: &str, item: &Item) -> Vec<Directive> {
        let Any::Map(entries) = &item.value else {
            return self.wrong(item, "expected a map of types", "write { text/css: css }");
        };
        let row = |(kind, item): &(String, Item)| {
            let args = self.args(item)?;
            Some(Directive {
                args,
                ..directive(kind, &[], &item.place)
            })
        };
        let rows = entries.iter().filter_map(row).collect();
        vec![block(name, &[], rows, &item.place)]
    }

    /// One `{ with, rows }` or `{ with, do }`, or a list of them.
    fn blocks(&mut self, name: &str, item: &Item) -> Vec<Directive> {
        let list = match &item.value {
            Any::List(list) => list.iter().collect(),
            _ => vec![item],
        };
        list.into_iter()
            .filter_map(|one| self.one_block(name, one))
            .collect()
    }

    fn one_block(&mut self, name: &str, item: &Item) -> Option<Directive> {
        const HELP: &str =
            "write { with: ARGUMENTS, rows: { KEY: VALUE } }, or `do` with a list of words";
        let Any::Map(entries) = &item.value else {
            self.wrong(item, "expected a block of keys", HELP);
            return None;
        };
        let (mut args, mut inner) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            match (key.as_str(), &value.value) {
                ("with", _) => args = self.args(value)?,
                ("do", _) => inner.extend(self.list(value)),
                ("rows", Any::Map(rows)) => {
                    for (key, row) in rows {
                        let args = match row.value {
                            Any::Null => Vec::new(),
                            _ => self.args(row)?,
                        };
                        inner.push(Directive {
                            args,
                            ..directive(key, &[], &row.place)
                        });
                    }
                }
                ("rows", Any::List(rows)) => {
                    for row in rows {
                        let mut words = self.args(row)?.into_iter();
                        let Some(first) = words.next() else { continue };
                        inner.push(Directive {
                            args: words.collect(),
                            ..directive(&first.text, &[], &row.place)
                        });
                    }
                }
                _ => {
                    self.wrong(value, &format!("unknown key \"{key}\" in a block"), HELP);
                }
            }
        }
        Some(Directive {
            args,
            ..block(name, &[], inner, &item.place)
        })
    }

    /// Words in their order: `[{ set: [$a, 1] }, { return: 404 }]`.
    fn list(&mut self, item: &Item) -> Vec<Directive> {
        let Any::List(items) = &item.value else {
            return self.wrong(item, "expected a list", "write [{ WORD: VALUE }, …]");
        };
        let mut out = Vec::new();
        for one in items {
            match &one.value {
                Any::Text(text) => out.push(directive(text, &[], &one.place)),
                Any::Map(entries) => out.extend(self.step(one, entries)),
                _ => out.extend(self.wrong(
                    one,
                    "expected a word with its value",
                    "write { WORD: VALUE }",
                )),
            }
        }
        out
    }

    fn step(&mut self, item: &Item, entries: &[(String, Item)]) -> Vec<Directive> {
        match entries {
            [(key, condition), (then, list)] if key == "if" && then == "do" => {
                let args = match condition.value.text() {
                    // As a person writes it; the parentheses are nginx's.
                    Some(text) => {
                        let mut words: Vec<String> =
                            text.split_whitespace().map(str::to_owned).collect();
                        if let Some(first) = words.first_mut() {
                            first.insert(0, '(');
                        }
                        if let Some(last) = words.last_mut() {
                            last.push(')');
                        }
                        words
                            .iter()
                            .map(|text| word(text, &condition.place))
                            .collect()
                    }
                    None => match self.args(condition) {
                        Some(args) => args,
                        None => return Vec::new(),
                    },
                };
                let inner = self.list(list);
                vec![Directive {
                    args,
                    ..block("if", &[], inner, &item.place)
                }]
            }
            [(key, value)] => self.word(&words::nginx_name(key), value),
            _ => self.wrong(
                item,
                "expected one word with its value",
                "make a list of them; an `if` has a `do`",
            ),
        }
    }
}
