//! The raw requests: their text form, and how each is put on the wire.

use e2e::client::Stream;
use std::io::{self, Write as _};
use std::net::Shutdown;

use super::folder;

/// A request under a name.
pub(super) struct Case {
    pub(super) name: String,
    text: String,
}

/// How it is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In one write.
    Whole,
    /// Byte by byte.
    Bytes,
    /// Twice in one write, and one more behind them.
    Pipelined,
    /// In one write, after which the sending side is closed.
    HalfClosed,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Bytes => "bytes",
            Self::Pipelined => "pipelined",
            Self::HalfClosed => "half-closed",
        }
    }
}

impl Case {
    pub(super) fn get(application: &str) -> Self {
        Self {
            name: application.to_owned(),
            text: format!("GET /{application} HTTP/1.1"),
        }
    }

    pub(super) fn is_head(&self) -> bool {
        self.text.starts_with("HEAD ")
    }

    pub(super) fn modes(&self) -> impl Iterator<Item = Mode> + use<> {
        let only_half = self.name.starts_with("half-");
        let all = [Mode::Whole, Mode::Bytes, Mode::Pipelined, Mode::HalfClosed];
        all.into_iter()
            .filter(move |mode| !only_half || *mode == Mode::HalfClosed)
    }

    fn bytes(&self, closes: bool) -> Vec<u8> {
        if self.name.starts_with("raw-") {
            return decode(&self.text);
        }
        let (head, body) = self.text.split_once("||").unwrap_or((&self.text, ""));
        let mut head = head.to_owned();
        if !head.contains("HTTP/1.0") && !head.contains("|Host:") {
            head += "|Host: h";
        }
        if closes && !head.contains("|Connection:") {
            head += "|Connection: close";
        }
        decode(&format!("{head}||{body}"))
    }

    pub(super) fn send(&self, stream: &mut Stream, mode: Mode) -> io::Result<()> {
        match mode {
            Mode::Whole => stream.write_all(&self.bytes(true)),
            Mode::Bytes => self
                .bytes(true)
                .iter()
                .try_for_each(|byte| stream.write_all(std::slice::from_ref(byte))),
            Mode::Pipelined => {
                let mut bytes = self.bytes(false).repeat(2);
                bytes.extend(Self::get("one").bytes(true));
                stream.write_all(&bytes)
            }
            Mode::HalfClosed => {
                stream.write_all(&self.bytes(false))?;
                match stream {
                    Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
                    Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
                }
            }
        }
    }
}

pub(super) fn read() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("cases.txt")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, text) = line.split_once(':').unwrap();
            Case {
                name: name.to_owned(),
                text: text.strip_prefix(' ').unwrap_or(text).to_owned(),
            }
        })
        .collect()
}

/// `|` is a line end, `\xNN` a byte, `{N}` a long word, `{N headers}` that many lines.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
            continue;
        }
        if let Some((number, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        {
            match number.strip_suffix(" headers") {
                Some(count) => (0..count.parse().unwrap())
                    .for_each(|n| bytes.extend(format!("X-{n}: 1\r\n").bytes())),
                None => bytes.extend(vec![b'a'; number.parse().unwrap()]),
            }
            rest = after;
            continue;
        }
        if first == '|' {
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
        }
        rest = &rest[first.len_utf8()..];
    }
    bytes
}
