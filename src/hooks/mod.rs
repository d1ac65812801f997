//! The exported symbols.
//!
//! Each hook is three layers, as in socket_wrapper: the exported function
//! (written by `redhook`), the `on_…` and `slow_…` functions (our logic), and
//! `real::…()` (libc's). The rules for a hook:
//!
//! - a call on an unrelated descriptor is passed on at once, by a jump;
//! - what it does besides the real call is [`guarded`](crate::boundary::guarded): a panic of ours ends
//!   there, before or after the call, and the call is made once;
//! - it leaves `errno` as the real call set it;
//! - what it passes on, it passes on unchanged.
//!
//! Before the constructor has run there are no candidates, and every hook
//! passes through to a real function that it looks up for the call.

// Written by redhook's macro, for an earlier edition than ours.
#![allow(
    missing_docs,
    non_camel_case_types,
    static_mut_refs,
    clippy::missing_safety_doc
)]

mod descriptor;
mod hook;
pub(crate) mod loader;
mod process;
mod socket;
pub(crate) mod table;
mod trampoline;
mod wait;
