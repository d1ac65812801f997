//! Forked children stay off their parent's PostgreSQL sessions.

#![no_std]
#![warn(missing_docs)]

extern crate std;

pub mod config;
pub mod signal_safe;
pub mod wire;
