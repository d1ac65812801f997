#![cfg_attr(fuzzing, no_main)]
//! See [`forkguard_fuzz::first_bytes`].

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| forkguard_fuzz::first_bytes(input));

#[cfg(not(fuzzing))]
fn main() {}
