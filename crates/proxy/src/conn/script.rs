//! Carries out `rewrite`, `if`, `set`, `break` and `return`, as nginx's rewrite module does.
//!
//! Not here: what follows when the path has changed (`stage`).

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use trine_http1::Request;

use super::Conn;
use super::answer::located;
use super::record::Record;
use super::reply::Reply;
use super::serve::Step;
use super::stage::fixed;
use super::told::{Told, tell};
use crate::config::{Asked, Config, FileTest, Flag, Op, Rewrite, Test};
use crate::pattern::Captures;
use crate::template::{Scene, quote};

/// How a script ended.
pub(super) enum Flow<'g> {
    /// At its end; whether the path has changed on the way.
    End { moved: bool },
    /// By `break`.
    Break,
    /// By `last`: a new search for a location.
    Last,
    /// With an answer.
    Step(Step<'g>),
}

/// What a script works with.
#[derive(Clone, Copy)]
pub(super) struct Script<'a> {
    pub(super) conn: &'a Conn,
    pub(super) config: &'a Config,
    pub(super) request: Request<'a>,
}

impl Script<'_> {
    pub(super) fn run<'g>(&self, ops: &[Op], record: &mut Record) -> Flow<'g> {
        let mut moved = false;
        for op in ops {
            match op {
                Op::Set { slot, value } => {
                    let value = value.value(&self.scene(record));
                    record.visit.set(*slot, value);
                }
                Op::If { test, then, rules } => {
                    if !self.holds(test, record) {
                        continue;
                    }
                    if let Some(rules) = rules {
                        record.visit.rules = *rules;
                    }
                    match self.run(then, record) {
                        Flow::End { moved: inner } => moved |= inner,
                        flow => return flow,
                    }
                }
                Op::Rewrite(rewrite) => match self.rewrite(rewrite, record) {
                    None => {}
                    Some(Flow::End { .. }) => moved = true,
                    Some(flow) => return flow,
                },
                Op::Break => return Flow::Break,
                Op::Return(answer) => {
                    let rules = self.config.rules(record.visit.rules);
                    return Flow::Step(fixed(answer, rules, &self.scene(record)));
                }
            }
        }
        Flow::End { moved }
    }

    fn scene<'s>(&'s self, record: &'s Record) -> Scene<'s> {
        Scene::new(self.conn, self.config, Some(self.request), record)
    }

    fn holds(&self, test: &Test, record: &mut Record) -> bool {
        let scene = self.scene(record);
        let (holds, captures): (bool, Option<Captures>) = match &test.what {
            Asked::Truth(template) => {
                let value = template.value(&scene);
                (!value.is_empty() && value != b"0", None)
            }
            Asked::Equal(left, right) => (left.value(&scene) == right.value(&scene), None),
            Asked::Match(subject, pattern) => {
                let captures = pattern.captures(&subject.value(&scene));
                (captures.is_some(), captures)
            }
            Asked::File(path, kind) => {
                let path = path.value(&scene);
                let path = Path::new(std::ffi::OsStr::from_bytes(&path));
                let there = path.metadata().is_ok_and(|found| match kind {
                    FileTest::Any => true,
                    FileTest::Regular => found.is_file(),
                    FileTest::Folder => found.is_dir(),
                    FileTest::Executable => found.permissions().mode() & 0o111 != 0,
                });
                (there, None)
            }
        };
        if let Some(captures) = captures {
            record.visit.keep_groups(&captures, self.config);
            record.visit.captures = Some(Box::new(captures));
        } else if matches!(test.what, Asked::Match(..)) {
            // As in nginx, whoever does not match leaves no groups, not those of the location either.
            record.visit.captures = None;
        }
        holds != test.negated
    }

    /// `None` if the path does not match.
    fn rewrite<'g>(&self, rewrite: &Rewrite, record: &mut Record) -> Option<Flow<'g>> {
        let Some(captures) = rewrite.pattern.captures(&record.visit.path) else {
            record.visit.captures = None;
            return None;
        };
        record.visit.keep_groups(&captures, self.config);
        record.visit.captures = Some(Box::new(captures));
        let scene = self.scene(record);
        // Groups are of the decoded path. Where that matters they are encoded again in what goes on as a query, and in a
        // redirect, but for what a path has no need to hide there.
        let redirects = matches!(rewrite.flag, Flag::Redirect(_));
        let raw = self.request.path();
        let quotes = raw.iter().any(|byte| matches!(byte, b'%' | b'+'));
        let mut path = rewrite.to.value_with_groups(&scene, quotes && redirects);
        if redirects {
            quote::settle(&mut path);
        }
        let old = record.visit.args.as_deref().or(self.request.query());
        let old = old.filter(|old| !old.is_empty() && !rewrite.drops_args);
        let new = rewrite.args.as_ref();
        let new = new.map(|args| args.value_with_groups(&scene, quotes));
        let args = match (new, old) {
            (Some(new), Some(old)) if !new.is_empty() => Some([&new[..], b"&", old].concat()),
            (Some(new), None) => Some(new),
            (_, Some(old)) => Some(old.to_vec()),
            (None, None) => None,
        };
        if let Flag::Redirect(status) = rewrite.flag {
            let mut url = path;
            if let Some(args) = args.filter(|args| !args.is_empty()) {
                url.push(b'?');
                url.extend_from_slice(&args);
            }
            url.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
            let style = self.config.rules(record.visit.rules).redirects;
            let location = located(url, style, &self.scene(record));
            let reply = Reply::with(status, "Location", location);
            return Some(Flow::Step(Step::Reply(reply)));
        }
        if path.is_empty() {
            let told = Told::of(self.conn, self.config, Some(self.request), record);
            tell!(error, told, "the rewritten URI has a zero length");
            return Some(Flow::Step(Step::Reply(Reply::status(500))));
        }
        record.visit.path = path[..].into();
        record.visit.args = Some(args.unwrap_or_default());
        record.visit.moved = true;
        record.visit.rewritten = true;
        Some(match rewrite.flag {
            Flag::Next | Flag::Redirect(_) => Flow::End { moved: true },
            Flag::Last => Flow::Last,
            Flag::Break => Flow::Break,
        })
    }
}
