//! `geo` and `split_clients`.
//!
//! Not here: looking anything up (`template`).

use std::net::Ipv4Addr;

use super::super::tree::Directive;
use super::{Builder, arg};
use crate::config::model::{Network, Trusted};
use crate::config::values::network;
use crate::template::Table;
use crate::template::geo::{GeoTable, Places, Ranges};
use crate::template::split::{Share, SplitTable, bounds};

impl Builder<'_> {
    /// `geo [$address] $name { … }`.
    pub(super) fn geo(&mut self, directive: &Directive) {
        let table = self.geo_table(directive, |builder, row, text| builder.template(row, text));
        self.maps.push(Table::Geo(table));
    }

    /// Its rows; `compile` makes the string that the address is taken from.
    pub(super) fn geo_table<T: Default>(
        &mut self,
        directive: &Directive,
        compile: impl Fn(&mut Self, &Directive, &str) -> T,
    ) -> GeoTable<T> {
        self.check_variable(directive);
        let source = (directive.args.len() == 2).then(|| arg(directive, 0).to_owned());
        let mut table = GeoTable {
            source: source.map(|source| compile(self, directive, &source)),
            proxies: None,
            proxy_recursive: false,
            places: Places::default(),
            default: Vec::new(),
        };
        let rows = directive.block.as_deref().unwrap_or_default();
        for (number, row) in rows.iter().enumerate() {
            let (key, value) = (row.name.text.as_str(), arg(row, 0));
            match (key, row.args.len()) {
                ("ranges", 0) if number == 0 => table.places = Places::Ranges(Ranges::default()),
                ("ranges", 0) => {
                    let message =
                        "the \"ranges\" directive must be the first directive inside \"geo\" block";
                    self.wrong(row, message, "");
                }
                ("proxy_recursive", 0) => table.proxy_recursive = true,
                ("default", 1) => table.default = value.as_bytes().to_vec(),
                ("proxy", 1) => {
                    if let Some(network) = self.geo_network(row, value) {
                        let proxies = table.proxies.get_or_insert_with(Trusted::default);
                        proxies.networks.push(network);
                    }
                }
                (_, 1) => self.geo_row(&mut table, row),
                _ => self.wrong(row, "invalid number of the geo parameters", ""),
            }
        }
        table
    }

    /// `network value`, `first-last value`, `delete network`.
    fn geo_row<T>(&mut self, table: &mut GeoTable<T>, row: &Directive) {
        let (key, value) = (row.name.text.as_str(), arg(row, 0));
        let deletes = key == "delete";
        let place = if deletes { value } else { key };
        match &mut table.places {
            Places::Ranges(ranges) => {
                let Some((first, last)) = range(place) else {
                    let message = format!("invalid range \"{place}\"");
                    return self.wrong(row, message, "write one such as 10.0.0.0-10.0.0.255");
                };
                if deletes {
                    if !ranges.remove(first, last) {
                        tracing::warn!("{}: no address range \"{place}\" to delete", row.at);
                    }
                } else if let Err(overlap) = ranges.insert(first, last, value.as_bytes()) {
                    self.wrong(row, format!("range \"{place}\" {overlap}"), "");
                }
            }
            Places::Networks(networks) => {
                let Some(network) = self.geo_network(row, place) else {
                    return;
                };
                if deletes {
                    if !networks.remove(network) {
                        tracing::warn!("{}: no network \"{place}\" to delete", row.at);
                    }
                } else if let Some(old) = networks.insert(network, value.as_bytes().to_vec()) {
                    let old = old.escape_ascii();
                    tracing::warn!(
                        "{}: duplicate network \"{place}\", value: \"{value}\", old value: \"{old}\"",
                        row.at
                    );
                }
            }
        }
    }

    fn geo_network(&mut self, row: &Directive, text: &str) -> Option<Network> {
        let found = network(text);
        if found.is_none() {
            self.wrong(row, format!("invalid network \"{text}\""), "");
        }
        found
    }

    /// `split_clients key $name { 0.5% a; 20% b; * c; }`.
    pub(super) fn split_clients(&mut self, directive: &Directive) {
        let table = self.split_table(directive, |builder, row, text| builder.template(row, text));
        self.maps.push(Table::Split(table));
    }

    /// Its shares; `compile` makes the key's string.
    pub(super) fn split_table<T>(
        &mut self,
        directive: &Directive,
        compile: impl Fn(&mut Self, &Directive, &str) -> T,
    ) -> SplitTable<T> {
        self.check_variable(directive);
        let source = arg(directive, 0).to_owned();
        let mut table = SplitTable {
            source: compile(self, directive, &source),
            shares: Vec::new(),
        };
        let mut parts = Vec::new();
        for row in directive.block.as_deref().unwrap_or_default() {
            let text = row.name.text.as_str();
            if row.args.len() != 1 {
                self.wrong(row, "invalid number of the split_clients parameters", "");
                continue;
            }
            match if text == "*" { Some(0) } else { percent(text) } {
                Some(part) => {
                    parts.push(part);
                    table.shares.push(Share {
                        below: None,
                        value: arg(row, 0).as_bytes().to_vec(),
                    });
                }
                None => self.wrong(row, format!("invalid percent value \"{text}\""), ""),
            }
        }
        match bounds(&parts) {
            Some(bounds) => {
                for (share, below) in table.shares.iter_mut().zip(bounds) {
                    share.below = below;
                }
            }
            None => self.wrong(directive, "percent total is greater than 100%", ""),
        }
        table
    }

    /// The last argument has to be a variable.
    fn check_variable(&mut self, directive: &Directive) {
        let name = directive.args.last().map_or("", |word| word.text.as_str());
        if !name.starts_with('$') || name.len() == 1 {
            let message = format!("invalid variable name \"{name}\"");
            self.wrong(directive, message, "");
        }
        let name = name.to_owned();
        self.check_free(directive, name.trim_start_matches('$'));
    }
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-')?;
    let bits = |text: &str| text.parse::<Ipv4Addr>().ok().map(|addr| addr.to_bits());
    let (first, last) = (bits(first)?, bits(last)?);
    (first <= last).then_some((first, last))
}

/// `0.5%` as hundredths of a percent, not zero.
fn percent(text: &str) -> Option<u32> {
    let text = text.strip_suffix('%')?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 || text.is_empty() {
        return None;
    }
    let whole: u32 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let part: u32 = format!("{part:0<2}").parse().ok()?;
    let sum = whole.checked_mul(100)?.checked_add(part)?;
    (sum > 0 && sum <= 10_000).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents() {
        for (text, want) in [
            ("50%", Some(5000)),
            ("0.5%", Some(50)),
            ("0.55%", Some(55)),
            ("100%", Some(10_000)),
            ("0%", None),
            ("101%", None),
            ("0.555%", None),
            ("5", None),
            ("%", None),
            ("a%", None),
        ] {
            assert_eq!(percent(text), want, "{text}");
        }
    }

    #[test]
    fn address_ranges() {
        assert_eq!(range("0.0.0.1-0.0.1.0"), Some((1, 256)));
        assert_eq!(range("0.0.0.2-0.0.0.1"), None);
        assert_eq!(range("0.0.0.1"), None);
    }
}
