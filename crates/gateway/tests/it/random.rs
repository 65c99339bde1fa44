//! The entries of the fuzzers with inputs made by seed: good ones, damaged a little, so that the whole of every codec
//! is reached and not only its first checks. The seed is told when one fails.

use trine_gateway::fuzz;

use crate::{Row, cgi, fastcgi, scgi, uwsgi};

/// So many inputs for each codec.
const ROUNDS: u64 = 20_000;

/// xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }
}

/// One or more good inputs behind one another, with a few bytes changed, left out, doubled or put in.
fn damaged(rows: &[Row], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.roll(3) {
        bytes.extend_from_slice(rows[dice.roll(rows.len())].1);
    }
    for _ in 0..dice.roll(5) {
        let at = dice.roll(bytes.len());
        match dice.roll(5) {
            0 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, dice.roll(256) as u8),
            _ => {
                let end = (at + dice.roll(20)).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn try_all(rows: &[Row], entry: fn(&[u8])) {
    for round in 0..ROUNDS {
        let seed = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(round + 1);
        let input = damaged(rows, &mut Dice(seed));
        let done = std::panic::catch_unwind(|| entry(&input));
        assert!(
            done.is_ok(),
            "seed {seed:#x} breaks an invariant: {}",
            input.escape_ascii()
        );
    }
}

#[test]
fn fastcgi_of_applications() {
    try_all(fastcgi::CLIENT, fuzz::fastcgi_client);
}

#[test]
fn fastcgi_of_web_servers() {
    try_all(fastcgi::SERVER, fuzz::fastcgi_server);
}

#[test]
fn fastcgi_variables() {
    try_all(fastcgi::PARAMS, fuzz::fastcgi_params);
}

#[test]
fn uwsgi_packets() {
    try_all(uwsgi::ROWS, fuzz::uwsgi);
}

#[test]
fn scgi_netstrings() {
    try_all(scgi::ROWS, fuzz::scgi);
}

#[test]
fn heads_of_scripts() {
    try_all(cgi::ROWS, fuzz::cgi);
}
