//! `health_check` and `match`: which servers are asked whether they work, and what they have to answer.
//!
//! The words are those of nginx's commercial edition, with `host=`, `timeout=` and `type=http|tcp` beside them. Not
//! here: asking (see `upstream::monitor`).

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg};
use crate::config::model::{
    BodyTest, Expectation, FieldTest, HeaderTest, HealthCheck, Probe, Protocol, ProxyPass,
    ProxyTarget, StatusTest,
};

impl Builder<'_> {
    /// `health_check` in a location is for the servers that the location leads to.
    pub(super) fn check_health(&mut self, pass: Option<&ProxyPass>, block: &[Directive]) {
        let Some(pass) = pass else { return };
        let asked = block.iter().find(|one| one.name.text == "health_check");
        let ProxyTarget::Group(index) = pass.target else {
            if let Some(directive) = asked {
                let message = "the servers are not known before the request";
                self.wrong(directive, message, "name an upstream without variables");
            }
            return;
        };
        let http = pass.protocol == Protocol::Http1;
        if let Some(directive) = asked {
            let name = self.upstreams[index].name.clone();
            if self.upstreams[index].health.is_some() {
                let message = format!("the servers of \"{name}\" have a health check already");
                self.wrong(directive, message, "say it in one place");
            }
            self.upstreams[index].health = self.health_check(directive, &name, http);
        }
        // They are asked as the requests are.
        if let (Some(check), Some(tls)) = (&mut self.upstreams[index].health, &pass.tls)
            && check.tls.is_none()
        {
            let name = tls.name.as_ref().and_then(|name| name.as_literal());
            let name = name.map_or_else(
                || pass.host.clone(),
                |name| String::from_utf8_lossy(name).into_owned(),
            );
            check.tls = Some((tls.dial, name));
        }
    }

    /// `match NAME { … }`.
    pub(super) fn expectation(&mut self, directive: &Directive) {
        let name = arg(directive, 0).to_owned();
        if self.expectations.contains_key(&name) {
            self.wrong(directive, format!("duplicate match \"{name}\""), "");
        }
        let mut all = Expectation::default();
        for row in directive.block.as_deref().unwrap_or_default() {
            let words: Vec<&str> = row.args.iter().map(|word| word.text.as_str()).collect();
            match row.name.text.as_str() {
                "status" => match status_test(&words) {
                    Some(test) => all.status = Some(test),
                    None => self.wrong(row, "invalid status", "write codes or ranges: 200-399"),
                },
                "header" => all.headers.extend(self.header_test(row, &words)),
                "body" => match words[..] {
                    [sign @ ("~" | "!~"), source] => {
                        if let Some(pattern) = self.pattern(row, source, false) {
                            let negated = sign == "!~";
                            all.body.push(BodyTest { pattern, negated });
                        }
                    }
                    _ => self.wrong(row, "invalid body test", "write body ~ \"EXPRESSION\""),
                },
                other => {
                    let message = format!("unknown test \"{other}\"");
                    self.wrong(row, message, "there are status, header and body");
                }
            }
        }
        self.expectations.insert(name, all);
    }

    fn header_test(&mut self, row: &Directive, words: &[&str]) -> Option<HeaderTest> {
        let test = |name: &str, wanted, negated| HeaderTest {
            name: name.to_owned(),
            wanted,
            negated,
        };
        Some(match *words {
            [name] => test(name, FieldTest::There, false),
            ["!", name] => test(name, FieldTest::There, true),
            [name, sign @ ("=" | "!="), value] => {
                test(name, FieldTest::Equal(value.to_owned()), sign == "!=")
            }
            [name, sign @ ("~" | "!~"), source] => {
                let pattern = self.pattern(row, source, false)?;
                test(name, FieldTest::Matching(pattern), sign == "!~")
            }
            _ => {
                let help =
                    "write header NAME, header ! NAME, or header NAME = VALUE (or !=, ~, !~)";
                self.wrong(row, "invalid header test", help);
                return None;
            }
        })
    }

    /// `health_check …` for an upstream of this name.
    pub(super) fn health_check(
        &mut self,
        directive: &Directive,
        upstream: &str,
        http: bool,
    ) -> Option<HealthCheck> {
        let mut check = HealthCheck::new(upstream);
        let (mut uri, mut host) = ("/".to_owned(), upstream.to_owned());
        let mut expect = Expectation::default();
        let mut kind = if http { "http" } else { "" };
        for word in &directive.args {
            let (key, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
            let count = value.parse::<u32>().ok().filter(|count| *count > 0);
            let time = units::time(value).filter(|time| !time.is_zero());
            let good = match (key, count, time) {
                ("interval", _, Some(time)) => set(&mut check.interval, time),
                ("jitter", _, _) => {
                    units::time(value).is_some_and(|time| set(&mut check.jitter, time))
                }
                ("timeout", _, Some(time)) => set(&mut check.timeout, time),
                ("fails", Some(count), _) => set(&mut check.fails, count),
                ("passes", Some(count), _) => set(&mut check.passes, count),
                ("port", Some(port), _) => {
                    u16::try_from(port).is_ok_and(|port| set(&mut check.port, Some(port)))
                }
                ("uri", ..) if value.starts_with('/') => set(&mut uri, value.to_owned()),
                ("host", ..) if !value.is_empty() => set(&mut host, value.to_owned()),
                ("match", ..) => match self.expectations.get(value) {
                    Some(known) => set(&mut expect, known.clone()),
                    None => {
                        let message = format!("match \"{value}\" not found");
                        self.wrong(
                            directive,
                            message,
                            "define it by `match NAME { … }` in http",
                        );
                        true
                    }
                },
                ("type", ..) if matches!(value, "http" | "tcp") => set(&mut kind, value),
                ("mandatory", ..) if value.is_empty() => set(&mut check.mandatory, true),
                // What is known of a server outlives a reload in any case.
                ("persistent", ..) if value.is_empty() => true,
                _ => false,
            };
            if !good {
                let help = match key {
                    "keepalive_time" => "each check makes a connection of its own; remove it",
                    "type" => "there are http and tcp",
                    _ => "",
                };
                self.wrong(
                    directive,
                    format!("invalid parameter \"{}\"", word.text),
                    help,
                );
            }
        }
        let clean = |text: &str| !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        if !clean(&uri) || !clean(&host) {
            self.wrong(
                directive,
                "the uri and the host are one word each",
                "encode what is not",
            );
        }
        check.probe = match kind {
            "tcp" => Probe::Tcp,
            "http" if http => Probe::Http { uri, host, expect },
            _ => {
                let message = "only HTTP servers can be asked by a request";
                self.wrong(directive, message, "write type=tcp");
                return None;
            }
        };
        Some(check)
    }
}

/// Always true.
fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

/// `200`, `200-399 404`, `! 500 502`.
fn status_test(words: &[&str]) -> Option<StatusTest> {
    let (negated, words) = match words {
        ["!", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let range = |word: &&str| {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        let (from, to) = (from.parse::<u16>().ok()?, to.parse::<u16>().ok()?);
        (100 <= from && from <= to && to <= 599).then_some((from, to))
    };
    let ranges = words.iter().map(range).collect::<Option<Vec<_>>>()?;
    (!ranges.is_empty()).then_some(StatusTest { ranges, negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let check = |text: &str, want: &str| {
            let words: Vec<_> = text.split(' ').collect();
            let got = status_test(&words).map_or("none".to_owned(), |test| {
                format!("{} {:?}", test.negated, test.ranges)
            });
            assert_eq!(got, want, "{text}");
        };
        check("200", "false [(200, 200)]");
        check("200-399 404", "false [(200, 399), (404, 404)]");
        check("! 500 502-504", "true [(500, 500), (502, 504)]");
        check("!", "none");
        check("399-200", "none");
        check("20", "none");
        check("ok", "none");
    }
}
