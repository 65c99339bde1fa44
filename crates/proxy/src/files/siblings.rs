//! Compressed files beside the plain ones: `.br`, `.zst`, `.gz`.
//!
//! Not here: compressing (`compress`).

use std::path::Path;

use trine_http1::Version;

use super::cache::{Cache, Look, Shape};
use crate::compress::{self, Coding};
use crate::config::{Files, Sibling};
use crate::template::Scene;

/// What is at the path, or beside it for clients that accept that.
pub(super) fn look(
    cache: &Cache,
    root: &Path,
    rest: &[u8],
    index: &[&[u8]],
    files: &Files,
    shape: &Shape<'_>,
    scene: &Scene<'_>,
) -> Look {
    let now = scene.record.started;
    let siblings = &files.how.siblings;
    let (true, Some(request)) = (siblings.any(), scene.request) else {
        return cache.look(root, rest, index, shape, now);
    };
    let is_file = !rest.is_empty() && !rest.ends_with(b"/");
    let is_read = matches!(request.method(), "GET" | "HEAD");
    if !is_file || !is_read {
        return cache.look(root, rest, index, shape, now);
    }
    let allowed = (request.version() != Version::Http10 || siblings.http10)
        && (request.get("via").is_none() || siblings.proxied);
    let mut varies = false;
    for (coding, sibling) in [
        (Coding::Br, siblings.br),
        (Coding::Zstd, siblings.zstd),
        (Coding::Gzip, siblings.gzip),
    ] {
        let wanted = match sibling {
            Sibling::Off => continue,
            Sibling::Always => true,
            Sibling::On => allowed && compress::accepts(&request, coding.name()),
        };
        if !wanted && !siblings.vary {
            continue;
        }
        let name = [rest, coding.ending().as_bytes()].concat();
        let ready = Shape {
            coding: Some(coding),
            ranges: false,
            varies: siblings.vary && sibling == Sibling::On,
            ..*shape
        };
        if let Look::File(entry) = cache.look(root, &name, &[], &ready, now) {
            if wanted {
                return Look::File(entry);
            }
            varies = true;
        }
    }
    cache.look(root, rest, index, &Shape { varies, ..*shape }, now)
}
