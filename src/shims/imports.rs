//! The functions of libc that libpq calls and that we redirect: `send`, `recv`, `poll`, `close` and
//! `socket`, one of each for each libpq.

use core::ffi::c_int;
use core::mem::transmute;

use crate::boundary::{guarded, has_inherited_nothing, notice_fork};
use crate::libpq::library;
use crate::session::thread;
use crate::{epoll_fixups, tracker};
use forkguard_signal_safe::descriptors::{self, State};
use forkguard_signal_safe::processor;
use forkguard_signal_safe::sys::{self, Errno, KeepErrno};

/// Calls what libpq `L` called before, or the function of that name where it is to be found by name.
macro_rules! what_it_called {
    ($held:expr, $by_name:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty) => {{
        let held: *const () = $held;
        // SAFETY: null, or what libpq called before, a function of this name; the caller's arguments.
        unsafe {
            if held.is_null() {
                processor::$by_name($($argument),*)
            } else {
                transmute::<*const (), unsafe extern "C-unwind" fn($($kind),*) -> $result>(held)($($argument),*)
            }
        }
    }};
}

/// Whether libpq must not move bytes on a socket: one of its own making, by a process
/// before this one, and not left to this one.
///
/// All that libpq does goes through `send`, `recv` and `poll` in the end, TLS and GSS
/// included (fe-secure.c, `pqsecure_raw_read`, `pqsecure_raw_write`; fe-misc.c,
/// `PQsocketPoll`), the farewell of `PQfinish` as well. So this holds for every session
/// that is lost here, whatever stands before our hooks, and whatever has become of the
/// number: a new session gets its socket from libpq's `socket`.
#[inline(always)]
fn is_anothers(fd: c_int) -> bool {
    !has_inherited_nothing() && is_anothers_in_child(fd)
}

#[cold]
#[inline(never)]
extern "C" fn is_anothers_in_child(fd: c_int) -> bool {
    let _errno = KeepErrno::now();
    notice_fork();
    if !descriptors::is_inherited_libpqs(fd) {
        return false;
    }
    // One that has said nothing yet is left to our own `send`, which puts a dead socket there: libpq
    // keeps a failed send to itself and waits for an answer (fe-misc.c, `write_failed`), and the program's
    // own poll would wait on the live socket for ever (tried).
    if descriptors::find(fd).is_some_and(|entry| entry.word().state() == State::Pending) {
        return false;
    }
    if tracker::is_own_session(fd) {
        descriptors::note_libpqs_socket(fd); // handed over: the kernel is asked once
        return false;
    }
    true
}

/// libpq sends: as on a connection whose other end is gone, where it must not.
pub(super) unsafe extern "C-unwind" fn libpq_send<const L: usize>(
    fd: c_int,
    buffer: usize,
    length: usize,
    flags: c_int,
) -> isize {
    if is_anothers(fd) {
        sys::set_errno(Errno::EPIPE);
        return -1;
    }
    what_it_called!(library(L).send_function(),
        send_by_name(fd: c_int, buffer: usize, length: usize, flags: c_int) -> isize)
}

/// libpq receives: end of file, where it must not.
pub(super) unsafe extern "C-unwind" fn libpq_recv<const L: usize>(
    fd: c_int,
    buffer: usize,
    length: usize,
    flags: c_int,
) -> isize {
    if is_anothers(fd) {
        return 0;
    }
    what_it_called!(library(L).recv_function(),
        recv_by_name(fd: c_int, buffer: usize, length: usize, flags: c_int) -> isize)
}

/// libpq waits, for one socket at a time: no longer, where nothing will come.
pub(super) unsafe extern "C-unwind" fn libpq_poll<const L: usize>(
    list: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: c_int,
) -> c_int {
    if count == 1 {
        // SAFETY: one entry, which is libpq's.
        let asked = unsafe { &mut *list };
        if is_anothers(asked.fd) {
            asked.revents = asked.events & (libc::POLLIN | libc::POLLOUT) | libc::POLLHUP;
            return 1;
        }
    }
    what_it_called!(library(L).poll_function(),
        poll_by_name(list: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int)
}

/// libpq closes a descriptor. That of the connection being reconnected is
/// kept: nothing else may get the number before the new socket does.
pub(super) unsafe extern "C-unwind" fn libpq_close<const L: usize>(fd: c_int) -> c_int {
    let reconnection = thread::reconnection();
    if fd >= 0 && reconnection.fd == fd && reconnection.library == L && !reconnection.kept {
        thread::set_reconnection(thread::Reconnection {
            kept: true,
            ..reconnection
        });
        return 0;
    }
    what_it_called!(library(L).close_function(), close_by_name(fd: c_int) -> c_int)
}

/// libpq makes a socket. The one that takes a kept number's place is moved there.
pub(super) unsafe extern "C-unwind" fn libpq_socket<const L: usize>(
    family: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    let made = what_it_called!(library(L).socket_function(),
        socket_by_name(family: c_int, kind: c_int, protocol: c_int) -> c_int);
    let reconnection = thread::reconnection();
    let stands = if made >= 0 && reconnection.kept && reconnection.library == L {
        guarded(made, || move_to_kept_number(made, kind, reconnection))
    } else {
        made
    };
    if stands >= 0 {
        descriptors::note_libpqs_socket(stands);
    }
    stands
}

fn move_to_kept_number(made: c_int, kind: c_int, reconnection: thread::Reconnection) -> c_int {
    tracker::given_up(reconnection.fd);
    let flags = if kind & libc::SOCK_CLOEXEC != 0 {
        libc::O_CLOEXEC
    } else {
        0
    };
    let moved = || sys::dup3(made, reconnection.fd, flags);
    if epoll_fixups::replace_and_register(reconnection.fd, moved).is_err() {
        return made;
    }
    sys::close(made);
    thread::set_reconnection(thread::Reconnection {
        kept: false,
        ..reconnection
    });
    reconnection.fd
}
