//! Where to cut a stream of output when a log file reaches its size. Pure.
//! Not here: pipes, files, renaming.

/// How far a file may exceed its size to keep a line whole.
pub(super) const OVERRUN: usize = 64 << 10;

/// Move `take` bytes into the file, then begin a new one if `rotate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) take: usize,
    pub(super) rotate: bool,
}

/// `waiting`: the first bytes that are to be written. `room`: how many still fit into the file; up to [`OVERRUN`]
/// more are allowed to end a line that it has begun. `between_lines`: the file holds something and ends with a newline,
/// so that a new one could begin at once.
#[must_use]
pub(super) fn cut(waiting: &[u8], room: usize, overrun: usize, between_lines: bool) -> Cut {
    if waiting.len() <= room {
        return Cut {
            take: waiting.len(),
            rotate: false,
        };
    }
    let (fits, beyond) = waiting.split_at(room);
    if let Some(last) = fits.iter().rposition(|byte| *byte == b'\n') {
        return Cut {
            take: last + 1,
            rotate: true,
        };
    }
    if between_lines {
        return Cut {
            take: 0,
            rotate: true,
        };
    }
    let beyond = &beyond[..beyond.len().min(overrun)];
    match beyond.iter().position(|byte| *byte == b'\n') {
        Some(first) => Cut {
            take: room + first + 1,
            rotate: true,
        },
        None => Cut {
            take: room + beyond.len(),
            rotate: beyond.len() == overrun,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(waiting: &str, room: usize, between_lines: bool, want: (usize, bool)) {
        let got = cut(waiting.as_bytes(), room, 5, between_lines);
        assert_eq!((got.take, got.rotate), want, "{waiting:?} room {room}");
    }

    #[test]
    fn cuts() {
        check("ab\ncd\n", 6, true, (6, false));
        check("ab\ncd\n", 5, true, (3, true));
        check("ab\ncd\n", 3, false, (3, true));
        check("ab\ncd\n", 2, true, (0, true)); // the line is begun in the new file
        check("ab\ncd\n", 2, false, (3, true)); // the line is ended in this one
        check("ab\ncd\n", 0, true, (0, true));
        check("abcd", 2, false, (4, false)); // its end may yet come
        check("abcdefghij\n", 2, false, (7, true)); // too long a line is cut
        check("abcdefg\n", 2, false, (7, true));
        check("abcdef\n", 2, false, (7, true));
        check("abcd", 0, false, (4, false));
    }
}
