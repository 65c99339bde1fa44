//! `trine cache`: what the proxy's caches hold, and having it forgotten. Not here: the caches (they are the proxy's).

use std::io::{self, Write as _};
use std::path::Path;

use trine_control::client::{Client, ClientError};
use trine_control::message::{CacheKeys, CacheList};
use trine_service::exit::Exit;

use crate::actions::REFUSED;
use crate::cli::{CacheCommand, CacheKeysArgs, CachePurgeArgs};
use crate::run_dir::RunDir;
use crate::supervisor::{segment, told};

pub(crate) async fn run(command: &CacheCommand, run_dir: &RunDir) -> anyhow::Result<Exit> {
    let answer = match command {
        CacheCommand::Status(args) => status(&proxy(args.control.as_deref(), run_dir)).await,
        CacheCommand::Keys(args) => keys(args, &proxy(args.at.control.as_deref(), run_dir)).await,
        CacheCommand::Purge(args) => purge(args, &proxy(args.at.control.as_deref(), run_dir)).await,
    };
    match answer {
        Ok(text) => {
            let _ = writeln!(io::stdout(), "{text}");
            Ok(Exit::Ok)
        }
        Err(ClientError::Refused { problem, .. }) => {
            let _ = writeln!(io::stderr(), "trine: {problem}");
            Ok(REFUSED)
        }
        Err(error) => Err(told(error, run_dir)),
    }
}

fn proxy(control: Option<&Path>, run_dir: &RunDir) -> Client {
    match control {
        Some(path) => Client::new(path),
        None => Client::new(run_dir.socket("proxy")),
    }
}

async fn status(proxy: &Client) -> Result<String, ClientError> {
    let list: CacheList = proxy.get("/v1/cache").await?;
    if list.zones.is_empty() {
        return Ok("the proxy has no cache; proxy_cache_path makes one".to_owned());
    }
    let lines = list.zones.iter().map(|zone| {
        let folder = zone.folder.as_deref().unwrap_or("no files");
        format!(
            "{}: {} in {} of {} memory; {folder}",
            zone.name,
            count(zone.keys, "key"),
            size(zone.bytes),
            size(zone.most_bytes)
        )
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn keys(args: &CacheKeysArgs, proxy: &Client) -> Result<String, ClientError> {
    let mut path = format!(
        "/v1/cache/keys?limit={}&prefix={}",
        args.limit,
        segment(&args.prefix)
    );
    add_zone(&mut path, args.at.zone.as_deref());
    let list: CacheKeys = proxy.get(&path).await?;
    let mut lines = list.keys;
    if lines.is_empty() {
        return Ok("nothing is kept".to_owned());
    }
    if list.more {
        lines.push(format!(
            "… and more; --limit {} shows them",
            args.limit.saturating_mul(10)
        ));
    }
    Ok(lines.join("\n"))
}

async fn purge(args: &CachePurgeArgs, proxy: &Client) -> Result<String, ClientError> {
    let what = [
        ("key", &args.key),
        ("prefix", &args.prefix),
        ("tag", &args.tag),
    ]
    .into_iter()
    .find_map(|(name, value)| Some(format!("{name}={}", segment(value.as_ref()?))))
    .unwrap_or_else(|| "all=true".to_owned());
    let mut path = format!("/v1/cache/purge?{what}");
    add_zone(&mut path, args.at.zone.as_deref());
    let list: CacheList = proxy.post(&path).await?;
    if list.zones.is_empty() {
        return Ok("the proxy has no cache, so there was nothing to forget".to_owned());
    }
    let lines = list.zones.iter().map(|zone| {
        let forgotten = count(zone.forgotten.unwrap_or(0), "key");
        format!("{}: {forgotten} forgotten", zone.name)
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn add_zone(path: &mut String, zone: Option<&str>) {
    if let Some(zone) = zone {
        path.push_str("&zone=");
        path.push_str(&segment(zone));
    }
}

fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown = [1, 9 * 1024, 100 * 1024, 64 << 20].map(size);
        assert_eq!(shown, ["1 bytes", "9216 bytes", "100 KiB", "64 MiB"]);
        assert_eq!(
            (count(1, "key"), count(2, "key")),
            ("1 key".into(), "2 keys".into())
        );
    }
}
