//! Rows of the table: upstreams.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{HTTP, UPSTREAM};
use super::{Args, Known, MORE, ONE_OR_TWO, accepted, refused, works};

pub(super) const ROWS: &[Known] = &[
    works("upstream", HTTP, Args::Block(1, 1)),
    works("keepalive", UPSTREAM, ONE_OR_TWO),
    accepted("zone", UPSTREAM, ONE_OR_TWO, "state is shared anyway"),
    refused(
        "least_conn",
        UPSTREAM,
        Args::Words(0, 0),
        "servers are used in turn; remove it",
    ),
    refused(
        "ip_hash",
        UPSTREAM,
        Args::Words(0, 0),
        "servers are used in turn; remove it",
    ),
    refused(
        "hash",
        UPSTREAM,
        ONE_OR_TWO,
        "servers are used in turn; remove it",
    ),
    refused(
        "random",
        UPSTREAM,
        Args::Words(0, 2),
        "servers are used in turn; remove it",
    ),
    refused(
        "sticky",
        UPSTREAM,
        MORE,
        "servers are used in turn; remove it",
    ),
];
