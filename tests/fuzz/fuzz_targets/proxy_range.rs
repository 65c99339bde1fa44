//! Range fields, of the proxy crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trine_proxy::fuzz::range(input));
