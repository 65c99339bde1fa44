//! The fuzzers' corpus in `tests/corpus/proxy`: replayed, cut short, and with bytes changed.

use std::fs;
use std::path::Path;

use trine_proxy::fuzz;

/// Bytes that mean something in one of the grammars.
const TELLING: &[u8] = b"\0\t\n\r \"#$%'*+,-./0:;=?\\{}~\x7f\xff";

/// Runs every seed and what is near it through `entry`, which panics where an invariant is broken.
fn replay(codec: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/proxy");
    let mut count = 0;
    for seed in fs::read_dir(folder.join(codec)).unwrap() {
        let seed = seed.unwrap().path();
        println!("{}", seed.display());
        let bytes = fs::read(&seed).unwrap();
        // Long ones at some places only.
        let step = (bytes.len() / 40).max(1);
        for cut in (0..=bytes.len()).step_by(step) {
            entry(&bytes[..cut]);
        }
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            // Each place gets another one, so that it is quick; the fuzzer does the rest.
            changed[at] = TELLING[(at * 7 + bytes.len()) % TELLING.len()];
            entry(&changed);
            changed.remove(at);
            entry(&changed);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {codec}");
}

#[test]
fn nginx_conf_corpus_holds() {
    replay("nginx_conf", fuzz::nginx_conf);
}

#[test]
fn path_corpus_holds() {
    replay("path", fuzz::path);
}

#[test]
fn range_corpus_holds() {
    replay("range", fuzz::range);
}
