//! Preambles of the PROXY protocol, of the http1 crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trine_http1::fuzz::preamble(input));
