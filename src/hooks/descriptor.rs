//! What becomes of a descriptor: closed, duplicated, its flags changed.

use core::ffi::{c_int, c_ulong};

use super::hook::{hooks, is_refused, notice_fork_at, passes};
use crate::boundary::guarded;
use crate::tracker;
use forkguard_signal_safe::descriptors::{self, Entry, State, Word, CLOSE_ON_EXEC, NON_BLOCKING};
use forkguard_signal_safe::sys::{self, Errno};
use forkguard_signal_safe::{child, fence, generation};

/// What the table said of a number before a call.
struct Before {
    entry: Entry,
    word: Word,
}

/// `None` for an unrelated descriptor.
fn before(fd: c_int) -> Option<Before> {
    let entry = descriptors::find(fd)?;
    let word = entry.word();
    (word.state() != State::None).then_some(Before { entry, word })
}

/// Makes a duplicate by `real`, and enters it where `old` is a candidate. Both
/// in one step as far as a fork in another thread can see: a child must not
/// get the descriptor without its entry. `to` is the number asked for, if any:
/// what was there is closed by the call.
fn duplicate(
    old: c_int,
    to: Option<c_int>,
    close_on_exec: bool,
    real: impl FnOnce() -> c_int,
) -> c_int {
    notice_fork_at(old);
    to.into_iter().for_each(notice_fork_at);
    // As `close` of it: the number may be the parent's, too. What dup2(2) says where it
    // cannot have a number now.
    if to.is_some_and(|to| to != old && child::shares_table() && is_refused(to)) {
        sys::set_errno(Errno::EBUSY);
        return -1;
    }
    let (from, over) = (before(old), to.filter(|to| *to != old).and_then(before));
    let place = fence::enter();
    let result = real();
    guarded((), || {
        if result >= 0 && result != old && generation::is_own_memory() {
            // Before the first session this may be a child of `vfork`, and the number
            // its parent's: see `tracker::closed`.
            if let Some(over) = over.as_ref().filter(|_| generation::has_had_session()) {
                over.entry.forget_if(over.word);
            }
            if let Some(from) = &from {
                tracker::duplicated(from.entry, result, close_on_exec);
            }
        }
    });
    fence::leave(place);
    result
}

/// The real `fcntl` or `fcntl64`, and what the command means to us.
fn control(fd: c_int, command: c_int, argument: usize, real: impl FnOnce() -> c_int) -> c_int {
    if let libc::F_DUPFD | libc::F_DUPFD_CLOEXEC = command {
        return duplicate(fd, None, command == libc::F_DUPFD_CLOEXEC, real);
    }
    notice_fork_at(fd);
    let result = real();
    let flags = argument as c_int;
    match command {
        libc::F_SETFL if result == 0 => set(fd, NON_BLOCKING, flags & libc::O_NONBLOCK != 0),
        libc::F_SETFD if result == 0 => set(fd, CLOSE_ON_EXEC, flags & libc::FD_CLOEXEC != 0),
        _ => {}
    }
    result
}

/// Notes a flag of a candidate. `errno` is kept.
fn set(fd: c_int, flag: u64, on: bool) {
    guarded((), || match before(fd) {
        Some(found) if generation::is_own_memory() && flag == NON_BLOCKING => {
            tracker::set_flag_everywhere(found.entry, flag, on);
        }
        Some(found) if generation::is_own_memory() => found.entry.set_flag(flag, on),
        _ => {}
    });
}

/// After the real `close` returned `result`. `errno` is kept.
fn closed(fd: c_int, found: Option<Before>, result: c_int) {
    guarded((), || {
        // Linux frees the number whatever close returns, except for EBADF.
        let freed = result == 0 || sys::errno() != Errno::EBADF;
        if let (true, Some(found)) = (freed, found) {
            tracker::closed(fd, found.entry, found.word);
        }
    });
}

hooks! {
    unsafe fn close(fd: c_int) -> c_int => on_close if passes(fd), else slow_close {
        notice_fork_at(fd);
        if child::shares_table() && is_refused(fd) {
            return 0;
        }
        let found = before(fd);
        // SAFETY: the caller's argument, unchanged.
        let result = unsafe { real::close()(fd) };
        closed(fd, found, result);
        result
    }

    unsafe fn dup(fd: c_int) -> c_int => on_dup if passes(fd), else slow_dup {
        // SAFETY: the caller's argument, unchanged.
        let real = || unsafe { real::dup()(fd) };
        duplicate(fd, None, false, real)
    }

    unsafe fn dup2(fd: c_int, to: c_int) -> c_int => on_dup2 if passes(fd) && passes(to), else slow_dup2 {
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::dup2()(fd, to) };
        duplicate(fd, Some(to), false, real)
    }

    unsafe fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int => on_dup3 if passes(fd) && passes(to), else slow_dup3 {
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::dup3()(fd, to, flags) };
        duplicate(fd, Some(to), flags & libc::O_CLOEXEC != 0, real)
    }

    // Variadic in C; on every processor Linux runs on with 64 bits, an integer
    // or pointer among variable arguments is passed as a named one is.
    unsafe fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int => on_fcntl if passes(fd), else slow_fcntl {
        // SAFETY: the caller's arguments, unchanged.
        control(fd, command, argument, || unsafe { real::fcntl()(fd, command, argument) })
    }

    unsafe fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int => on_fcntl64 if passes(fd), else slow_fcntl64 {
        // SAFETY: the caller's arguments, unchanged.
        control(fd, command, argument, || unsafe { real::fcntl64()(fd, command, argument) })
    }

    unsafe fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int => on_ioctl if passes(fd), else slow_ioctl {
        notice_fork_at(fd);
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::ioctl()(fd, request, argument) };
        if result == 0 {
            match request {
                // SAFETY: the kernel has read an int there.
                libc::FIONBIO => set(fd, NON_BLOCKING, unsafe { *(argument as *const c_int) } != 0),
                libc::FIOCLEX => set(fd, CLOSE_ON_EXEC, true),
                libc::FIONCLEX => set(fd, CLOSE_ON_EXEC, false),
                _ => {}
            }
        }
        result
    }
}
