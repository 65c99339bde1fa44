//! What becomes of output that is changed on its way: taken apart at communication tags, rid of escape sequences, made
//! into lines of another format. Pure: bytes that came in, what came of them out.
//! Not here: taking them in and writing them (see `stream`), tags and sequences themselves (see `filter`).

use super::filter::{Part, Resume, Sifted, Wanted, sift};
use super::lines::{self, LONGEST, Speaker};
use crate::config::extras::LineFormat;

/// How much is to be given up of what waits for more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    No,
    /// A line without an end.
    Lines,
    /// What may be the beginning of a tag, too: nothing more comes for now.
    All,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// So many bytes are done with; what follows from the others depends on what comes.
    pub(super) taken: usize,
    pub(super) resume: Resume,
    /// For the log.
    pub(super) out: Vec<u8>,
    /// What it was made from, and what stood between tags, in order.
    pub(super) parts: Vec<Part>,
}

/// Whether only whole lines are of use.
#[must_use]
pub(super) fn by_lines(wanted: Wanted, format: LineFormat) -> bool {
    format != LineFormat::Raw || wanted.syslog
}

#[must_use]
pub(super) fn change(
    input: &[u8],
    resume: Resume,
    wanted: Wanted,
    format: LineFormat,
    speaker: &Speaker,
    flush: Flush,
) -> Changed {
    let sifted = if by_lines(wanted, format) {
        sift_lines(input, resume, wanted, flush)
    } else {
        sift(wanted, resume, input, flush == Flush::All)
    };
    let Sifted {
        parts,
        taken,
        resume,
    } = sifted;
    let plain: Vec<u8> = parts
        .iter()
        .filter_map(Part::plain)
        .flatten()
        .copied()
        .collect();
    let out = match format {
        LineFormat::Raw => plain,
        LineFormat::Prefixed | LineFormat::Json => {
            let mut out = Vec::with_capacity(plain.len() * 2);
            lines::write(&mut out, &plain, format, speaker, &lines::time());
            out
        }
    };
    Changed {
        taken,
        resume,
        out,
        parts,
    }
}

/// Whole lines only. Where a tag in a line is open, that line waits until it is closed and the line has ended.
fn sift_lines(input: &[u8], mut resume: Resume, wanted: Wanted, flush: Flush) -> Sifted {
    let mut done = Sifted {
        resume,
        ..Sifted::default()
    };
    let mut end = 0;
    while let Some(length) = input[end..].iter().position(|byte| *byte == b'\n') {
        end += length + 1;
        let line = &input[done.taken..end];
        let sifted = sift(wanted, resume, line, false);
        if sifted.taken == line.len() && sifted.ends_line() {
            resume = sifted.resume;
            done.add(sifted);
        } else if sifted.taken < line.len() {
            // Not before the tag is closed; no use in trying at each line in between.
            match wanted.closing(&input[end..]) {
                Some(closed) => end += closed,
                None => break,
            }
        }
    }
    let rest = &input[done.taken..];
    if flush != Flush::No || rest.len() >= LONGEST {
        done.add(sift(wanted, resume, rest, flush == Flush::All));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written for the pieces as they come, with what stood between tags, and what is left waiting.
    fn shown(pieces: &[&str], wanted: Wanted, format: LineFormat, flush: Flush) -> String {
        let speaker = Speaker {
            id: "web".into(),
            channel: "stdout",
        };
        let (mut input, mut resume) = (Vec::new(), Resume::default());
        let (mut out, mut captured) = (String::new(), String::new());
        let count = pieces.len();
        for (number, piece) in pieces.iter().enumerate() {
            input.extend_from_slice(piece.as_bytes());
            let flush = if number + 1 == count {
                flush
            } else {
                Flush::No
            };
            let changed = change(&input, resume, wanted, format, &speaker, flush);
            input.drain(..changed.taken);
            resume = changed.resume;
            let written = String::from_utf8(changed.out).unwrap();
            for line in written.split_inclusive('\n') {
                let text = match format {
                    LineFormat::Prefixed => line.splitn(3, ' ').nth(2).unwrap(),
                    LineFormat::Raw | LineFormat::Json => line,
                };
                out.push_str(text);
            }
            for part in changed.parts {
                if let Part::Captured(bytes) = part {
                    captured += &format!("{{{}}}", String::from_utf8(bytes).unwrap());
                }
            }
        }
        out + &captured + "|" + std::str::from_utf8(&input).unwrap()
    }

    const BEGIN: &str = "<!--XSUPERVISOR:BEGIN-->";
    const END: &str = "<!--XSUPERVISOR:END-->";

    #[track_caller]
    fn check(text: &str, capture_bytes: u64, flush: Flush, want: &str) {
        let text = text.replace('[', BEGIN).replace(']', END);
        let want = want.replace('[', BEGIN).replace(']', END);
        let wanted = Wanted {
            capture_bytes,
            ..Wanted::default()
        };
        for cut in 0..=text.len() {
            let pieces = [&text[..cut], &text[cut..]];
            let got = shown(&pieces, wanted, LineFormat::Prefixed, flush);
            assert_eq!(got, want, "cut at {cut}");
        }
    }

    #[test]
    fn lines_are_whole() {
        check("one\ntwo\nthr", 0, Flush::No, "one\ntwo\n|thr");
        check("one\nthr", 0, Flush::Lines, "one\nthr\n|");
        check("", 0, Flush::All, "|");
    }

    #[test]
    fn a_line_with_an_open_tag_waits_for_both() {
        check("a[b]c\n", 9, Flush::No, "ac\n{b}|");
        check("a[b\nb]c\nd\n", 9, Flush::No, "ac\nd\n{b\nb}|");
        check("x\na[b\nb\nb", 9, Flush::No, "x\n|a[b\nb\nb");
        check("x\na[b\nb\nb", 9, Flush::Lines, "x\na\n|[b\nb\nb");
        check("x\na<!--X", 9, Flush::Lines, "x\na\n|<!--X");
        check("x\na<!--X", 9, Flush::All, "x\na<!--X\n|");
        check("[b]\n", 9, Flush::No, "\n{b}|");
    }

    #[test]
    fn what_has_no_end_is_written_in_pieces() {
        let long = "x".repeat(LONGEST);
        let wanted = Wanted::default();
        let got = shown(&[&long], wanted, LineFormat::Prefixed, Flush::No);
        assert_eq!(got, format!("{long}\n|"));
        let wanted = Wanted {
            syslog: true,
            ..wanted
        };
        let got = shown(&["a\nb"], wanted, LineFormat::Raw, Flush::No);
        assert_eq!(got, "a\n|b", "syslog gets whole lines, and the log with it");
    }
}
