//! `proxy_store`, `proxy_store_access` and their twins.
//!
//! Not here: where a location's files are (`location`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::family::Family;
use super::{Builder, arg};
use crate::config::model::Store;
use crate::template::Template;

/// Permissions of files that nobody said anything about.
const OWN: u32 = 0o600;

/// What a block hands down about it.
#[derive(Clone)]
pub(super) struct StoreLevel {
    target: Target,
    access: u32,
}

#[derive(Clone)]
enum Target {
    Off,
    /// The file that the location would serve.
    Mapped,
    Path(Template),
}

impl StoreLevel {
    pub(super) fn new() -> Self {
        Self {
            target: Target::Off,
            access: OWN,
        }
    }

    /// Another directive excludes it.
    pub(super) fn clear(&mut self) {
        self.target = Target::Off;
    }

    pub(super) fn rules(&self) -> Option<Arc<Store>> {
        let path = match &self.target {
            Target::Off => return None,
            Target::Mapped => None,
            Target::Path(path) => Some(path.clone()),
        };
        Some(Arc::new(Store {
            path,
            mode: self.access,
            // Who may read a file may go through its folders.
            folder_mode: self.access | (self.access & 0o444) >> 2,
        }))
    }
}

impl Builder<'_> {
    /// Returns whether this block has answers stored.
    pub(super) fn apply_store(
        &mut self,
        level: &mut StoreLevel,
        family: Family,
        block: &[Directive],
    ) -> bool {
        let mut stores = false;
        for directive in block {
            match (family.rest_of(directive), arg(directive, 0)) {
                ("store", "off") => level.target = Target::Off,
                ("store", "on") => {
                    (level.target, stores) = (Target::Mapped, true);
                }
                ("store", path) => {
                    let path = path.to_owned();
                    let path = self.path_template(directive, &path);
                    (level.target, stores) = (Target::Path(path), true);
                }
                ("store_access", _) => {
                    if let Some(access) = self.access_mode(directive) {
                        level.access = access;
                    }
                }
                _ => {}
            }
        }
        stores
    }

    /// `user:rw group:r all:r`.
    fn access_mode(&mut self, directive: &Directive) -> Option<u32> {
        let (mut mode, mut has_user) = (0, false);
        for word in &directive.args {
            let (who, rights) = word.text.split_once(':').unwrap_or((&word.text, ""));
            let shift = match who {
                "user" => 6,
                "group" => 3,
                "all" => 0,
                _ => return self.no_access(directive, &word.text),
            };
            has_user |= who == "user";
            mode |= match rights {
                "r" => 4,
                "rw" => 6,
                _ => return self.no_access(directive, &word.text),
            } << shift;
        }
        Some(if has_user { mode } else { mode | OWN })
    }

    fn no_access(&mut self, directive: &Directive, text: &str) -> Option<u32> {
        let message = format!("invalid value \"{text}\"");
        self.wrong(directive, message, "write user:rw, group:r or all:r");
        None
    }
}
