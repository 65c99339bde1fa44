//! Looking at output on its way into a log: text between communication tags is cut out, and what listeners want to see
//! is copied for them. Pure: bytes in, bytes out.
//! Not here: pipes and files.

use super::Key;

const BEGIN: &[u8] = b"<!--XSUPERVISOR:BEGIN-->";
const END: &[u8] = b"<!--XSUPERVISOR:END-->";

/// What is to be made of a channel's output beside writing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How much between tags is kept; 0: there are no tags.
    pub capture_bytes: u64,
    /// Everything is told.
    pub events: bool,
    /// Escape sequences of terminals are left out.
    pub strip_ansi: bool,
    /// Each line goes to syslog too.
    pub syslog: bool,
    /// A copy goes to the supervisor's own log.
    pub main_log: bool,
}

impl Wanted {
    #[must_use]
    pub fn nothing(self) -> bool {
        self == Self::default()
    }
}

/// Something that a listener may want.
#[derive(Debug)]
pub struct Heard {
    pub key: Key,
    pub bytes: Vec<u8>,
    /// It stood between tags.
    pub is_captured: bool,
}

/// A piece of output, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// For the log, and for PROCESS_LOG.
    Plain(Vec<u8>),
    /// For PROCESS_COMMUNICATION.
    Captured(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Filter {
    wanted: Wanted,
    /// Between tags: what came so far.
    captured: Option<Vec<u8>>,
    /// May be the beginning of a tag.
    held: Vec<u8>,
    escape: Escape,
}

impl Filter {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            captured: None,
            held: Vec::new(),
            escape: Escape::None,
        }
    }

    pub(super) fn tells(&self) -> bool {
        self.wanted.events
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Part> {
        if self.wanted.capture_bytes == 0 {
            return self.plain(bytes.to_vec()).into_iter().collect();
        }
        let mut parts = Vec::new();
        let mut data = std::mem::take(&mut self.held);
        data.extend_from_slice(bytes);
        let mut rest = data.as_slice();
        loop {
            let tag = if self.captured.is_some() { END } else { BEGIN };
            match rest.windows(tag.len()).position(|window| window == tag) {
                Some(at) => {
                    let (before, after) = rest.split_at(at);
                    rest = &after[tag.len()..];
                    match self.captured.take() {
                        None => {
                            parts.extend(self.plain(before.to_vec()));
                            self.captured = Some(Vec::new());
                        }
                        Some(mut captured) => {
                            captured.extend_from_slice(before);
                            self.bound(&mut captured);
                            parts.push(Part::Captured(captured));
                        }
                    }
                }
                None => {
                    let keep = (1..tag.len().min(rest.len() + 1))
                        .rev()
                        .find(|&count| tag.starts_with(&rest[rest.len() - count..]));
                    let (done, held) = rest.split_at(rest.len() - keep.unwrap_or(0));
                    self.held = held.to_vec();
                    match self.captured.take() {
                        None => parts.extend(self.plain(done.to_vec())),
                        Some(mut captured) => {
                            captured.extend_from_slice(done);
                            self.bound(&mut captured);
                            self.captured = Some(captured);
                        }
                    }
                    return parts;
                }
            }
        }
    }

    /// Nothing more comes for now: what looked like a tag is none.
    pub(super) fn flush(&mut self) -> Vec<Part> {
        if self.captured.is_some() {
            return Vec::new();
        }
        let held = std::mem::take(&mut self.held);
        self.plain(held).into_iter().collect()
    }

    /// The oldest go.
    fn bound(&self, captured: &mut Vec<u8>) {
        let most = usize::try_from(self.wanted.capture_bytes).unwrap_or(usize::MAX);
        let over = captured.len().saturating_sub(most);
        captured.drain(..over);
    }

    fn plain(&mut self, mut bytes: Vec<u8>) -> Option<Part> {
        if self.wanted.strip_ansi {
            bytes.retain(|byte| self.escape.passes(*byte));
        }
        Some(bytes)
            .filter(|bytes| !bytes.is_empty())
            .map(Part::Plain)
    }
}

/// Where in an escape sequence (ECMA-48) the output is.
#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    /// After ESC.
    Begun,
    /// In a control sequence: parameters, then one final byte.
    Control,
    /// In a text for the terminal, such as a title, which BEL or ESC ends.
    Text,
}

impl Escape {
    fn passes(&mut self, byte: u8) -> bool {
        let (next, passes) = match (*self, byte) {
            (_, 0x1b) => (Self::Begun, false),
            (Self::None, _) => (Self::None, true),
            (Self::Begun, b'[') => (Self::Control, false),
            (Self::Begun, b']' | b'P' | b'^' | b'_') => (Self::Text, false),
            (Self::Begun, 0x20..=0x2f) => (Self::Begun, false),
            (Self::Begun, _) => (Self::None, false),
            (Self::Control, 0x40..=0x7e) => (Self::None, false),
            (Self::Control, _) => (Self::Control, false),
            (Self::Text, 0x07) => (Self::None, false),
            (Self::Text, _) => (Self::Text, false),
        };
        *self = next;
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parts: Vec<Part>) -> String {
        let mut plain = String::new();
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Plain(bytes) => plain.push_str(std::str::from_utf8(&bytes).unwrap()),
                Part::Captured(bytes) => {
                    out.push_str(&format!("{plain}{{{}}}", String::from_utf8(bytes).unwrap()));
                    plain.clear();
                }
            }
        }
        out + &plain
    }

    #[track_caller]
    fn check(wanted: Wanted, input: &str, want: &str) {
        for cut in 0..=input.len() {
            let mut filter = Filter::new(wanted);
            let mut parts = filter.feed(&input.as_bytes()[..cut]);
            parts.extend(filter.feed(&input.as_bytes()[cut..]));
            parts.extend(filter.flush());
            assert_eq!(shown(parts), want, "cut at {cut}");
        }
    }

    #[test]
    fn tags() {
        let wanted = Wanted {
            capture_bytes: 5,
            ..Wanted::default()
        };
        let (b, e) = ("<!--XSUPERVISOR:BEGIN-->", "<!--XSUPERVISOR:END-->");
        check(wanted, "plain <!--X", "plain <!--X");
        check(wanted, &format!("a{b}bc{e}d"), "a{bc}d");
        check(wanted, &format!("{b}0123456789{e}{b}{e}"), "{56789}{}");
        check(wanted, &format!("a{b}open"), "a");
        check(wanted, &format!("a{e}b"), &format!("a{e}b"));
        check(Wanted::default(), &format!("a{b}c"), &format!("a{b}c"));
    }

    #[test]
    fn escapes() {
        let wanted = Wanted {
            strip_ansi: true,
            ..Wanted::default()
        };
        check(
            wanted,
            "\x1b[1;31mred\x1b[0m \x1b(Bx\x1b]0;title\x07y\x1bMz",
            "red xyz",
        );
        check(Wanted::default(), "\x1b[1mx", "\x1b[1mx");
    }
}
