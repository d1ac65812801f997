//! The boundary between a caller's code and ours: what every hook and shim does first.
//!
//! A panic of ours ends here ([`guarded`]), and a child that no fork handler has seen is
//! noticed here ([`notice_fork`]).

use forkguard_signal_safe::sys::KeepErrno;
use forkguard_signal_safe::{child, generation, ownership};

/// Runs our part of a call. A panic in it ends there: the call is then treated
/// as one on an unrelated socket. Out of line and unable to unwind, so that its landing pads
/// are not its caller's.
#[inline(never)]
pub(crate) extern "C" fn guarded<R, F: FnOnce() -> R>(otherwise: R, ours: F) -> R {
    // Our system calls do not touch it; an allocation may, and a panic.
    let _errno = KeepErrno::now();
    #[cfg(panic_in_hooks)]
    let ours = move || {
        crate::fault_injection::panic_once(&ours, guarded::<R, F> as *const ());
        ours()
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(ours)) {
        Ok(result) => result,
        Err(payload) => {
            // What it holds might panic again when dropped.
            core::mem::forget(payload);
            otherwise
        }
    }
}

/// Handles the fork in a child that was made without fork handlers. `errno` is kept.
#[inline(always)]
pub(crate) fn notice_fork() {
    if !generation::is_fork_handled() {
        child::handle_unseen_fork();
    }
}

/// Whether this process has inherited nothing: the hot path, two loads.
#[inline(always)]
pub(crate) fn has_inherited_nothing() -> bool {
    generation::is_fork_handled() && !ownership::any_inherited()
}
