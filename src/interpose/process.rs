//! Ways to make a process that need more than the fork handlers.

use core::ffi::c_int;

use super::{hooks, notice_fork};
use crate::signal_safe::child;

hooks! {
    // The parent leaves with `_exit`: the child is the heir of every session,
    // with its epoll registrations, LISTENs and advisory locks.
    unsafe fn daemon(keep_folder: c_int, keep_files: c_int) -> c_int => on_daemon if false, else slow_daemon {
        notice_fork();
        child::set_in_daemon(true);
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { redhook::real!(daemon)(keep_folder, keep_files) };
        child::set_in_daemon(false);
        result
    }
}
