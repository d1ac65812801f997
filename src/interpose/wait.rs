//! Calls that wait for descriptors. They are passed on unchanged; a child that
//! no handler has seen is looked after before it waits on its parent's socket.

use core::ffi::{c_int, c_void};

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};

use super::{hooks, notice_fork};
use crate::signal_safe::generation;

hooks! {
    unsafe fn poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => on_poll if generation::is_settled(), else slow_poll {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(poll)(list, count, timeout) }
    }

    unsafe fn ppoll(list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int => on_ppoll if generation::is_settled(), else slow_ppoll {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(ppoll)(list, count, timeout, mask) }
    }

    unsafe fn __poll_chk(list: *mut pollfd, count: nfds_t, timeout: c_int, size: size_t) -> c_int => on_poll_chk if generation::is_settled(), else slow_poll_chk {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(__poll_chk)(list, count, timeout, size) }
    }

    unsafe fn __ppoll_chk(list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, size: size_t) -> c_int => on_ppoll_chk if generation::is_settled(), else slow_ppoll_chk {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(__ppoll_chk)(list, count, timeout, mask, size) }
    }

    unsafe fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, other: *mut fd_set, timeout: *mut timeval) -> c_int => on_select if generation::is_settled(), else slow_select {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(select)(count, read, write, other, timeout) }
    }

    unsafe fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, other: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int => on_pselect if generation::is_settled(), else slow_pselect {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(pselect)(count, read, write, other, timeout, mask) }
    }

    unsafe fn epoll_ctl(epoll: c_int, command: c_int, fd: c_int, event: *mut epoll_event) -> c_int => on_epoll_ctl if generation::is_settled(), else slow_epoll_ctl {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(epoll_ctl)(epoll, command, fd, event) }
    }

    unsafe fn epoll_wait(epoll: c_int, events: *mut epoll_event, count: c_int, timeout: c_int) -> c_int => on_epoll_wait if generation::is_settled(), else slow_epoll_wait {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(epoll_wait)(epoll, events, count, timeout) }
    }

    unsafe fn epoll_pwait(epoll: c_int, events: *mut epoll_event, count: c_int, timeout: c_int, mask: *const c_void) -> c_int => on_epoll_pwait if generation::is_settled(), else slow_epoll_pwait {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { redhook::real!(epoll_pwait)(epoll, events, count, timeout, mask) }
    }
}
