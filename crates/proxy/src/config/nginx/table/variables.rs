//! Rows of the table: variables.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{Args, Known, works};

pub(super) const ROWS: &[Known] = &[
    works("map", HTTP, Args::Block(2, 2)),
    works("geo", HTTP, Args::Block(1, 2)),
    works("split_clients", HTTP, Args::Block(2, 2)),
];
