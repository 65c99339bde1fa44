//! The fuzzers' corpus in `tests/corpus/http1`: replayed, and kept in step with the tables.
//!
//! With `TRINE_BLESS=1` in the environment the tables' rows are written into it. Inputs that a
//! fuzzer found are put beside them under any other name.

use std::fs;
use std::path::{Path, PathBuf};

use trine_http1::fuzz;

use crate::{Row, body, request_accepted, request_refused, response};

fn folder(codec: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/corpus/http1")
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
fn request_corpus_holds() {
    let rows = [request_accepted::ACCEPTED, request_refused::REFUSED].concat();
    replay("request", &rows, fuzz::request);
}

#[test]
fn response_corpus_holds() {
    replay("response", response::ROWS, fuzz::response);
}

#[test]
fn preamble_corpus_holds() {
    let seeds = fs::read_dir(folder("preamble")).unwrap();
    let seeds: Vec<_> = seeds.map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        println!("{}", seed.display());
        let bytes = fs::read(&seed).unwrap();
        for at in 0..bytes.len() {
            fuzz::preamble(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fuzz::preamble(&changed);
        }
        fuzz::preamble(&bytes);
    }
}

#[test]
fn chunked_corpus_holds() {
    replay("chunked", body::CHUNKED, fuzz::chunked);
}
