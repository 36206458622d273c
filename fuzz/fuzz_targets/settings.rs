#![no_main]
#![allow(dead_code, reason = "a part of the program is taken in, and not all of it is called here")]

#[path = "../../src/bin/graceful/registry/fuzz.rs"]
mod fuzz;
#[path = "../../src/bin/graceful/log.rs"]
mod log;
#[path = "../../src/bin/graceful/registry/nearest.rs"]
mod nearest;
#[path = "../../src/bin/graceful/registry/options.rs"]
mod options;
#[path = "../../src/bin/graceful/registry/place.rs"]
mod place;
#[path = "../../src/bin/graceful/registry/sources.rs"]
mod sources;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::file(input));
