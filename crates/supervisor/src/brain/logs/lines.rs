//! Lines as they are written: with time and process in front, or as objects of JSON. Pure: bytes and a time in,
//! bytes out.
//! Not here: pipes and files (see `file`).

use crate::config::extras::LineFormat;
use std::io::Write as _;

/// A line that has no end after so many bytes need not be waited for.
pub(super) const LONGEST: usize = 32 << 10;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) id: String,
    pub(super) channel: &'static str,
}

impl Speaker {
    /// The process's name without its group.
    pub(super) fn name(&self) -> &str {
        self.id.rsplit(':').next().unwrap_or(&self.id)
    }
}

/// The present time, as [`write`] wants it.
pub(super) fn time() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Writes whole lines in the given format; the last may lack its end. `time`: RFC 3339.
pub(super) fn write(
    out: &mut Vec<u8>,
    lines: &[u8],
    format: LineFormat,
    speaker: &Speaker,
    time: &str,
) {
    if format == LineFormat::Raw {
        out.extend_from_slice(lines);
        return;
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // Writing to a vector never fails.
        let _ = match format {
            LineFormat::Raw => Ok(()),
            LineFormat::Prefixed => {
                let _ = write!(out, "{time} {} ", speaker.id);
                out.extend_from_slice(line);
                out.write_all(b"\n")
            }
            LineFormat::Json => {
                let _ = write!(out, "{{\"time\":\"{time}\",\"program\":");
                let _ = serde_json::to_writer(&mut *out, &speaker.id);
                let _ = write!(out, ",\"channel\":\"{}\",", speaker.channel);
                message(out, line);
                out.write_all(b"}\n")
            }
        };
    }
}

/// Text as it is; what is not UTF-8 as bytes in hex too, so that nothing is lost.
fn message(out: &mut Vec<u8>, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let _ = out.write_all(b"\"message\":");
    let _ = serde_json::to_writer(&mut *out, &*text);
    if let std::borrow::Cow::Owned(_) = text {
        let _ = out.write_all(b",\"bytes\":\"");
        for byte in line {
            let _ = write!(out, "{byte:02x}");
        }
        let _ = out.write_all(b"\"");
    }
}

/// The time at the beginning of a line in one of the formats that have one.
#[must_use]
pub fn time_of(line: &[u8]) -> Option<jiff::Timestamp> {
    let text = match line.strip_prefix(b"{\"time\":\"") {
        Some(rest) => rest.split(|byte| *byte == b'"').next()?,
        None => line.split(|byte| *byte == b' ').next()?,
    };
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[u8], format: LineFormat, want: &str) {
        let speaker = Speaker {
            id: "web:web_00".into(),
            channel: "stdout",
        };
        let mut out = Vec::new();
        write(
            &mut out,
            lines,
            format,
            &speaker,
            "2026-11-25T20:00:00.000Z",
        );
        assert_eq!(String::from_utf8_lossy(&out), want);
        let has_time = format != LineFormat::Raw && !out.is_empty();
        assert_eq!(time_of(&out).is_some(), has_time);
    }

    #[test]
    fn formats() {
        check(b"a\n\xffb", LineFormat::Raw, "a\n\u{fffd}b");
        check(
            b"a b\n\n",
            LineFormat::Prefixed,
            "2026-11-25T20:00:00.000Z web:web_00 a b\n2026-11-25T20:00:00.000Z web:web_00 \n",
        );
        let head = "{\"time\":\"2026-11-25T20:00:00.000Z\",\"program\":\"web:web_00\",\"channel\":\"stdout\",";
        check(
            b"say \"hi\"\t\x01\n",
            LineFormat::Json,
            &format!("{head}\"message\":\"say \\\"hi\\\"\\t\\u0001\"}}\n"),
        );
        check(
            b"\xff\0",
            LineFormat::Json,
            &format!("{head}\"message\":\"\u{fffd}\\u0000\",\"bytes\":\"ff00\"}}\n"),
        );
    }
}
