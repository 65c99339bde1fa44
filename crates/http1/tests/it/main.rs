//! Tests of the codecs at their boundary: tables, every prefix, every split, round trips, and the
//! replayed corpus.
//! Not here: sockets; the daemons' tests have those.
#![expect(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach their helpers"
)]

mod body;
mod corpus;
mod encode;
mod limits;
mod preamble;
mod request;
mod request_accepted;
mod request_refused;
mod response;

/// One line of a table: the rule it stands for, the bytes, and what comes out.
type Row = (&'static str, &'static [u8], &'static str);
