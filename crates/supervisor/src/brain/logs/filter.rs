//! Looking at output on its way into a log: text between communication tags is cut out, escape sequences of terminals are
//! left out. Pure: bytes in, bytes out, and nothing is remembered but a [`Resume`], so that a new brain can go on.
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

impl Part {
    pub(super) fn plain(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(bytes) => Some(bytes),
            Self::Captured(_) => None,
        }
    }
}

/// What has to be known of the output before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resume {
    /// It ends between tags, and of what stands there only the newest bytes are still wanted.
    is_captured: bool,
    escape: Escape,
}

impl Resume {
    pub(super) fn word(self) -> u64 {
        self.escape as u64 | u64::from(self.is_captured) << 8
    }

    pub(super) fn of(word: u64) -> Self {
        let states = [Escape::None, Escape::Begun, Escape::Control, Escape::Text];
        let escape = states
            .into_iter()
            .find(|state| *state as u64 == word & 0xff);
        Self {
            is_captured: word >> 8 & 1 == 1,
            escape: escape.unwrap_or_default(),
        }
    }
}

/// What was taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sifted {
    pub(super) parts: Vec<Part>,
    /// So many bytes; what follows from the others depends on what comes.
    pub(super) taken: usize,
    /// To go on from there.
    pub(super) resume: Resume,
}

impl Sifted {
    pub(super) fn add(&mut self, next: Self) {
        self.parts.extend(next.parts);
        self.taken += next.taken;
        self.resume = next.resume;
    }

    /// Whether what is for the log ends with a line's end, or there is nothing.
    pub(super) fn ends_line(&self) -> bool {
        let last = self.parts.iter().filter_map(Part::plain).next_back();
        last.is_none_or(|bytes| bytes.ends_with(b"\n"))
    }
}

/// Between tags so much more than is wanted may wait for the end.
const PATIENCE: usize = 64 << 10;

/// Takes output apart as far as it can be said what it is. `is_last`: what looks like the beginning of a tag is none.
pub(super) fn sift(wanted: Wanted, mut resume: Resume, input: &[u8], is_last: bool) -> Sifted {
    let mut parts = Vec::new();
    let mut at = 0;
    let most = usize::try_from(wanted.capture_bytes).unwrap_or(usize::MAX);
    let is_too_much = |rest: &[u8]| rest.len() > most.saturating_add(PATIENCE);
    if wanted.capture_bytes == 0 {
        resume.is_captured = false;
        parts.extend(plain(wanted, &mut resume, input));
        at = input.len();
    }
    while at < input.len() {
        let rest = &input[at..];
        if resume.is_captured {
            if let Some(end) = find(rest, END) {
                parts.push(Part::Captured(rest[end.saturating_sub(most)..end].to_vec()));
                at += end + END.len();
                resume.is_captured = false;
                continue;
            }
            if is_too_much(rest) {
                at = input.len() - most - END.len(); // the oldest go
            }
            break;
        }
        let Some(begin) = find(rest, BEGIN) else {
            let held = if is_last { 0 } else { beginning(rest) };
            let sure = &rest[..rest.len() - held];
            parts.extend(plain(wanted, &mut resume, sure));
            at += sure.len();
            break;
        };
        parts.extend(plain(wanted, &mut resume, &rest[..begin]));
        at += begin;
        let inside = &rest[begin + BEGIN.len()..];
        if find(inside, END).is_none() && !is_too_much(inside) {
            break;
        }
        at += BEGIN.len();
        resume.is_captured = true;
    }
    Sifted {
        parts,
        taken: at,
        resume,
    }
}

impl Wanted {
    /// Where in this, which comes after an open tag, that is closed: at the end of the closing tag.
    pub(super) fn closing(self, input: &[u8]) -> Option<usize> {
        let at = find(input, END).filter(|_| self.capture_bytes > 0)?;
        Some(at + END.len())
    }
}

fn find(text: &[u8], tag: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, tag)
}

/// How many of the last bytes may be the beginning of a tag.
fn beginning(text: &[u8]) -> usize {
    let most = (BEGIN.len() - 1).min(text.len());
    let found = (1..=most)
        .rev()
        .find(|&count| BEGIN.starts_with(&text[text.len() - count..]));
    found.unwrap_or(0)
}

fn plain(wanted: Wanted, resume: &mut Resume, bytes: &[u8]) -> Option<Part> {
    let mut bytes = bytes.to_vec();
    if wanted.strip_ansi {
        bytes.retain(|byte| resume.escape.passes(*byte));
    }
    (!bytes.is_empty()).then_some(Part::Plain(bytes))
}

/// Where in an escape sequence (ECMA-48) the output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
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
            let mut sifted = sift(wanted, Resume::default(), &input.as_bytes()[..cut], false);
            let resume = Resume::of(sifted.resume.word());
            let rest = &input.as_bytes()[sifted.taken..];
            sifted.add(sift(wanted, resume, rest, true));
            assert_eq!(shown(sifted.parts), want, "cut at {cut}");
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
    fn between_tags_only_the_newest_bytes_are_kept() {
        let wanted = Wanted {
            capture_bytes: 5,
            ..Wanted::default()
        };
        let mut sifted = Sifted::default();
        let text = [BEGIN, &b"x".repeat(3 * PATIENCE), b"12345", END, b"after"].concat();
        let mut most = 0;
        for end in (0..=text.len()).step_by(1000).chain([text.len()]) {
            let (resume, input) = (sifted.resume, &text[sifted.taken..end]);
            most = most.max(input.len());
            sifted.add(sift(wanted, resume, input, false));
        }
        assert_eq!(shown(sifted.parts), "{12345}after");
        assert!(most < 2 * PATIENCE, "{most} bytes were kept");
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
