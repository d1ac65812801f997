#![cfg_attr(fuzzing, no_main)]
//! See [`forkguard_fuzz::against_postgresql`].

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| forkguard_fuzz::against_postgresql(input));

#[cfg(not(fuzzing))]
fn main() {}
