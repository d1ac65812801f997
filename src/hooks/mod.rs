//! The exported symbols.
//!
//! Each hook is three layers, as in socket_wrapper: the exported function
//! (written by `redhook`), the `on_…` and `slow_…` functions (our logic), and
//! `real::…()` (libc's). The rules for a hook:
//!
//! - a call on an unrelated descriptor is passed on at once, by a jump;
//! - what it does besides the real call is [`guarded`](crate::boundary::guarded): a panic of ours ends
//!   there, before or after the call, and nobody makes the call twice;
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

pub mod descriptor;
pub mod loader;
pub mod process;
pub mod socket;
pub mod wait;

use core::ffi::c_int;
use core::sync::atomic::AtomicPtr;

use crate::bind;
use crate::boundary::notice_fork;
use crate::signal_safe::descriptors::{self, Entry, State};
use crate::signal_safe::generation;
use crate::signal_safe::sys::{self, Errno};

/// Defines hooks, and `resolve`, which looks up their real functions.
///
/// `if` says when a call is passed on at once; what that compiles to is a few
/// loads and a jump, without a frame. Everything else is the block's, out of
/// line. Nothing of ours in a block may unwind ([`guarded`](crate::boundary::guarded)); what does is the
/// real call, when `pthread_cancel` ends a thread that waits in it, and a block
/// has no landing pad that could stop it: with one, glibc ends the process
/// (tried: "FATAL: exception not rethrown").
macro_rules! hooks {
    ($(unsafe fn $name:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty
        => $hook:ident if $passes:expr, else $slow:ident $body:block)*) => {
        $(redhook::hook! {
            unsafe fn $name ( $($argument : $kind),* ) -> $result => $hook {
                let real = REAL.$name.load(core::sync::atomic::Ordering::Relaxed);
                if !real.is_null() && $passes {
                    // SAFETY: libc's function of this name, of this type; the
                    // caller's arguments, unchanged.
                    unsafe {
                        core::mem::transmute::<*mut (), unsafe extern "C" fn($($kind),*) -> $result>(real)($($argument),*)
                    }
                } else {
                    // SAFETY: as above.
                    unsafe { $slow($($argument),*) }
                }
            }
        }

        #[cold]
        #[inline(never)]
        unsafe extern "C" fn $slow($($argument : $kind),*) -> $result $body)*

        /// The real functions, where they have been looked up.
        struct Real {
            $($name: core::sync::atomic::AtomicPtr<()>,)*
        }

        static REAL: Real = Real {
            $($name: core::sync::atomic::AtomicPtr::new(core::ptr::null_mut()),)*
        };

        /// Our function in the place of libc's of this name, if `held` is that.
        pub fn instead_of(name: &[u8], held: usize) -> Option<usize> {
            $(if name == stringify!($name).as_bytes() {
                let real = REAL.$name.load(core::sync::atomic::Ordering::Relaxed);
                return (held != 0 && real as usize == held).then_some($name::$name as *const () as usize);
            })*
            None
        }

        /// The real functions, for calls that are not passed on at once.
        mod real {
            use super::*;
            $(
                #[inline]
                pub fn $name() -> unsafe extern "C" fn($($kind),*) -> $result {
                    let real = REAL.$name.load(core::sync::atomic::Ordering::Relaxed);
                    let real = if real.is_null() {
                        crate::hooks::before_the_constructor(stringify!($name).as_bytes())
                    } else {
                        real
                    };
                    // SAFETY: libc's function of this name, of this type, or what
                    // stands in for it and takes any arguments.
                    unsafe { core::mem::transmute(real) }
                }
            )*
        }

        /// Calls `with` with each name of this room, and where its real function is kept.
        pub fn each_real(with: &mut dyn FnMut(&[u8], &core::sync::atomic::AtomicPtr<()>)) {
            $(with(stringify!($name).as_bytes(), &REAL.$name);)*
        }
    };
}
use hooks;

/// Looks up every real function. Called by the constructor. Not by `redhook`: it
/// asks `dlsym`, at the first call, holding a `Once` that a fork in another thread
/// would leave held in the child.
pub fn resolve_all() {
    bind::find_iterate();
    loader::next_of_all(|with| {
        loader::each_real(with);
        each_hooked(with);
    });
    loader::find_threads();
}

/// Calls `with` with the name of each function that is hooked, and where the real one is
/// kept.
fn each_hooked(with: &mut dyn FnMut(&[u8], &AtomicPtr<()>)) {
    socket::each_real(with);
    wait::each_real(with);
    descriptor::each_real(with);
    process::each_real(with);
}

/// The library that stands before us, if one does: what it does not pass on is not seen.
pub fn before_us() -> Option<loader::Before> {
    loader::before_us(each_hooked)
}

/// Our function of this name, where `held` is libc's: for a slot that was bound
/// past us (`RTLD_DEEPBIND`).
pub fn instead_of(name: &[u8], held: usize) -> Option<usize> {
    let rooms = [
        socket::instead_of,
        wait::instead_of,
        descriptor::instead_of,
        process::instead_of,
    ];
    rooms.iter().find_map(|room| room(name, held))
}

/// Whether our functions come before libc's where names are looked up. They do
/// where the library is preloaded, or linked to the program; not where it came by
/// `dlopen`, alone or with a plug-in that is linked with it.
pub fn is_in_front() -> bool {
    instead_of(b"connect", loader::first(b"connect") as usize).is_none()
}

/// The real function of this name: a call before our constructor has run, or one
/// that this libc lacks.
#[cold]
#[inline(never)]
fn before_the_constructor(name: &[u8]) -> *mut () {
    /// As the kernel answers to a call that it does not know.
    extern "C" fn missing() -> isize {
        sys::set_errno(Errno::ENOSYS);
        -1
    }
    match loader::next(name) {
        found if found.is_null() => missing as *mut (),
        found => found.cast_mut(),
    }
}

/// Whether a call on `fd` is none of our business: the hot path, a few loads.
#[inline(always)]
fn passes(fd: c_int) -> bool {
    generation::is_fork_handled() && descriptors::is_unrelated(fd)
}

/// The same for calls that only move bytes.
#[inline(always)]
fn moves_freely(fd: c_int) -> bool {
    generation::is_fork_handled() && descriptors::is_plain(fd)
}

/// The same for calls that send.
#[inline(always)]
fn sends_freely(fd: c_int) -> bool {
    generation::is_fork_handled() && descriptors::sends_plainly(fd)
}

/// What a hook finds at a descriptor that does not pass.
enum Found {
    /// Nothing to do.
    Nothing,
    /// A connection whose first bytes will tell.
    Pending(Entry),
    /// A parent's session that could not be replaced: not to be touched.
    Refused,
    /// A parent's session that is left alone, and its use told.
    Inherited(Entry),
}

/// Looks closer. A child that no handler has seen is looked after first.
#[cold]
fn look(fd: c_int) -> Found {
    #[cfg(break_child_handler = "symbol")]
    crate::fault_injection::symbol();
    notice_fork_at(fd);
    let Some(entry) = descriptors::find(fd) else {
        return Found::Nothing;
    };
    match entry.word().state() {
        State::Pending => Found::Pending(entry),
        State::Inherited => Found::Inherited(entry),
        _ if entry.is_refused(fd) => Found::Refused,
        _ => Found::Nothing,
    }
}

/// Whether `fd` is a parent's session that could not be replaced. `errno` is kept.
fn is_refused(fd: c_int) -> bool {
    descriptors::find(fd).is_some_and(|entry| entry.is_refused(fd))
}

/// As [`notice_fork`], in a call on `fd`. Where process ids are compared, not for an
/// unrelated descriptor, which is the same in a child.
#[inline(always)]
fn notice_fork_at(fd: c_int) {
    if !(generation::compares_pids() && descriptors::is_unrelated(fd)) {
        notice_fork();
    }
}
