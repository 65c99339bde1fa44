//! Tests of the codecs at their boundary: tables, every prefix, every split, round trips, and the replayed corpus.
//! Not here: sockets; the daemons' tests have those, with real peers.
#![expect(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach their helpers"
)]

mod cgi;
mod corpus;
mod fastcgi;
mod pairs;
mod random;
mod scgi;
mod uwsgi;

/// One line of a table: the rule it stands for, the bytes, and what comes out.
type Row = (&'static str, &'static [u8], &'static str);
