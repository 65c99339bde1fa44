//! First messages of TLS clients, of the proxy crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trine_proxy::fuzz::hello(input));
