//! How much is let through: requests in a time, connections at a time, bytes in a time.
//!
//! `zone` is the memory that the cores share, `bucket` the rule for requests, `connections` the count of those under way,
//! `pace` slows answers down. Not here: waiting (`conn::pause`), or what the directives look like.

pub(crate) mod bucket;
pub(crate) mod connections;
pub(crate) mod pace;
pub(crate) mod table;
pub(crate) mod zone;

use std::time::Duration;

use crate::config::Rules;
use crate::template::Scene;
use bucket::Verdict;

/// How a limit is told of in the error log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Info,
    Notice,
    Warn,
    Error,
}

/// What a limit did to a request: the values of `$limit_req_status` and `$limit_conn_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Passed,
    Delayed,
    Rejected,
    DelayedDryRun,
    RejectedDryRun,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Delayed => "DELAYED",
            Self::Rejected => "REJECTED",
            Self::DelayedDryRun => "DELAYED_DRY_RUN",
            Self::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

impl LogLevel {
    /// One step less important, as delays are told of.
    pub(crate) fn lower(self) -> Self {
        match self {
            Self::Error => Self::Warn,
            Self::Warn => Self::Notice,
            Self::Notice | Self::Info => Self::Info,
        }
    }

    fn tell(self, scene: &Scene<'_>, text: &str) {
        let client = scene.conn.peer_text.as_str();
        let path = scene.record.visit.path.escape_ascii();
        match self {
            Self::Error => tracing::error!(%client, %path, "{text}"),
            Self::Warn => tracing::warn!(%client, %path, "{text}"),
            Self::Notice | Self::Info => tracing::info!(%client, %path, "{text}"),
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    After(Duration),
    /// Refused with this status.
    Never(u16),
}

/// Counts the request against the location's `limit_req`. `None` if there is none that it falls under.
pub(crate) fn requests(rules: &Rules, scene: &Scene<'_>) -> Option<(Turn, Status)> {
    let limits = rules.limit_requests.as_ref()?;
    let dry = if limits.dry_run { ", dry run" } else { "" };
    let zones = &scene.config.zones;
    match bucket::count(&limits.limits, zones, scene) {
        Verdict::Silent => None,
        Verdict::Passed => Some((Turn::Now, Status::Passed)),
        Verdict::Delayed {
            delay,
            excess,
            zone,
        } => {
            let (name, (whole, part)) = (&zones[zone].name, (excess / 1000, excess % 1000));
            let text =
                format!("delaying request{dry}, excess: {whole}.{part:03}, by zone \"{name}\"");
            limits.level.lower().tell(scene, &text);
            Some(if limits.dry_run {
                (Turn::Now, Status::DelayedDryRun)
            } else {
                (Turn::After(delay), Status::Delayed)
            })
        }
        Verdict::Rejected { excess, zone } => {
            let (name, (whole, part)) = (&zones[zone].name, (excess / 1000, excess % 1000));
            let text =
                format!("limiting requests{dry}, excess: {whole}.{part:03} by zone \"{name}\"");
            limits.level.tell(scene, &text);
            Some(if limits.dry_run {
                (Turn::Now, Status::RejectedDryRun)
            } else {
                (Turn::Never(limits.status), Status::Rejected)
            })
        }
    }
}

/// Counts the request against the location's `limit_conn`, for as long as the permits that are put into `held` live.
pub(crate) fn connections(
    rules: &Rules,
    scene: &Scene<'_>,
    held: &mut Vec<connections::Permit>,
) -> Option<(Turn, Status)> {
    let limits = rules.limit_connections.as_ref()?;
    let dry = if limits.dry_run { ", dry run" } else { "" };
    let mut counted = false;
    for limit in &limits.limits {
        let zone = &scene.config.zones[limit.zone];
        let Some(key) = zone.key_of(scene) else {
            continue;
        };
        counted = true;
        match connections::take(zone, &key, limit.most) {
            Some(permit) => held.push(permit),
            None => {
                let text = format!("limiting connections{dry} by zone \"{}\"", zone.name);
                limits.level.tell(scene, &text);
                held.clear();
                return Some(if limits.dry_run {
                    (Turn::Now, Status::RejectedDryRun)
                } else {
                    (Turn::Never(limits.status), Status::Rejected)
                });
            }
        }
    }
    counted.then_some((Turn::Now, Status::Passed))
}
