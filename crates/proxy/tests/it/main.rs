//! The binary `trine-proxy`, its clients and its upstreams as raw bytes: who says what, and who hears it.
//!
//! `harness` starts the daemon and plays both sides in lockstep from one thread, so that nothing sleeps and hopes.
//! Not here: pure rules, which have tables beside their code.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its harness too"
)]

mod asking;
mod guides;
mod harness;
mod logs;

mod access;
mod balancing;
mod cache;
mod changes;
mod corpus;
mod drain;
mod fastcgi;
mod files;
mod forwarding;
mod health;
mod http2;
mod http2_attacks;
mod limits;
mod names;
mod nginx_conf;
mod patience;
mod proxy_protocol;
mod rates;
mod retries;
mod serving;
mod signature;
mod smuggling;
mod spooling;
mod starting;
mod sticky;
mod storing;
mod tls;
mod trailers;
mod upgrades;
mod upstream_tls;
mod via;
mod words;
