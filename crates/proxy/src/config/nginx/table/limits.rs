//! Rows of the table: limits.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{Args, FLAG, HSL, HSLI, Known, MORE, ONE, works};

pub(super) const ROWS: &[Known] = &[
    works("limit_req_zone", HTTP, Args::Words(3, 4)),
    works("limit_req", HSL, MORE),
    works("limit_req_status", HSL, ONE),
    works("limit_req_log_level", HSL, ONE),
    works("limit_req_dry_run", HSL, FLAG),
    works("limit_conn_zone", HTTP, Args::Words(2, 2)),
    works("limit_conn", HSL, Args::Words(2, 2)),
    works("limit_conn_status", HSL, ONE),
    works("limit_conn_log_level", HSL, ONE),
    works("limit_conn_dry_run", HSL, FLAG),
    works("limit_rate", HSLI, ONE),
    works("limit_rate_after", HSLI, ONE),
];
