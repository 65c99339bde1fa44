//! Server-sent events (WHATWG HTML, section 9.2): encoding, and a decoder for the client. Bytes in, bytes out.
//!
//! Not here: sockets, waiting, or which events are sent.

use crate::message::Event;

/// The content type of an event stream.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// A line that keeps an idle stream alive; readers ignore it.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// The longest event a reader takes, in bytes.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// One event: its id, its kind as the type, and all of it as JSON in one line of data.
#[must_use]
pub fn encode(event: &Event) -> String {
    // Serialising an `Event` cannot fail: it has string keys only.
    let data = serde_json::to_string(event).unwrap_or_default();
    let kind: String = event.kind.chars().filter(|c| !c.is_control()).collect();
    format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.id)
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The data of an event is not what version 1 of the API says.
    #[error("an event is not readable: {text}")]
    Data {
        /// Its data as it came.
        text: String,
        /// What the reader stumbled over.
        #[source]
        source: serde_json::Error,
    },
    /// An event longer than [`MAX_EVENT_BYTES`].
    #[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
}

/// Reads a stream of bytes back into events, however it is cut.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of a line whose end has not come.
    line: Vec<u8>,
    data: String,
}

impl Decoder {
    /// Takes more bytes of the stream and returns the events they complete.
    ///
    /// # Errors
    /// [`DecodeError`]; the stream is of no use after that.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, DecodeError> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            events.extend(self.end_of_line()?);
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
            return Err(DecodeError::TooLong);
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Result<Option<Event>, DecodeError> {
        let line = String::from_utf8_lossy(&self.line)
            .trim_end_matches('\r')
            .to_owned();
        self.line.clear();
        if let Some(data) = line.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        if !line.is_empty() || self.data.is_empty() {
            return Ok(None); // id and event are repeated inside the data
        }
        let text = std::mem::take(&mut self.data);
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| DecodeError::Data { text, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(id: u64, kind: &str) -> Event {
        Event {
            id,
            time: "2026-11-23T10:00:00.5Z".parse().unwrap(),
            kind: kind.to_owned(),
            data: json!({"text": "two\nlines"}),
        }
    }

    #[test]
    fn one_event_is_four_lines() {
        let want = "id: 7\nevent: worker.ready\ndata: {\"id\":7,\"time\":\"2026-11-23T10:00:00.5Z\",\
                    \"kind\":\"worker.ready\",\"data\":{\"text\":\"two\\nlines\"}}\n\n";
        assert_eq!(encode(&event(7, "worker.ready")), want);
        assert!(
            encode(&event(7, "a\nid: 9")).starts_with("id: 7\nevent: aid: 9\n"),
            "no forged field"
        );
    }

    #[test]
    fn any_cut() {
        let sent = [event(1, "a"), event(2, "b")];
        let stream = format!(
            "{KEEP_ALIVE}{}{KEEP_ALIVE}{}",
            encode(&sent[0]),
            encode(&sent[1])
        )
        .replace('\n', "\r\n");
        for cut in 0..stream.len() {
            let mut decoder = Decoder::default();
            let mut got = decoder.push(&stream.as_bytes()[..cut]).unwrap();
            got.extend(decoder.push(&stream.as_bytes()[cut..]).unwrap());
            assert_eq!(got, sent, "cut at {cut}");
        }
    }

    #[test]
    fn errors() {
        let push = |bytes: &[u8]| Decoder::default().push(bytes).unwrap_err().to_string();
        assert_eq!(push(b"data: {}\n\n"), "an event is not readable: {}");
        assert_eq!(
            push(&vec![b'x'; MAX_EVENT_BYTES + 1]),
            "an event is longer than 1048576 bytes"
        );
    }
}
