//! `gzip`, `brotli`, `zstd`, `gunzip` and their kin.
//!
//! Not here: ready-made files (`files`), or the rule that the values go into (`compress::choose`).

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg, is_on};
use crate::compress::Coding;
use crate::config::model::{CodingRules, CompressionRules, Proxied};
use crate::pattern::Pattern;

/// What a block hands down about compression.
#[derive(Debug, Clone)]
pub(super) struct CompressionLevel {
    /// Each with whether it is on; the server's favourite first.
    codings: [(bool, CodingRules); 3],
    unpacks: bool,
    most_times: u32,
    pub(super) vary: bool,
    pub(super) http10: bool,
    pub(super) proxied: Proxied,
    disabled: Vec<Pattern>,
}

impl CompressionLevel {
    /// nginx's defaults, and those of its modules for Brotli and Zstandard.
    pub(super) fn new() -> Self {
        let coding = |coding, level, window| {
            let rules = CodingRules {
                coding,
                types: Vec::new(),
                level,
                min_length: 20,
                window,
            };
            (false, rules)
        };
        Self {
            codings: [
                coding(Coding::Br, 6, 19),
                coding(Coding::Zstd, 1, 0),
                coding(Coding::Gzip, 1, 0),
            ],
            unpacks: false,
            most_times: 200,
            vary: false,
            http10: false,
            proxied: Proxied::default(),
            disabled: Vec::new(),
        }
    }

    /// `None`: nothing is on.
    pub(super) fn rules(&self) -> Option<CompressionRules> {
        let codings = self.codings.iter().filter(|(on, _)| *on);
        let rules = CompressionRules {
            codings: codings.map(|(_, rules)| rules.clone()).collect(),
            unpacks: self.unpacks,
            most_times: self.most_times,
            vary: self.vary,
            http10: self.http10,
            proxied: self.proxied,
            disabled: self.disabled.clone(),
        };
        rules.any().then_some(rules)
    }
}

impl Builder<'_> {
    pub(super) fn apply_compression(&mut self, level: &mut CompressionLevel, block: &[Directive]) {
        let mut disabled = Vec::new();
        for directive in block {
            let name = directive.name.text.as_str();
            let first = arg(directive, 0);
            match name {
                "gunzip" => level.unpacks = is_on(directive),
                "gunzip_max_ratio" => match first.parse() {
                    Ok(number) => level.most_times = number,
                    Err(_) => self.wrong(
                        directive,
                        format!("invalid value \"{first}\""),
                        "write how many times as long an answer may become, or 0 for any",
                    ),
                },
                "gzip_vary" => level.vary = is_on(directive),
                "gzip_http_version" => {
                    self.one_of(
                        directive,
                        &[("1.0", true), ("1.1", false)],
                        &mut level.http10,
                    );
                }
                "gzip_proxied" => level.proxied = self.proxied(directive),
                "gzip_disable" => disabled.extend(self.disabled(directive)),
                _ => {
                    let slot = match name.split('_').next() {
                        Some("brotli") => 0,
                        Some("zstd") => 1,
                        Some("gzip") => 2,
                        _ => continue,
                    };
                    let (on, rules) = &mut level.codings[slot];
                    let most = [11, 22, 9][slot];
                    let least = u32::from(slot > 0);
                    match name.split_once('_').map_or("", |(_, rest)| rest) {
                        "" => *on = is_on(directive),
                        "types" => {
                            let types = directive.args.iter().map(|word| word.text.clone());
                            rules.types = types.collect();
                        }
                        "comp_level" => match first.parse() {
                            Ok(number) if (least..=most).contains(&number) => rules.level = number,
                            _ => {
                                let message =
                                    format!("value must be between {least} and {most}");
                                self.wrong(directive, message, "");
                            }
                        },
                        "min_length" => match units::size(first) {
                            Some(size) => rules.min_length = size,
                            None => self.invalid(directive),
                        },
                        "window" if slot == 0 => match units::size(first) {
                            Some(size)
                                if size.is_power_of_two()
                                    && (1 << 10..=1 << 24).contains(&size) =>
                            {
                                rules.window = size.trailing_zeros();
                            }
                            _ => self.wrong(
                                directive,
                                "value must be 1k, 2k, 4k, 8k, 16k, 32k, 64k, 128k, 256k, 512k, 1m, 2m, 4m, 8m or 16m",
                                "",
                            ),
                        },
                        _ => {}
                    }
                }
            }
        }
        if !disabled.is_empty() {
            level.disabled = disabled;
        }
    }

    fn proxied(&mut self, directive: &Directive) -> Proxied {
        let mut proxied = Proxied {
            some: true,
            ..Proxied::default()
        };
        for word in &directive.args {
            match word.text.as_str() {
                "off" => proxied.some = false,
                "any" => proxied.any = true,
                "auth" => proxied.auth = true,
                "expired" => proxied.expired = true,
                "no-cache" => proxied.no_cache = true,
                "no-store" => proxied.no_store = true,
                "private" => proxied.private = true,
                "no_last_modified" => proxied.no_last_modified = true,
                "no_etag" => proxied.no_etag = true,
                other => {
                    let message = format!("invalid value \"{other}\"");
                    self.wrong(directive, message, "");
                }
            }
        }
        proxied
    }

    fn disabled(&mut self, directive: &Directive) -> Vec<Pattern> {
        let mut all = Vec::new();
        for word in &directive.args {
            // nginx's own name for what came before Windows XP's second service pack.
            let source = match word.text.as_str() {
                "msie6" => r"MSIE [4-6]\.(?!.*SV1)",
                other => other,
            };
            all.extend(self.pattern(directive, source, true));
        }
        all
    }
}
