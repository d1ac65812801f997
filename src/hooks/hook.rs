//! What a hook is made of.

use core::ffi::c_int;

use super::loader;
use crate::boundary::notice_fork;
use forkguard_signal_safe::descriptors::{self, Entry, State};
use forkguard_signal_safe::generation;
use forkguard_signal_safe::sys::{self, Errno};

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
        pub(crate) fn instead_of(name: &[u8], held: usize) -> Option<usize> {
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
                pub(crate) fn $name() -> unsafe extern "C" fn($($kind),*) -> $result {
                    let real = REAL.$name.load(core::sync::atomic::Ordering::Relaxed);
                    let real = if real.is_null() {
                        crate::hooks::hook::before_the_constructor(stringify!($name).as_bytes())
                    } else {
                        real
                    };
                    // SAFETY: libc's function of this name, of this type, or what
                    // stands in for it and takes any arguments.
                    unsafe { core::mem::transmute(real) }
                }
            )*
        }

        /// Calls `with` with each name of this file, and where its real function is kept.
        pub(crate) fn each_real(with: &mut dyn FnMut(&[u8], &core::sync::atomic::AtomicPtr<()>)) {
            $(with(stringify!($name).as_bytes(), &REAL.$name);)*
        }
    };
}
pub(super) use hooks;

/// The real function of this name: a call before our constructor has run, or one
/// that this libc lacks.
#[cold]
#[inline(never)]
pub(super) fn before_the_constructor(name: &[u8]) -> *mut () {
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
pub(super) fn passes(fd: c_int) -> bool {
    generation::is_fork_handled() && descriptors::is_unrelated(fd)
}

/// The same for calls that only move bytes.
#[inline(always)]
pub(super) fn moves_freely(fd: c_int) -> bool {
    generation::is_fork_handled() && descriptors::is_plain(fd)
}

/// The same for calls that send.
#[inline(always)]
pub(super) fn sends_freely(fd: c_int) -> bool {
    generation::is_fork_handled() && descriptors::sends_plainly(fd)
}

/// What a hook finds at a descriptor that does not pass.
pub(super) enum Found {
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
pub(super) fn look(fd: c_int) -> Found {
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
pub(super) fn is_refused(fd: c_int) -> bool {
    descriptors::find(fd).is_some_and(|entry| entry.is_refused(fd))
}

/// As [`notice_fork`], in a call on `fd`. Where process ids are compared, not for an
/// unrelated descriptor, which is the same in a child.
#[inline(always)]
pub(super) fn notice_fork_at(fd: c_int) {
    if !(generation::compares_pids() && descriptors::is_unrelated(fd)) {
        notice_fork();
    }
}
