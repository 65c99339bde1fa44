//! The points of consistent hashing, where nginx and Cache::Memcached::Fast have them.
//!
//! Each server has 160 points for each unit of its weight, so one that leaves takes only its own keys with it.
//! Not here: what to do when a point's server cannot be asked.

use crate::config::UpstreamServer;

const POINTS: u32 = 160;

/// Points on a ring, each with the number of its server.
#[derive(Debug, Default)]
pub(super) struct Ring {
    points: Vec<(u32, usize)>,
}

impl Ring {
    pub(super) fn new(servers: &[UpstreamServer]) -> Self {
        let mut points = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            // What stands twice is one server to the ring.
            let owner = servers
                .iter()
                .position(|other| other.text == server.text)
                .unwrap_or(index);
            let (host, port) = parts(&server.text);
            let mut base = crc32fast::Hasher::new();
            base.update(host.as_bytes());
            base.update(b"\0");
            base.update(port.as_bytes());
            let mut before = 0u32;
            for _ in 0..server.weight * POINTS {
                let mut point = base.clone();
                point.update(&before.to_le_bytes());
                before = point.finalize();
                points.push((before, owner));
            }
        }
        points.sort_by_key(|&(hash, _)| hash);
        points.dedup_by_key(|&mut (hash, _)| hash);
        Self { points }
    }

    /// The first point that is not before a hash.
    pub(super) fn find(&self, hash: u32) -> usize {
        self.points.partition_point(|&(point, _)| point < hash)
    }

    /// The server of a point; the last is followed by the first.
    pub(super) fn at(&self, point: usize) -> Option<usize> {
        let (_, server) = self.points.get(point % self.points.len().max(1))?;
        Some(*server)
    }
}

/// Host and port of an address as it was written.
fn parts(text: &str) -> (&str, &str) {
    let unix = text
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("unix:"));
    if unix {
        return (&text[5..], "");
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (text, ""),
    }
}
