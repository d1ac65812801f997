//! Ways to make a process that need more than the fork handlers.
//!
//! A fork that has to wait must do so before the first prepare handler. By the time that
//! ours runs, the allocators' handlers have taken their locks, and the threads that the fork
//! waits for cannot go on (tried: every wait ran into its bound).
//!
//! libc's own `forkpty` and `daemon` call its `fork` by a local name, so each
//! has a hook. `vfork`, `_Fork`, `posix_spawn`, `system` and `popen` run no
//! handlers and have none: their children call `execve`, or know what they do.

use core::ffi::{c_char, c_int};

use libc::{pid_t, termios, winsize};

use super::hook::hooks;
use super::loader;
use crate::boundary::{guarded, notice_fork};
use forkguard_signal_safe::fork_barrier::Waited;
use forkguard_signal_safe::{child, connect_section, descriptors};

/// Whether a fork may go ahead at once.
#[inline(always)]
fn nothing_to_do() -> bool {
    !connect_section::was_entered() && !descriptors::any()
}

/// Looks for libpqs that came unseen, then waits for other threads' connect sections.
fn before_fork() -> Waited {
    notice_fork();
    if descriptors::any() {
        guarded((), loader::before_fork);
    }
    connect_section::before_fork()
}

hooks! {
    unsafe fn fork() -> pid_t => on_fork if nothing_to_do(), else slow_fork {
        let waited = before_fork();
        // SAFETY: takes nothing.
        let result = unsafe { real::fork()() };
        // A child starts afresh: `connect_section::reset`.
        if result != 0 {
            connect_section::after_fork(waited);
        }
        result
    }

    unsafe fn forkpty(master: *mut c_int, name: *mut c_char, terminal: *const termios, window: *const winsize) -> pid_t => on_forkpty if nothing_to_do(), else slow_forkpty {
        let waited = before_fork();
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::forkpty()(master, name, terminal, window) };
        if result != 0 {
            connect_section::after_fork(waited);
        }
        result
    }

    // The parent leaves with `_exit`: the child is the new owner of every session,
    // with its epoll registrations, LISTENs and advisory locks, and it logs how long
    // the fork waited.
    unsafe fn daemon(keep_folder: c_int, keep_files: c_int) -> c_int => on_daemon if false, else slow_daemon {
        let waited = before_fork();
        child::set_in_daemon(true);
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::daemon()(keep_folder, keep_files) };
        child::set_in_daemon(false);
        connect_section::after_fork(waited);
        result
    }
}
