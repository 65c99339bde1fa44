//! `map`: a variable whose value depends on another's.
//!
//! Not here: reading the block (`config::nginx`).

use std::collections::HashMap;

use super::{Scene, Template};
use crate::pattern::Pattern;

/// The rows of one `map`.
#[derive(Debug, Default)]
pub(crate) struct MapTable {
    pub(crate) source: Template,
    /// Lower-case sources.
    pub(crate) exact: HashMap<Vec<u8>, Template>,
    /// `.example.org` for `*.example.org`, with `hostnames`.
    pub(crate) suffixes: HashMap<Vec<u8>, Template>,
    /// `example.` for `example.*`, with `hostnames`.
    pub(crate) prefixes: HashMap<Vec<u8>, Template>,
    /// In the order of the file.
    pub(crate) regexes: Vec<(Pattern, Template)>,
    pub(crate) default: Template,
}

impl MapTable {
    /// Appends the value that fits.
    pub(super) fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        let key = self.source.value(scene);
        let lower = key.to_ascii_lowercase();
        if let Some(value) = self.exact.get(&lower).or_else(|| self.by_host(&lower)) {
            return value.write(out, scene);
        }
        for (pattern, value) in &self.regexes {
            if let Some(captures) = pattern.captures(&key) {
                scene.record.visit.meet_groups(&captures, scene.config);
                let scene = Scene {
                    captures: Some(&captures),
                    ..*scene
                };
                return value.write(out, &scene);
            }
        }
        self.default.write(out, scene);
    }

    fn by_host(&self, host: &[u8]) -> Option<&Template> {
        let dots = || memchr::memchr_iter(b'.', host);
        // The longest of either kind; what stands in front counts before what stands behind.
        dots()
            .find_map(|dot| self.suffixes.get(&host[dot..]))
            .or_else(|| {
                dots()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .find_map(|dot| self.prefixes.get(&host[..=dot]))
            })
    }
}
