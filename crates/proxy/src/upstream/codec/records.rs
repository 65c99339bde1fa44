//! FastCGI's frames around an answer: what is in them is packed together in the buffer that they came in.
//!
//! Not here: the frames of a request's body (`Codec::surround`), or its variables (`upstream::params`).

use trine_gateway::Error;
use trine_gateway::cgi::Style;
use trine_gateway::fastcgi::{Answer, Client, ProtocolStatus};

use super::script::ScriptHead;
use crate::upstream::fault::Fault;
use crate::workbench::Input;

/// One request at a time is on a connection, so they all have the same number, as with nginx.
pub(crate) const REQUEST_ID: u16 = 1;
/// So much of what an application says for the log is kept until it is written down.
const MOST_STDERR: usize = 16 * 1024;

/// What an application has said for the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stderr {
    pub(crate) text: Vec<u8>,
    /// Bytes that were too many.
    pub(crate) more: usize,
}

/// One request's answer in records.
#[derive(Debug)]
pub(crate) struct Records {
    client: Client,
    pub(super) head: ScriptHead,
    /// The beginning of a record that has not come as a whole.
    cut: Vec<u8>,
    stderr: Stderr,
    began: bool,
    end: Option<ProtocolStatus>,
    /// Something came after the end.
    excess: bool,
    /// The application was asked to leave the connection open.
    keep: bool,
}

impl Records {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            client: Client::new(REQUEST_ID),
            head: ScriptHead::new(Style::Cgi, false),
            cut: Vec::new(),
            stderr: Stderr::default(),
            began: false,
            end: None,
            excess: false,
            keep,
        }
    }

    pub(super) fn received(&mut self, answer: &mut Input, count: usize) -> Result<(), Error> {
        self.began |= count > 0;
        let came = answer.came(count);
        let kept = if self.cut.is_empty() {
            self.unpack(came)?
        } else {
            // What was cut off held no content, so that it is never more than what came now.
            let mut joined = std::mem::take(&mut self.cut);
            joined.extend_from_slice(came);
            let kept = self.unpack(&mut joined)?.min(came.len());
            came[..kept].copy_from_slice(&joined[..kept]);
            kept
        };
        answer.drop_last(count - kept);
        Ok(())
    }

    /// Moves the content of the answer to the front of `bytes` and returns how much it is.
    fn unpack(&mut self, bytes: &mut [u8]) -> Result<usize, Error> {
        let (mut at, mut kept) = (0, 0);
        loop {
            if self.end.is_some() {
                self.excess |= at < bytes.len();
                return Ok(kept);
            }
            let (piece, used) = self.client.advance(&bytes[at..])?;
            let end = at + used;
            match piece {
                Answer::More => {
                    self.cut.extend_from_slice(&bytes[end..]);
                    return Ok(kept);
                }
                Answer::Stdout(data) => {
                    // Content is the last of what was used.
                    let from = end - data.len();
                    bytes.copy_within(from..end, kept);
                    kept += end - from;
                }
                Answer::Stderr(data) => {
                    let room = MOST_STDERR - self.stderr.text.len();
                    let (fits, more) = data.split_at(room.min(data.len()));
                    self.stderr.text.extend_from_slice(fits);
                    self.stderr.more += more.len();
                }
                Answer::Values(_) => {}
                Answer::End { status, .. } => self.end = Some(status),
            }
            at = end;
        }
    }

    /// Why there will be no head any more.
    pub(super) fn ended_without_head(&self) -> Option<Fault> {
        Some(match self.end? {
            ProtocolStatus::Complete | ProtocolStatus::UnknownRole => Fault::CutHead,
            ProtocolStatus::Overloaded | ProtocolStatus::CannotMultiplex => Fault::Overloaded,
        })
    }

    pub(super) fn has_begun(&self) -> bool {
        self.began
    }

    pub(super) fn is_over(&self) -> bool {
        self.end == Some(ProtocolStatus::Complete)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_over() && !self.excess
    }

    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    pub(super) fn stderr(&mut self) -> Option<Stderr> {
        let empty = self.stderr.text.is_empty();
        (!empty).then(|| std::mem::take(&mut self.stderr))
    }

    pub(super) fn has_said(&self, texts: &[Vec<u8>]) -> bool {
        let said = &self.stderr.text;
        texts
            .iter()
            .any(|text| memchr::memmem::find(said, text).is_some())
    }
}
