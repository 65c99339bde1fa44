//! The fuzzers' corpus in `tests/corpus`: replayed, cut short, with bytes changed; and a short run of the fuzzers, with
//! random changes from a fixed seed, so that what it finds is found again.

use std::fs;
use std::path::{Path, PathBuf};

use trine_proxy::fuzz;

/// Bytes that mean something in one of the grammars.
const TELLING: &[u8] = b"\0\t\n\r \"#$%'*+,-./0:;=?\\{}~\x7f\xff";

/// The seeds of one fuzzer, by name.
fn seeds(codec: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let entries = fs::read_dir(folder.join(codec)).unwrap();
    let mut seeds: Vec<_> = entries
        .map(|seed| seed.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert!(!seeds.is_empty(), "no seeds in {codec}");
    seeds.sort();
    seeds
}

/// Runs every seed and what is near it through `entry`, which panics where an invariant is broken.
fn replay(codec: &str, entry: fn(&[u8])) {
    for (seed, bytes) in seeds(codec) {
        println!("{}", seed.display());
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
    }
}

/// Random numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most.max(1) as u64).unwrap()
    }
}

/// Feeds `entry` with seeds that were changed at random places: a byte, a piece taken out, said twice, or out of another
/// seed. What was made is changed further now and then, so that changes add up.
fn run(codec: &str, entry: fn(&[u8]), times: usize) {
    let mut pool: Vec<Vec<u8>> = seeds(codec).into_iter().map(|(_, bytes)| bytes).collect();
    let count = pool.len();
    let mut random = Random(codec.bytes().map(u64::from).sum());
    for turn in 0..times {
        let mut input = pool[random.below(pool.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(input.len() + 1);
            let end = (at + 1 + random.below(16)).min(input.len());
            match random.below(5) {
                0 if at < input.len() => input[at] = TELLING[random.below(TELLING.len())],
                1 if at < input.len() => input[at] = u8::try_from(random.below(256)).unwrap(),
                2 => drop(input.drain(at..end)),
                3 => {
                    let piece = input[at..end].to_vec();
                    input.splice(at..at, piece);
                }
                _ => {
                    let other = &pool[random.below(pool.len())];
                    let from = random.below(other.len() + 1);
                    let piece = other[from..(from + 40).min(other.len())].to_vec();
                    input.splice(at..at, piece);
                }
            }
        }
        input.truncate(4096);
        let told = std::panic::catch_unwind(|| entry(&input));
        assert!(
            told.is_ok(),
            "{codec}, turn {turn}: {}",
            input.escape_ascii()
        );
        let place = count + turn % 50;
        match pool.get_mut(place) {
            Some(kept) => *kept = input,
            None => pool.push(input),
        }
    }
}

#[test]
fn nginx_conf_corpus_holds() {
    replay("proxy/nginx_conf", fuzz::nginx_conf);
    run("proxy/nginx_conf", fuzz::nginx_conf, 3_000);
}

#[test]
fn path_corpus_holds() {
    replay("proxy/path", fuzz::path);
    run("proxy/path", fuzz::path, 20_000);
}

#[test]
fn range_corpus_holds() {
    replay("proxy/range", fuzz::range);
    run("proxy/range", fuzz::range, 20_000);
}

#[test]
fn hello_corpus_holds() {
    replay("proxy/hello", fuzz::hello);
    run("proxy/hello", fuzz::hello, 2_000);
}

#[test]
fn preamble_corpus_holds() {
    replay("http1/preamble", trine_http1::fuzz::preamble);
    run("http1/preamble", trine_http1::fuzz::preamble, 20_000);
}
