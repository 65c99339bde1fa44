//! `map`: a variable whose value depends on another's.
//!
//! Not here: reading the block (`config::nginx`).

use std::collections::HashMap;

use super::{Scene, Template};
use crate::pattern::{Captures, Pattern};

/// The rows of one `map`; `T` is what its strings are.
#[derive(Debug, Default)]
pub(crate) struct MapTable<T = Template> {
    pub(crate) source: T,
    /// Lower-case sources.
    pub(crate) exact: HashMap<Vec<u8>, T>,
    /// `.example.org` for `*.example.org`, with `hostnames`.
    pub(crate) suffixes: HashMap<Vec<u8>, T>,
    /// `example.` for `example.*`, with `hostnames`.
    pub(crate) prefixes: HashMap<Vec<u8>, T>,
    /// In the order of the file.
    pub(crate) regexes: Vec<(Pattern, T)>,
    pub(crate) default: T,
}

impl MapTable {
    /// Appends the value that fits.
    pub(super) fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        let (value, captures) = self.find(&self.source.value(scene));
        let Some(captures) = captures else {
            return value.write(out, scene);
        };
        scene.record.visit.meet_groups(&captures, scene.config);
        let scene = Scene {
            captures: Some(&captures),
            ..*scene
        };
        value.write(out, &scene);
    }
}

impl<T> MapTable<T> {
    /// The row for a value of the source, with the groups of its expression if it has one.
    pub(crate) fn find(&self, key: &[u8]) -> (&T, Option<Captures>) {
        let lower = key.to_ascii_lowercase();
        if let Some(value) = self.exact.get(&lower).or_else(|| self.by_host(&lower)) {
            return (value, None);
        }
        for (pattern, value) in &self.regexes {
            if let Some(captures) = pattern.captures(key) {
                return (value, Some(captures));
            }
        }
        (&self.default, None)
    }

    fn by_host(&self, host: &[u8]) -> Option<&T> {
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
