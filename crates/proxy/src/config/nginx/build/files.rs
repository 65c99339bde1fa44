//! How files go out: `etag`, `max_ranges`, `gzip_static`, `autoindex` and their kin.
//!
//! Not here: where files are (`location`).

use super::super::tree::Directive;
use super::compression::CompressionLevel;
use super::{Builder, arg, is_on};
use crate::config::model::{FileRules, Links, Listing, ListingFormat, Sibling, Siblings, Since};

/// What a block hands down about files.
#[derive(Debug, Clone)]
pub(super) struct FileLevel {
    how: FileRules,
    lists: bool,
    listing: Listing,
    random_index: bool,
}

impl FileLevel {
    /// Our own defaults.
    pub(super) fn house() -> Self {
        Self {
            how: FileRules::house(),
            ..Self::new()
        }
    }

    /// nginx's defaults.
    pub(super) fn new() -> Self {
        Self {
            how: FileRules::nginx(),
            lists: false,
            listing: Listing {
                format: ListingFormat::Html,
                exact_size: true,
                local_time: false,
            },
            random_index: false,
        }
    }

    /// `gzip_static` obeys some of the rules for compressing.
    pub(super) fn how(&self, compression: &CompressionLevel) -> FileRules {
        FileRules {
            siblings: Siblings {
                vary: compression.vary,
                http10: compression.http10,
                proxied: compression.proxied.some,
                ..self.how.siblings
            },
            ..self.how
        }
    }

    pub(super) fn listing(&self) -> Option<Listing> {
        self.lists.then_some(self.listing)
    }

    pub(super) fn random_index(&self) -> bool {
        self.random_index
    }
}

impl Builder<'_> {
    pub(super) fn apply_files(&mut self, level: &mut FileLevel, block: &[Directive]) {
        for directive in block {
            let first = arg(directive, 0);
            match directive.name.text.as_str() {
                "etag" => level.how.etag = is_on(directive),
                "if_modified_since" => {
                    let words = [
                        ("off", Since::Off),
                        ("exact", Since::Exact),
                        ("before", Since::Before),
                    ];
                    self.one_of(directive, &words, &mut level.how.since);
                }
                "max_ranges" => match first.parse() {
                    Ok(most) => level.how.max_ranges = most,
                    Err(_) => self.wrong(directive, "invalid number", ""),
                },
                "disable_symlinks" => {
                    let words = [
                        ("off", Links::All),
                        ("on", Links::None),
                        ("if_not_owner", Links::OwnersOnly),
                    ];
                    self.one_of(directive, &words, &mut level.how.links);
                }
                "gzip_static" => self.sibling(directive, &mut level.how.siblings.gzip),
                "brotli_static" => self.sibling(directive, &mut level.how.siblings.br),
                "zstd_static" => self.sibling(directive, &mut level.how.siblings.zstd),
                "autoindex" => level.lists = is_on(directive),
                "autoindex_exact_size" => level.listing.exact_size = is_on(directive),
                "autoindex_localtime" => level.listing.local_time = is_on(directive),
                "autoindex_format" => {
                    let words = [
                        ("html", ListingFormat::Html),
                        ("xml", ListingFormat::Xml),
                        ("json", ListingFormat::Json),
                        ("jsonp", ListingFormat::Jsonp),
                    ];
                    self.one_of(directive, &words, &mut level.listing.format);
                }
                "random_index" => level.random_index = is_on(directive),
                _ => {}
            }
        }
    }

    fn sibling(&mut self, directive: &Directive, slot: &mut Sibling) {
        let words = [
            ("off", Sibling::Off),
            ("on", Sibling::On),
            ("always", Sibling::Always),
        ];
        self.one_of(directive, &words, slot);
    }

    /// The value that a word stands for.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        directive: &Directive,
        words: &[(&str, T)],
        slot: &mut T,
    ) {
        let given = arg(directive, 0);
        match words.iter().find(|(word, _)| *word == given) {
            Some((_, value)) => *slot = *value,
            None => {
                let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let help = format!("it is one of {}", all.join(", "));
                self.wrong(directive, format!("invalid value \"{given}\""), &help);
            }
        }
    }
}
