//! `sub_filter`: strings in a body replaced by others, whatever their case, also across the pieces that it comes in.
//!
//! Not here: in which answers (`plan`).

use crate::compress::Then;

/// The strings of one answer.
#[derive(Debug)]
pub(crate) struct Replace {
    /// In the order of the configuration: of two that begin at the same place the first counts.
    pairs: Vec<Pair>,
    once: bool,
    /// What may be the beginning of a match.
    held: Vec<u8>,
}

#[derive(Debug)]
struct Pair {
    /// In lower case; never empty.
    from: Vec<u8>,
    to: Vec<u8>,
    done: bool,
}

impl Replace {
    /// `None` if there is nothing to look for.
    pub(super) fn new(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>, once: bool) -> Option<Self> {
        let pairs: Vec<_> = pairs
            .filter(|(from, _)| !from.is_empty())
            .map(|(from, to)| Pair {
                from: from.to_ascii_lowercase(),
                to,
                done: false,
            })
            .collect();
        (!pairs.is_empty()).then_some(Self {
            pairs,
            once,
            held: Vec::new(),
        })
    }

    /// Appends a piece as it is to be. What could go on to be a match is held back until more has come.
    pub(super) fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let is_last = then == Then::End;
        let mut first = [false; 256];
        for pair in &self.pairs {
            first[usize::from(pair.from[0])] = true;
            first[usize::from(pair.from[0].to_ascii_uppercase())] = true;
        }
        let (mut at, mut copied) = (0, 0);
        while at < all.len() {
            if !first[usize::from(all[at])] {
                at += 1;
                continue;
            }
            match self.look(&all[at..], is_last) {
                Look::Nothing => at += 1,
                Look::Perhaps => break,
                Look::Match(index) => {
                    out.extend_from_slice(&all[copied..at]);
                    let pair = &mut self.pairs[index];
                    out.extend_from_slice(&pair.to);
                    pair.done = self.once;
                    at += pair.from.len();
                    copied = at;
                }
            }
        }
        out.extend_from_slice(&all[copied..at]);
        all.drain(..at);
        self.held = all;
    }

    fn look(&self, rest: &[u8], is_last: bool) -> Look {
        let mut perhaps = false;
        for (index, pair) in self.pairs.iter().enumerate() {
            if pair.done {
                continue;
            }
            let length = pair.from.len().min(rest.len());
            if !rest[..length].eq_ignore_ascii_case(&pair.from[..length]) {
                continue;
            }
            if length < pair.from.len() {
                // One that comes first in the file may still begin here.
                perhaps |= !is_last;
                continue;
            }
            if perhaps {
                break;
            }
            return Look::Match(index);
        }
        if perhaps {
            Look::Perhaps
        } else {
            Look::Nothing
        }
    }
}

/// What begins at a place.
enum Look {
    Nothing,
    /// It cannot be told yet.
    Perhaps,
    Match(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces of every size the same.
    #[track_caller]
    fn check(pairs: &[(&str, &str)], once: bool, text: &str, want: &str) {
        for size in 1..=text.len() {
            let pairs = pairs
                .iter()
                .map(|(from, to)| (from.as_bytes().to_vec(), to.as_bytes().to_vec()));
            let mut replace = Replace::new(pairs, once).unwrap();
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                replace.put(piece, Then::More, &mut out);
            }
            replace.put(b"", Then::End, &mut out);
            let got = String::from_utf8(out).unwrap();
            assert_eq!(got, want, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn strings() {
        let head = &[("</head>", "<script></head>")][..];
        check(
            head,
            true,
            "<head></HEAD></head>",
            "<head><script></head></head>",
        );
        check(
            head,
            false,
            "</head></HeAd>",
            "<script></head><script></head>",
        );
        check(head, true, "</hea", "</hea");
        check(head, true, "<<</head>", "<<<script></head>");
        check(&[("aab", "x")], false, "aaab aaaab", "ax aax");
        check(&[("a", "b"), ("b", "a")], false, "abAB", "baba");
        check(&[("a", "b"), ("b", "a")], true, "abab", "baab");
        check(&[("abc", "1"), ("ab", "2")], false, "abcabd", "12d");
        check(&[("ab", "2"), ("abc", "1")], false, "abcabd", "2c2d");
        check(&[("gone", "")], false, "it is gone", "it is ");
    }

    #[test]
    fn only_what_may_match_is_held() {
        let pairs = [(b"needle".to_vec(), b"pin".to_vec())];
        let mut replace = Replace::new(pairs.into_iter(), false).unwrap();
        let mut out = Vec::new();
        replace.put(b"hay nee", Then::Flush, &mut out);
        assert_eq!(out, b"hay ");
        replace.put(b"d", Then::Flush, &mut out);
        replace.put(b"s", Then::Flush, &mut out);
        assert_eq!(out, b"hay needs");
        assert!(Replace::new(std::iter::empty(), true).is_none());
    }
}
