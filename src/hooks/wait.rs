//! Calls that wait for descriptors. They are passed on unchanged, with three exceptions. A
//! reconnect of ours ends within a bound. An unseen fork is handled before its child waits on
//! its parent's socket. A session that could not be replaced reads as hung up at once,
//! because its parent's socket would not wake this child.

use core::ffi::{c_int, c_void};

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};

use super::hook::{hooks, is_refused, notice_fork_at, passes};
use super::socket::copied;
use crate::boundary::{guarded, notice_fork};
use crate::session::thread;
use crate::{epoll_fixups, policy};
use forkguard_signal_safe::descriptors::{self, State};
use forkguard_signal_safe::generation;
use forkguard_signal_safe::sys::{self, Errno};

/// Marks the refused descriptors of a `poll` as hung up, and nothing else as
/// ready, if there are any: how many, or `None`. The others' turn comes at the
/// next call.
fn hung_up(list: *mut pollfd, count: nfds_t) -> Option<c_int> {
    guarded(None, || {
        if !list.is_aligned() || !descriptors::any_refused() {
            return None;
        }
        // More than that the kernel refuses unread, and a wild pointer, too (poll(2)).
        if sys::descriptor_limit(None).is_ok_and(|limit| count > limit.rlim_cur) {
            return None;
        }
        let mut refused = false;
        for index in 0..count as usize {
            refused |= is_refused(copied(list.wrapping_add(index))?.fd);
        }
        if !refused {
            return None;
        }
        // SAFETY: not empty, aligned and readable, as was just seen; the caller's, which `poll`
        // would write to.
        let list = unsafe { core::slice::from_raw_parts_mut(list, count as usize) };
        let mut ready = 0;
        for one in list {
            let wanted = one.events & (libc::POLLIN | libc::POLLOUT);
            one.revents = if is_refused(one.fd) {
                wanted | libc::POLLHUP
            } else {
                0
            };
            ready += c_int::from(one.revents != 0);
        }
        Some(ready)
    })
}

/// The same for `select`: refused descriptors are readable and writable.
fn readable(count: c_int, sets: [*mut fd_set; 3]) -> Option<c_int> {
    guarded(None, || {
        let count = count.clamp(0, libc::FD_SETSIZE as c_int);
        let is_there = |set: &*mut fd_set| {
            let mut words = [0; libc::FD_SETSIZE / 8];
            let length = (count as usize).div_ceil(64) * 8;
            set.is_null() || sys::read_memory(set.cast(), length, &mut words) == length
        };
        if !descriptors::any_refused() || !sets.iter().all(is_there) {
            return None;
        }
        // SAFETY: the caller's set, where there is one, and readable; `fd` is below `count`.
        let holds = |set: *mut fd_set, fd| !set.is_null() && unsafe { libc::FD_ISSET(fd, set) };
        let [read, write, _] = sets;
        let refused = |fd: &c_int| (holds(read, *fd) || holds(write, *fd)) && is_refused(*fd);
        if !(0..count).any(|fd| refused(&fd)) {
            return None;
        }
        let mut ready = 0;
        for fd in 0..count {
            let refused = refused(&fd);
            for (set, may_stay) in sets.into_iter().zip([refused, refused, false]) {
                if holds(set, fd) {
                    if may_stay {
                        ready += 1;
                    } else {
                        // SAFETY: as above.
                        unsafe { libc::FD_CLR(fd, set) };
                    }
                }
            }
        }
        Some(ready)
    })
}

/// Remembers an epoll as this process's own. `errno` is kept.
fn epoll_made(epoll: c_int) {
    guarded((), || {
        if epoll >= 0 && generation::is_own_memory() {
            if let Some(entry) = descriptors::entry(epoll) {
                entry.set_epoll();
            }
        }
    });
}

/// Why an inherited session may not be entered into, or taken out of, this
/// epoll: an inherited epoll is the parent's as well, and would report the
/// child's dead socket there, under the parent's own number.
fn foreign_epoll(epoll: c_int, command: c_int, fd: c_int) -> Option<Errno> {
    guarded(None, || {
        let entry = descriptors::find(fd)?;
        let refused = match entry.word().state() {
            State::Abandoned if entry.is_still(fd) => false,
            State::Refused if entry.is_still(fd) => true,
            _ => return None,
        };
        let own = descriptors::find(epoll).is_some_and(|epoll| {
            epoll.word().state() == State::Epoll && !epoll.word().is_inherited()
        });
        match command {
            // What a replaced one gets from the kernel.
            libc::EPOLL_CTL_DEL | libc::EPOLL_CTL_MOD if refused => Some(Errno::ENOENT),
            // epoll_ctl(2): the file does not support epoll. libev takes it for
            // always ready, which is true.
            libc::EPOLL_CTL_ADD if refused || !own => Some(Errno::EPERM),
            _ => None,
        }
    })
}

/// Notes what an epoll holds of an abandoned number. `errno` is kept.
fn note_entered(epoll: c_int, command: c_int, fd: c_int, event: *const epoll_event) {
    guarded((), || {
        let abandoned = |entry: descriptors::Entry| entry.word().state() == State::Abandoned;
        if descriptors::find(fd).is_some_and(abandoned) && generation::is_own_memory() {
            // SAFETY: null, or the caller's event, which the kernel has just read.
            let event = (!event.is_null()).then(|| unsafe { event.read_unaligned() });
            epoll_fixups::note_registration(epoll, command, fd, event);
        }
    });
}

/// How many milliseconds libpq may wait for the socket of a session that is being made again, where it
/// would wait for ever: the connection has no `connect_timeout`. All of libpq's waiting passes here
/// (fe-misc.c, pqSocketPoll), in every phase of a connection attempt and in all versions.
fn bound_of_reconnect(list: *const pollfd, count: nfds_t, timeout: c_int) -> Option<c_int> {
    if timeout >= 0 || count != 1 || !thread::may_reconnect() {
        return None;
    }
    guarded(None, || {
        let reconnection = thread::reconnection();
        if reconnection.ends_us == 0 || copied(list)?.fd != reconnection.fd {
            return None;
        }
        let left_us = reconnection.ends_us.saturating_sub(sys::now_us());
        Some(left_us.div_ceil(1000).min(c_int::MAX as u64) as c_int)
    })
}

hooks! {
    unsafe fn poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => on_poll if generation::is_fork_handled() && !descriptors::any_refused() && (timeout >= 0 || !thread::may_reconnect()), else slow_poll {
        notice_fork();
        if let Some(ready) = hung_up(list, count) {
            return ready;
        }
        let bound = bound_of_reconnect(list, count, timeout);
        // SAFETY: the caller's arguments, but for a shorter wait.
        let ready = unsafe { real::poll()(list, count, bound.unwrap_or(timeout)) };
        if ready == 0 && bound.is_some() {
            // To libpq the end of the attempt, with all its hosts (fe-connect.c, connectDBComplete).
            thread::set_out_of_time();
            sys::set_errno(Errno::ETIMEDOUT);
            return -1;
        }
        ready
    }

    unsafe fn ppoll(list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int => on_ppoll if generation::is_fork_handled() && !descriptors::any_refused(), else slow_ppoll {
        notice_fork();
        if let Some(ready) = hung_up(list, count) {
            return ready;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::ppoll()(list, count, timeout, mask) }
    }

    unsafe fn __poll_chk(list: *mut pollfd, count: nfds_t, timeout: c_int, size: size_t) -> c_int => on_poll_chk if generation::is_fork_handled() && !descriptors::any_refused(), else slow_poll_chk {
        notice_fork();
        if let Some(ready) = hung_up(list, count) {
            return ready;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::__poll_chk()(list, count, timeout, size) }
    }

    unsafe fn __ppoll_chk(list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, size: size_t) -> c_int => on_ppoll_chk if generation::is_fork_handled() && !descriptors::any_refused(), else slow_ppoll_chk {
        notice_fork();
        if let Some(ready) = hung_up(list, count) {
            return ready;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::__ppoll_chk()(list, count, timeout, mask, size) }
    }

    unsafe fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, other: *mut fd_set, timeout: *mut timeval) -> c_int => on_select if generation::is_fork_handled() && !descriptors::any_refused(), else slow_select {
        notice_fork();
        if let Some(ready) = readable(count, [read, write, other]) {
            return ready;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::select()(count, read, write, other, timeout) }
    }

    unsafe fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, other: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int => on_pselect if generation::is_fork_handled() && !descriptors::any_refused(), else slow_pselect {
        notice_fork();
        if let Some(ready) = readable(count, [read, write, other]) {
            return ready;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::pselect()(count, read, write, other, timeout, mask) }
    }

    unsafe fn epoll_create(size: c_int) -> c_int => on_epoll_create if !policy::is_active(), else slow_epoll_create {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        let epoll = unsafe { real::epoll_create()(size) };
        epoll_made(epoll);
        epoll
    }

    unsafe fn epoll_create1(flags: c_int) -> c_int => on_epoll_create1 if !policy::is_active(), else slow_epoll_create1 {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        let epoll = unsafe { real::epoll_create1()(flags) };
        epoll_made(epoll);
        epoll
    }

    unsafe fn epoll_ctl(epoll: c_int, command: c_int, fd: c_int, event: *mut epoll_event) -> c_int => on_epoll_ctl if passes(fd), else slow_epoll_ctl {
        notice_fork_at(fd);
        if let Some(errno) = foreign_epoll(epoll, command, fd) {
            sys::set_errno(errno);
            return -1;
        }
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::epoll_ctl()(epoll, command, fd, event) };
        if result == 0 {
            note_entered(epoll, command, fd, event);
        }
        result
    }

    unsafe fn epoll_wait(epoll: c_int, events: *mut epoll_event, count: c_int, timeout: c_int) -> c_int => on_epoll_wait if generation::is_fork_handled() && !descriptors::any_refused(), else slow_epoll_wait {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::epoll_wait()(epoll, events, count, timeout) }
    }

    unsafe fn epoll_pwait(epoll: c_int, events: *mut epoll_event, count: c_int, timeout: c_int, mask: *const c_void) -> c_int => on_epoll_pwait if generation::is_fork_handled() && !descriptors::any_refused(), else slow_epoll_pwait {
        notice_fork();
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::epoll_pwait()(epoll, events, count, timeout, mask) }
    }
}
