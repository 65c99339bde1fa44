//! Rows of the table: rewriting.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{IF, LOCATION, SERVER, SERVER_IF};
use super::{ANY, Args, FLAG, HSLI, Known, accepted, works};

pub(super) const ROWS: &[Known] = &[
    works(
        "rewrite",
        SERVER | LOCATION | IF | SERVER_IF,
        Args::Words(2, 3),
    ),
    works("if", SERVER | LOCATION, Args::Block(1, ANY)),
    works("set", SERVER | LOCATION | IF | SERVER_IF, Args::Words(2, 2)),
    works(
        "break",
        SERVER | LOCATION | IF | SERVER_IF,
        Args::Words(0, 0),
    ),
    accepted(
        "rewrite_log",
        HSLI,
        FLAG,
        "what happens is not logged step by step",
    ),
    accepted(
        "uninitialized_variable_warn",
        HSLI,
        FLAG,
        "a variable without a value is empty",
    ),
];
