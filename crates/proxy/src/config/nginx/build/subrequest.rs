//! `auth_request`, `mirror`, `secure_link` and `slice`.
//!
//! Not here: making the requests (`conn::subrequest`), or checking links (`template::link`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg, is_on};
use crate::config::model::{AuthRequest, Mirror, SecureLink};
use crate::template::Template;

/// What a block hands down about them.
#[derive(Debug, Clone)]
pub(super) struct SubLevel {
    auth: Option<String>,
    sets: Vec<(usize, Template)>,
    mirrors: Vec<String>,
    mirrors_body: bool,
    link: Option<Template>,
    md5: Option<Template>,
    word: Option<String>,
    pub(super) slice: Option<u64>,
}

impl SubLevel {
    pub(super) fn new() -> Self {
        Self {
            auth: None,
            sets: Vec::new(),
            mirrors: Vec::new(),
            mirrors_body: true,
            link: None,
            md5: None,
            word: None,
            slice: None,
        }
    }

    pub(super) fn auth_request(&self) -> Option<Arc<AuthRequest>> {
        let uri = self.auth.clone()?;
        let sets = self.sets.clone();
        Some(Arc::new(AuthRequest { uri, sets }))
    }

    pub(super) fn mirror(&self) -> Option<Arc<Mirror>> {
        let uris = self.mirrors.clone();
        let body = self.mirrors_body;
        (!uris.is_empty()).then(|| Arc::new(Mirror { uris, body }))
    }

    pub(super) fn secure_link(&self) -> Option<Arc<SecureLink>> {
        if let Some(word) = &self.word {
            return Some(Arc::new(SecureLink::Word(word.clone().into_bytes())));
        }
        let (link, md5) = (self.link.clone()?, self.md5.clone()?);
        Some(Arc::new(SecureLink::Digest { link, md5 }))
    }
}

impl Builder<'_> {
    pub(super) fn apply_sub(&mut self, level: &mut SubLevel, block: &[Directive]) {
        let (mut sets, mut mirrors) = (None::<Vec<_>>, None::<Vec<String>>);
        for directive in block {
            let first = arg(directive, 0);
            match directive.name.text.as_str() {
                "auth_request" => level.auth = (first != "off").then(|| first.to_owned()),
                "auth_request_set" => {
                    let Some(name) = first.strip_prefix('$') else {
                        self.wrong(directive, format!("invalid variable name \"{first}\""), "");
                        continue;
                    };
                    self.check_free(directive, name);
                    let slot = self.names.set.get(&name.to_ascii_lowercase()).copied();
                    let value = arg(directive, 1).to_owned();
                    let value = self.template(directive, &value);
                    sets.get_or_insert_default()
                        .extend(slot.map(|slot| (slot, value)));
                }
                "mirror" => {
                    let list = mirrors.get_or_insert_default();
                    if first != "off" {
                        list.push(first.to_owned());
                    }
                }
                "mirror_request_body" => level.mirrors_body = is_on(directive),
                "secure_link" => level.link = Some(self.template(directive, first)),
                "secure_link_md5" => level.md5 = Some(self.template(directive, first)),
                "slice" => match units::size(first) {
                    Some(size) => level.slice = (size > 0).then_some(size),
                    None => self.invalid(directive),
                },
                "secure_link_secret" => level.word = Some(first.to_owned()),
                _ => {}
            }
        }
        level.sets = sets.unwrap_or_else(|| std::mem::take(&mut level.sets));
        level.mirrors = mirrors.unwrap_or_else(|| std::mem::take(&mut level.mirrors));
        if level.word.is_some()
            && level.link.is_some()
            && let Some(directive) = block
                .iter()
                .find(|one| one.name.text.starts_with("secure_link"))
        {
            let message = "\"secure_link_secret\" directive cannot be mixed with \"secure_link\" and \"secure_link_md5\"";
            self.wrong(directive, message, "use one of the two ways");
        }
    }
}
