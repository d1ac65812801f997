//! `forkguard`. See [`forkguard_cli`].
//!
//! C's `main`, and not Rust's: before that one, std has SIGPIPE ignored and closed descriptors
//! opened, and `forkguard run` is to hand on what it was given.

#![no_main]

use core::ffi::{c_char, c_int};

#[no_mangle]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    // std has the arguments by itself on Linux (library/std/src/sys/args/unix.rs).
    forkguard_cli::main()
}
