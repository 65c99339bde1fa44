//! Rows of the table: upstreams.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{HTTP, LOCATION, UPSTREAM};
use super::{ANY, Args, Known, ONE_OR_TWO, accepted, works};

pub(super) const ROWS: &[Known] = &[
    works("upstream", HTTP, Args::Block(1, 1)),
    works("keepalive", UPSTREAM, ONE_OR_TWO),
    works("queue", UPSTREAM, ONE_OR_TWO),
    works("health_check", UPSTREAM | LOCATION, Args::Words(0, ANY)),
    works("match", HTTP, Args::Block(1, 1)),
    accepted("zone", UPSTREAM, ONE_OR_TWO, "state is shared anyway"),
    works("least_conn", UPSTREAM, Args::Words(0, 0)),
    works("ip_hash", UPSTREAM, Args::Words(0, 0)),
    works("hash", UPSTREAM, ONE_OR_TWO),
    works("random", UPSTREAM, Args::Words(0, 2)),
    works("least_time", UPSTREAM, ONE_OR_TWO),
    works("sticky", UPSTREAM, Args::Words(2, ANY)),
];
