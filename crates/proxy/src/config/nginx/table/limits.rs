//! Rows of the table: limits.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{Args, FLAG, HSL, HSLI, Known, MORE, ONE, refused};

pub(super) const ROWS: &[Known] = &[
    refused(
        "limit_req_zone",
        HTTP,
        Args::Words(3, 4),
        "not there yet; limit in the application",
    ),
    refused(
        "limit_req",
        HSL,
        MORE,
        "not there yet; limit in the application",
    ),
    refused("limit_req_status", HSL, ONE, "not there yet"),
    refused("limit_req_log_level", HSL, ONE, "not there yet"),
    refused("limit_req_dry_run", HSL, FLAG, "not there yet"),
    refused(
        "limit_conn_zone",
        HTTP,
        Args::Words(2, 2),
        "not there yet; limit in the application",
    ),
    refused(
        "limit_conn",
        HSL,
        Args::Words(2, 2),
        "not there yet; limit in the application",
    ),
    refused("limit_conn_status", HSL, ONE, "not there yet"),
    refused("limit_conn_log_level", HSL, ONE, "not there yet"),
    refused("limit_conn_dry_run", HSL, FLAG, "not there yet"),
    refused(
        "limit_rate",
        HSLI,
        ONE,
        "answers are not slowed down; remove it",
    ),
    refused(
        "limit_rate_after",
        HSLI,
        ONE,
        "answers are not slowed down; remove it",
    ),
];
