#![cfg_attr(fuzzing, no_main)]
//! See [`forkguard_fuzz::statements`].

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| forkguard_fuzz::statements(input));

#[cfg(not(fuzzing))]
fn main() {}
