//! Rows of the table: variables.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{Args, Known, refused, works};

pub(super) const ROWS: &[Known] = &[
    works("map", HTTP, Args::Block(2, 2)),
    refused(
        "geo",
        HTTP,
        Args::Block(1, 2),
        "not there yet; use `map $remote_addr`",
    ),
    refused("split_clients", HTTP, Args::Block(2, 2), "not there yet"),
];
