//! Ways to make a process that need more than the fork handlers: what waits
//! belongs before the first of them, for allocators hold their locks by the
//! time that ours runs.

use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use libc::{pid_t, termios, winsize};

use super::{guarded, hooks, notice_fork};
use crate::signal_safe::sys::KeepErrno;
use crate::signal_safe::{child, steps};

/// Waits until no other thread is inside a lock on libpq's way; [`forked`] follows.
fn before_fork() {
    static SAID: AtomicBool = AtomicBool::new(false);
    guarded((), || {
        let _errno = KeepErrno::now();
        notice_fork();
        if !steps::before_fork() && !SAID.swap(true, Relaxed) {
            log::warn!("a fork did not wait any longer for a thread inside a connection attempt; its child may hang in a lock (said once)");
        }
    });
}

/// `result` is what the call that forks returned; the child starts afresh
/// ([`steps::reset`]).
fn forked(result: c_int) {
    if result != 0 {
        steps::forked();
    }
}

hooks! {
    unsafe fn fork() -> pid_t => on_fork if !steps::any(), else slow_fork {
        before_fork();
        // SAFETY: takes nothing.
        let result = unsafe { redhook::real!(fork)() };
        forked(result);
        result
    }

    unsafe fn forkpty(master: *mut c_int, name: *mut c_char, terminal: *const termios, window: *const winsize) -> pid_t => on_forkpty if !steps::any(), else slow_forkpty {
        before_fork();
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { redhook::real!(forkpty)(master, name, terminal, window) };
        forked(result);
        result
    }

    // The parent leaves with `_exit`: the child is the heir of every session,
    // with its epoll registrations, LISTENs and advisory locks.
    unsafe fn daemon(keep_folder: c_int, keep_files: c_int) -> c_int => on_daemon if false, else slow_daemon {
        before_fork();
        child::set_in_daemon(true);
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { redhook::real!(daemon)(keep_folder, keep_files) };
        child::set_in_daemon(false);
        forked(result);
        result
    }
}
