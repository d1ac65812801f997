#![cfg_attr(fuzzing, no_main)]
//! See [`forkguard_fuzz::configuration`].

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| forkguard_fuzz::configuration(input));

#[cfg(not(fuzzing))]
fn main() {}
