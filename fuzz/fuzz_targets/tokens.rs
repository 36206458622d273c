#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_graceful::fuzz::run("tokens", input));
