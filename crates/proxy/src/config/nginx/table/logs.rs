//! Rows of the table: logs.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{HTTP, LIMIT_EXCEPT};
use super::{ANY, Args, HSL, HSLI, Known, MORE, accepted, works};

pub(super) const ROWS: &[Known] = &[
    works("access_log", HSLI | LIMIT_EXCEPT, MORE),
    works("log_format", HTTP, Args::Words(2, ANY)),
    accepted("open_log_file_cache", HSL, MORE, "logs stay open"),
];
