//! Sessions of `stream` among the metrics.
//!
//! Not here: counting them (`layer4::figures`).

use trine_control::metrics::Metrics;

use crate::cores::Snapshot;

/// Adds them, if there are any: who has no `stream` need not read of it.
pub(super) fn metrics(seen: &Snapshot, metrics: &mut Metrics) {
    let sessions = &seen.sessions;
    let ended = sessions.tcp.iter().chain(&sessions.udp).sum::<u64>();
    if ended + sessions.open == 0 {
        return;
    }
    metrics
        .gauge(
            "trine_proxy_sessions_open",
            "Sessions of TCP and UDP below HTTP that are open.",
        )
        .sample(&[], sessions.open);
    let mut family = metrics.counter(
        "trine_proxy_sessions",
        "Sessions of TCP and UDP that are over, by the hundreds of their status.",
    );
    for (protocol, counts) in [("tcp", sessions.tcp), ("udp", sessions.udp)] {
        for (class, count) in counts.iter().enumerate() {
            let status = format!("{}xx", class + 1);
            family.sample(&[("protocol", protocol), ("status", &status)], *count);
        }
    }
    let mut family = metrics.counter(
        "trine_proxy_session_bytes",
        "Bytes of sessions that are over: received from clients, sent to them.",
    );
    family.sample(&[("direction", "received")], sessions.received_bytes);
    family.sample(&[("direction", "sent")], sessions.sent_bytes);
    let mut family = metrics.counter(
        "trine_proxy_upstream_session_bytes",
        "The same for servers: received from one, sent to it.",
    );
    for server in &seen.upstream_servers {
        let bytes = [
            ("received", server.received_bytes),
            ("sent", server.sent_bytes),
        ];
        for (direction, count) in bytes {
            let labels = [("server", &*server.address), ("direction", direction)];
            family.sample(&labels, count);
        }
    }
}
