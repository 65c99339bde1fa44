//! FastCGI variables, of the gateway crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trine_gateway::fuzz::fastcgi_params(input));
