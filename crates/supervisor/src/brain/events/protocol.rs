//! What a listener says on its standard output, and what that makes of it. Pure: bytes in, words out.
//! Not here: pipes, or which event is sent (see `pool`).
//!
//! supervisord's protocol: `READY\n` asks for an event, `RESULT n\n` and n bytes answer it, `OK` accepts it.

use serde::{Deserialize, Serialize};

const READY: &[u8] = b"READY\n";
const RESULT: &[u8] = b"RESULT ";
/// The longest first line of an answer, and the longest answer.
const MOST_LINE: usize = 64;
const MOST_RESULT: usize = 1 << 20;

/// supervisord's listener states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Has answered, or not said anything yet.
    #[default]
    Acknowledged,
    /// Waits for an event.
    Ready,
    /// Has one.
    Busy,
    /// Has said something else; nothing more is sent until it is started again.
    Unknown,
}

/// What was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ready,
    Accepted,
    /// Any other result: the event is to be sent again.
    Rejected,
    /// No word of the protocol. `had_event`: the one it has is to be sent again.
    Confused {
        had_event: bool,
    },
}

/// One listener's side of the conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Talk {
    pub(super) state: State,
    /// Begun, and not complete.
    rest: Vec<u8>,
}

impl Talk {
    /// An event was sent.
    pub(super) fn sent(&mut self) {
        self.state = State::Busy;
    }

    /// Takes in what it said.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Word> {
        let mut words = Vec::new();
        if self.state == State::Unknown {
            return words;
        }
        self.rest.extend_from_slice(bytes);
        while !self.rest.is_empty() {
            let word = match self.state {
                State::Acknowledged => self.ready(),
                State::Busy => self.result(),
                State::Ready => Err(()),
                State::Unknown => return words,
            };
            match word {
                Ok(None) => return words,
                Ok(Some((word, used))) => {
                    self.rest.drain(..used);
                    self.state = match word {
                        Word::Ready => State::Ready,
                        _ => State::Acknowledged,
                    };
                    words.push(word);
                }
                Err(()) => {
                    let had_event = self.state == State::Busy;
                    self.state = State::Unknown;
                    self.rest.clear();
                    words.push(Word::Confused { had_event });
                }
            }
        }
        words
    }

    fn ready(&self) -> Result<Option<(Word, usize)>, ()> {
        let seen = &self.rest[..self.rest.len().min(READY.len())];
        match READY.starts_with(seen) {
            true if seen.len() == READY.len() => Ok(Some((Word::Ready, READY.len()))),
            true => Ok(None),
            false => Err(()),
        }
    }

    fn result(&self) -> Result<Option<(Word, usize)>, ()> {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
            return if self.rest.len() < MOST_LINE {
                Ok(None)
            } else {
                Err(())
            };
        };
        let number = self.rest[..end].strip_prefix(RESULT).ok_or(())?;
        let number = std::str::from_utf8(number).map_err(drop)?;
        let length: usize = number.trim().parse().map_err(drop)?;
        if length > MOST_RESULT {
            return Err(());
        }
        let used = end + 1 + length;
        Ok(self.rest.get(end + 1..used).map(|result| {
            let word = if result == b"OK" {
                Word::Accepted
            } else {
                Word::Rejected
            };
            (word, used)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: State, said: &str, want: &[Word], then: State) {
        // However it is cut.
        for cut in 0..=said.len() {
            let mut talk = Talk {
                state,
                rest: Vec::new(),
            };
            let mut words = talk.hear(&said.as_bytes()[..cut]);
            words.extend(talk.hear(&said.as_bytes()[cut..]));
            assert_eq!(
                (words.as_slice(), talk.state),
                (want, then),
                "{said:?} cut at {cut}"
            );
        }
    }

    #[test]
    fn words() {
        use State::{Acknowledged, Busy, Ready, Unknown};
        check(Acknowledged, "READY\n", &[Word::Ready], Ready);
        check(Acknowledged, "REA", &[], Acknowledged);
        check(
            Acknowledged,
            "hello\n",
            &[Word::Confused { had_event: false }],
            Unknown,
        );
        check(
            Acknowledged,
            "READY\nREADY\n",
            &[Word::Ready, Word::Confused { had_event: false }],
            Unknown,
        );
        check(Ready, "x", &[Word::Confused { had_event: false }], Unknown);
        check(Busy, "RESULT 2\nOK", &[Word::Accepted], Acknowledged);
        check(
            Busy,
            "RESULT 4\nFAILREADY\n",
            &[Word::Rejected, Word::Ready],
            Ready,
        );
        check(
            Busy,
            "RESULT 0\nREADY\n",
            &[Word::Rejected, Word::Ready],
            Ready,
        );
        check(Busy, "RESULT 2\nO", &[], Busy);
        check(
            Busy,
            "RESULT two\nOK",
            &[Word::Confused { had_event: true }],
            Unknown,
        );
        check(
            Busy,
            "READY\n",
            &[Word::Confused { had_event: true }],
            Unknown,
        );
        check(
            Busy,
            "RESULT 99999999999\n",
            &[Word::Confused { had_event: true }],
            Unknown,
        );
        check(
            Busy,
            &"x".repeat(100),
            &[Word::Confused { had_event: true }],
            Unknown,
        );
        check(Unknown, "READY\n", &[], Unknown);
    }
}
