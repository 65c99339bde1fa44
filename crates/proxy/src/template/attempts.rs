//! `$upstream_…` variables: what was asked of servers, one value for each server that was asked, in order.
//!
//! As in nginx they are parted by `, `, with `-` for what an attempt has not. Not here: collecting it (`conn::record`).

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::conn::record::Record;
use crate::conn::reply::push_number;

/// What a variable tells of each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Addr,
    Status,
    ConnectTime,
    HeaderTime,
    ResponseTime,
    /// Of the answer without its head, in bytes.
    Length,
    /// Bytes on the server's connection.
    Received,
    Sent,
    /// Waiting for a server to have a connection to spare: one value for the whole request.
    Queued,
}

/// Appends the value; false if no server was asked.
pub(super) fn write(out: &mut Vec<u8>, told: Told, record: &Record) -> bool {
    if told == Told::Queued {
        if record.server().is_none() {
            return false;
        }
        seconds(out, Some(record.queued));
        return true;
    }
    let begin = out.len();
    for attempt in &record.earlier {
        if out.len() > begin {
            out.extend_from_slice(b", ");
        }
        match told {
            Told::Addr => out.extend_from_slice(attempt.server.name.as_bytes()),
            Told::Status => status(out, attempt.status),
            Told::ConnectTime => seconds(out, attempt.connect),
            Told::HeaderTime => seconds(out, attempt.header),
            Told::ResponseTime => seconds(out, Some(attempt.response)),
            Told::Length => push_number(out, attempt.traffic.length()),
            Told::Received => push_number(out, attempt.traffic.received),
            Told::Sent => push_number(out, attempt.traffic.sent),
            Told::Queued => {}
        }
    }
    if let Some(server) = &record.upstream {
        let lone = out.len() == begin;
        if !lone {
            out.extend_from_slice(b", ");
        }
        let begun = record.attempted.unwrap_or(record.started);
        let since = |at: Instant| at.saturating_duration_since(begun);
        let before = out.len();
        match told {
            Told::Addr => out.extend_from_slice(server.name.as_bytes()),
            Told::Status => status(out, record.upstream_status),
            Told::ConnectTime => seconds(out, record.connected.map(since)),
            Told::HeaderTime => seconds(out, record.first_byte.map(since)),
            Told::ResponseTime => {
                let end = record.received.unwrap_or_else(Instant::now);
                seconds(out, Some(since(end)));
            }
            Told::Length => push_number(out, record.traffic.length()),
            Told::Received => push_number(out, record.traffic.received),
            Told::Sent => push_number(out, record.traffic.sent),
            Told::Queued => {}
        }
        // Alone, what is not there is an empty variable.
        if lone && &out[before..] == b"-" {
            out.truncate(before);
        }
    }
    out.len() > begin
}

fn status(out: &mut Vec<u8>, status: u16) {
    // Writing to memory cannot fail.
    let _ = match status {
        0 => out.write_all(b"-"),
        status => write!(out, "{status}"),
    };
}

fn seconds(out: &mut Vec<u8>, time: Option<Duration>) {
    let _ = match time {
        Some(time) => write!(out, "{}.{:03}", time.as_secs(), time.subsec_millis()),
        None => out.write_all(b"-"),
    };
}
