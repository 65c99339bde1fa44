//! Chunked bodies of the http1 crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trine_http1::fuzz::chunked(input));
