//! The fuzzers' corpus in `tests/corpus/gateway`: replayed, and kept in step with the tables.
//!
//! With `TRINE_BLESS=1` in the environment the tables' rows are written into it. Inputs that a
//! fuzzer found are put beside them under any other name.

use std::fs;
use std::path::{Path, PathBuf};

use trine_gateway::fuzz;

use crate::{Row, cgi, fastcgi, scgi, uwsgi};

fn folder(codec: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/corpus/gateway")
        .join(codec)
}

fn file_name(rule: &str) -> String {
    let plain = rule
        .to_ascii_lowercase()
        .replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let words: Vec<_> = plain.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// Checks that every row is a seed, then runs every seed through `entry`, which panics where an
/// invariant is broken.
fn replay(codec: &str, rows: &[Row], entry: fn(&[u8])) {
    let folder = folder(codec);
    let bless = std::env::var_os("TRINE_BLESS").is_some();
    if bless {
        fs::create_dir_all(&folder).unwrap();
    }
    for (rule, input, _) in rows {
        let seed = folder.join(file_name(rule));
        if bless {
            fs::write(&seed, input).unwrap();
        }
        let found = fs::read(&seed).unwrap_or_default();
        assert_eq!(
            found,
            *input,
            "{} is out of date: run with TRINE_BLESS=1",
            seed.display()
        );
    }
    let seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(seeds.len() >= rows.len());
    for seed in seeds {
        println!("{}", seed.display());
        entry(&fs::read(&seed).unwrap());
    }
}

#[test]
fn fastcgi_server_corpus_holds() {
    replay("fastcgi_server", fastcgi::SERVER, fuzz::fastcgi_server);
}

#[test]
fn fastcgi_client_corpus_holds() {
    replay("fastcgi_client", fastcgi::CLIENT, fuzz::fastcgi_client);
}

#[test]
fn fastcgi_params_corpus_holds() {
    replay("fastcgi_params", fastcgi::PARAMS, fuzz::fastcgi_params);
}

#[test]
fn uwsgi_corpus_holds() {
    replay("uwsgi", uwsgi::ROWS, fuzz::uwsgi);
}

#[test]
fn scgi_corpus_holds() {
    replay("scgi", scgi::ROWS, fuzz::scgi);
}

#[test]
fn cgi_corpus_holds() {
    replay("cgi", cgi::ROWS, fuzz::cgi);
}
