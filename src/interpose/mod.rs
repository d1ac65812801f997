//! The exported symbols.
//!
//! Each hook is three layers, as in socket_wrapper: the exported function
//! (written by `redhook`, catches a panic of ours and calls the real one), the
//! `on_…` function (our logic), and `real!(…)` (libc's). The rules for a hook:
//!
//! - it asks `passes` first, and does nothing more for a stranger;
//! - it never panics after the real call: `redhook` would make the call again;
//! - it leaves `errno` as the real call set it;
//! - what it passes on, it passes on unchanged.
//!
//! Before the constructor has run there are no candidates, and every hook
//! passes through; `redhook` then looks the real function up by itself.

// Written by redhook's macro, for an earlier edition than ours.
#![allow(
    missing_docs,
    non_camel_case_types,
    static_mut_refs,
    clippy::missing_safety_doc
)]

pub mod descriptor;
pub mod process;
pub mod socket;
pub mod wait;

use core::ffi::{c_char, c_int};

use crate::signal_safe::descriptors::{self, Entry, State};
use crate::signal_safe::sys::KeepErrno;
use crate::signal_safe::{child, generation};

/// Defines hooks, and `resolve`, which looks up their real functions.
macro_rules! hooks {
    ($(unsafe fn $name:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty => $hook:ident $body:block)*) => {
        $(redhook::hook! {
            unsafe fn $name ( $($argument : $kind),* ) -> $result => $hook $body
        })*

        /// Looks up every real function of this room: `redhook` would do so at
        /// the first call, holding a `Once` that a fork in another thread
        /// would leave held in the child. One that this libc lacks is left out.
        pub fn resolve() {
            $(if crate::interpose::is_in_libc(concat!(stringify!($name), "\0")) {
                let _ = redhook::real!($name);
            })*
        }
    };
}
use hooks;

/// Looks up every real function. Called by the constructor.
pub fn resolve_all() {
    socket::resolve();
    wait::resolve();
    descriptor::resolve();
    process::resolve();
}

fn is_in_libc(name_with_nul: &'static str) -> bool {
    // SAFETY: the name ends with a NUL; the answer is compared, not used.
    !unsafe { libc::dlsym(libc::RTLD_NEXT, name_with_nul.as_ptr().cast::<c_char>()) }.is_null()
}

/// Whether a call on `fd` is none of our business: the hot path, a few loads.
#[inline(always)]
fn passes(fd: c_int) -> bool {
    generation::is_settled() && descriptors::is_stranger(fd)
}

/// What a hook finds at a descriptor that does not pass.
enum Found {
    /// Nothing to do.
    Nothing,
    /// A connection whose first bytes will tell.
    Pending(&'static Entry),
    /// A parent's session that could not be replaced: not to be touched.
    Refused,
}

/// Looks closer. A child that no handler has seen is looked after first.
#[cold]
fn look(fd: c_int) -> Found {
    let _errno = KeepErrno::now();
    notice_fork();
    let Some(entry) = descriptors::find(fd) else {
        return Found::Nothing;
    };
    match entry.word().state() {
        State::Pending if generation::is_own_memory() => Found::Pending(entry),
        State::Refused if entry.is_still(fd) => Found::Refused,
        _ => Found::Nothing,
    }
}

/// Looks after a child that was made without fork handlers. `errno` is kept.
#[inline(always)]
pub fn notice_fork() {
    if !generation::is_settled() {
        child::without_handler();
    }
}
