//! Formats and settings that need no process to be understood. Pure.
//!
//! | module | holds |
//! |---|---|
//! | [`wire`] | what a client's first bytes say |
//! | [`config`] | `FORKGUARD_*`, read into one `Config` |
//! | [`level`] | levels and formats of log lines |
//! | [`page`] | the layout of the page of counters |
//! | [`interposers`] | other libraries that interpose libc's functions |
//!
//! The command is built with this crate too. `wire` and `page` need `core` only; `config`
//! allocates.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod interposers;
pub mod level;
pub mod page;
pub mod wire;
