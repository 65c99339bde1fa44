//! 64 connections that ask again and again: wrk over TCP, h2load (as an HTTP/1.1 client) on a Unix socket.

use std::time::Duration;

use super::super::load::{self, Counted, WRK_SAYS};
use super::super::server::{Field, LOAD_CPU};
use super::peers::Place;
use super::scenarios::{POST_BYTES, Way};

pub(super) fn run(
    field: &Field,
    place: &Place,
    target: &str,
    way: Way,
    time: Duration,
) -> anyhow::Result<Counted> {
    let seconds = time.as_secs().max(1);
    let mut command = field.pinned(LOAD_CPU);
    match place {
        Place::Tcp(addr) => {
            let post = format!(
                "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {POST_BYTES})\n{WRK_SAYS}"
            );
            let script = field.write("wrk.lua", if way == Way::Post { &post } else { WRK_SAYS })?;
            command.args(["wrk", "-t1", "-c64", &format!("-d{seconds}s")]);
            command.args(["--latency", "--timeout", "10s", "-s"]);
            command.arg(script);
            if way == Way::Close {
                command.args(["-H", "Connection: close"]);
            }
            command.arg(format!("http://{addr}{target}"));
        }
        Place::Unix(_) => {
            command.args(["h2load", "--h1", "-t1", "-c64", "-m1"]);
            command.args(["-D", &seconds.to_string(), "-B", &place.to_string()]);
            command.arg(format!("http://127.0.0.1{target}"));
        }
    }
    let read = match place {
        Place::Tcp(_) => load::of_wrk,
        Place::Unix(_) => load::of_h2load,
    };
    load::count(&mut command, read)
}
