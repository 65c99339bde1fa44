//! What a worker tells its arbiter through their pipe: one byte for the kind, two for the length, a text.
//! A notice fits into one atomic write, so several threads may tell.
//!
//! Not here: what follows from it (`arbiter`).

/// A text is cut at this; a whole notice stays below PIPE_BUF (4096, `pipe(7)`).
const MOST_TEXT: usize = 4000;
const HEAD: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It serves.
    Ready,
    /// It cannot boot, and why.
    Failed(String),
    /// It has served long enough, and why it thinks so: another one is to take its place.
    Recycle(String),
    /// A signal came that was not its arbiter's doing, and who sent it.
    Signalled(String),
    /// It ends by itself, at once, and why (a source file was modified).
    Leaving(String),
}

impl Notice {
    fn parts(&self) -> (u8, &str) {
        match self {
            Self::Ready => (b'R', ""),
            Self::Failed(why) => (b'F', why),
            Self::Recycle(why) => (b'C', why),
            Self::Signalled(who) => (b'S', who),
            Self::Leaving(why) => (b'L', why),
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, text) = self.parts();
        let text = &text.as_bytes()[..text.len().min(MOST_TEXT)];
        let mut out = vec![kind];
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text);
        out
    }

    /// Splits the first notice off `buf`. `None`: more bytes are needed. An unknown kind is skipped.
    #[must_use]
    pub fn decode(mut buf: &[u8]) -> Option<(Self, usize)> {
        let mut skipped = 0;
        loop {
            let (head, rest) = buf.split_first_chunk::<HEAD>()?;
            let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
            let text = rest.get(..len)?;
            let used = HEAD + len;
            let text = String::from_utf8_lossy(text).into_owned();
            let notice = match head[0] {
                b'R' => Self::Ready,
                b'F' => Self::Failed(text),
                b'C' => Self::Recycle(text),
                b'S' => Self::Signalled(text),
                b'L' => Self::Leaving(text),
                _ => {
                    skipped += used;
                    buf = &buf[used..];
                    continue;
                }
            };
            return Some((notice, skipped + used));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all = [
            Notice::Ready,
            Notice::Failed("SyntaxError: ü".to_owned()),
            Notice::Recycle("it has served 100 requests".to_owned()),
            Notice::Signalled(String::new()),
            Notice::Leaving("app.py modified".to_owned()),
        ];
        for notice in all {
            let bytes = notice.encode();
            for cut in 0..bytes.len() {
                assert_eq!(Notice::decode(&bytes[..cut]), None, "{notice:?} at {cut}");
            }
            assert_eq!(Notice::decode(&bytes), Some((notice, bytes.len())));
        }
        assert_eq!(Notice::decode(b"?\0\x01xR\0\0"), Some((Notice::Ready, 7)));
        let long = Notice::Failed("x".repeat(9000)).encode();
        assert!(long.len() <= 4096);
    }
}
