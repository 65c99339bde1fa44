//! JSON as an interface of an application answers it. Not here: who asks for it.

use std::fmt::Write as _;

const WORDS: [&str; 24] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi",
    "psi", "omega",
];

/// A list of records, at least `bytes` long and little more. It is the same each time.
pub(super) fn records(bytes: usize) -> String {
    let mut seed = 1_u32;
    let mut roll = |most: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % most
    };
    let mut out = "{\"results\": [".to_owned();
    for id in 1.. {
        let mut word = || WORDS[roll(24) as usize];
        let (name, mail, tag, other) = (word(), word(), word(), word());
        let _infallible = write!(
            out,
            "{{\"id\": {id}, \"name\": \"{name} {other}\", \"email\": \"{mail}{}@example.org\", \"active\": {}, \
             \"score\": {}.{:03}, \"tags\": [\"{tag}\", \"{other}\"], \
             \"created\": \"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z\"}}",
            roll(1000),
            roll(10) < 7,
            roll(100),
            roll(1000),
            roll(12) + 1,
            roll(28) + 1,
            roll(24),
            roll(60),
            roll(60),
        );
        if out.len() >= bytes {
            break;
        }
        out.push_str(", ");
    }
    out + "]}"
}
