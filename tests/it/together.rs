//! All three daemons on real applications, as the examples configure them and as `trine up` does.

mod django;
mod flask;
mod seats;
mod up;

/// A megabyte whose digest is known.
fn megabyte() -> Vec<u8> {
    (0..1 << 20_u32)
        .map(|number: u32| u8::try_from(number * 7 % 251).unwrap())
        .collect()
}

const MEGABYTE_SHA256: &str = "e76e4c02227083fd12207b7bc85287bb9e02a618fed3bd8eab1bc2daeda2fb53";

/// The value of the cookies that an answer sets, as the next request sends them.
fn cookies(reply: &e2e::reply::Reply) -> String {
    let set = reply
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs: Vec<&str> = set
        .filter_map(|(_, value)| value.split(';').next())
        .collect();
    pairs.join("; ")
}
