//! The entry points that begin and end connections.

#![allow(non_snake_case)] // libpq's names

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::*};
use std::boxed::Box;

use super::call_real::real;
use crate::boundary::{guarded, notice_fork};
use crate::libpq::methods::CONNECTION_OK;
use crate::libpq::types::{NoticeReceiver, PGcancel, PGconn};
use crate::libpq::Library;
use crate::session::connection::{self, Connection};
use crate::session::endpoint::Endpoint;
use crate::session::thread;
use crate::{memory, policy, tracker};
use forkguard_signal_safe::connect_section;

/// libpq-fe.h, `PGRES_POLLING_OK`.
const POLLING_OK: c_int = 3;

/// A connection is up, and is this process's.
fn record_established(library: &Library, connection: &'static Connection) {
    guarded((), || {
        let pgconn = connection.pgconn();
        connection.begin_session();
        let fd = library.socket(pgconn);
        connection.fd.store(fd, Relaxed);
        // SAFETY: this thread is in the call that made it; nobody else knows it yet.
        let mut inside = unsafe { connection.assume_inside() };
        let state = inside.state();
        if policy::resumes() {
            state.endpoint = Endpoint::of(fd);
            state.read_mode(library, pgconn);
            state.read_server(library, pgconn);
            let (user, database) = (library.user(pgconn), library.database(pgconn));
            state.journal.set_login(
                user.bytes().unwrap_or_default(),
                database.bytes().unwrap_or_default(),
            );
        }
        connection.record_socket(fd, state);
    });
}

/// A connection attempt has ended well, or one that had is asked once more.
fn record_poll(library: &Library, connection: &'static Connection) {
    // The attempt of a parent can end well in its child: by what libpq had read
    // before the fork, and then it is the parent's session all the same.
    let own =
        !connection.is_inherited() || tracker::is_own_session(library.socket(connection.pgconn()));
    if own && connection.fd.load(Relaxed) < 0 {
        record_established(library, connection);
    }
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's arguments are libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQsetNoticeReceiver(
    pgconn: PGconn,
    receiver: NoticeReceiver,
    argument: *mut c_void,
    library: &Library,
) -> NoticeReceiver {
    // A null function asks for the one that is set (fe-connect.c).
    if !receiver.is_null() {
        if let Some(connection) = connection::find(pgconn) {
            connection.notice_argument.store(argument, Relaxed);
        }
    }
    real!(library, PQsetNoticeReceiver, pgconn, receiver, argument)
}

/// A connection was made. Where a blocking call did, its own steps inside have
/// said so already.
fn record_made(library: &Library, pgconn: PGconn) {
    if pgconn.is_null() {
        return;
    }
    guarded((), || {
        let known = connection::find(pgconn).filter(|_| thread::has_made(pgconn));
        let Some(connection) = known.or_else(|| connection::made(pgconn)) else {
            return;
        };
        thread::set_made(pgconn);
        // Where libpq calls itself past the shims, no step has said so.
        if connection.fd.load(Relaxed) < 0 && library.status(pgconn) == CONNECTION_OK {
            record_established(library, connection);
        }
    });
}

// Which are steps: those that take locks of other libraries themselves. The
// other two do nothing but to call these, and then wait for the server.
macro_rules! begins {
    ($($name:ident ( $($argument:ident),* ) $step:literal;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's arguments are libpq's.
        #[allow(clippy::too_many_arguments)] // PQsetdbLogin has seven
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name($($argument: usize,)* library: &Library) -> PGconn {
            notice_fork();
            thread::set_made(PGconn::NULL);
            let section = if $step { Some(connect_section::enter()) } else { None };
            let pgconn = real!(library, $name, $($argument),*);
            if let Some(section) = section {
                connect_section::leave(section);
            }
            record_made(library, pgconn);
            pgconn
        }
    )*};
}

begins! {
    PQconnectdb(info) false;
    PQconnectdbParams(keywords, values, expand) false;
    PQsetdbLogin(host, port, options, tty, database, user, password) true;
    PQconnectStart(info) true;
    PQconnectStartParams(keywords, values, expand) true;
}

macro_rules! polls {
    ($($name:ident)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's argument is libpq's.
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name(pgconn: PGconn, library: &Library) -> c_int {
            notice_fork();
            let section = connect_section::enter();
            let answer = real!(library, $name, pgconn);
            connect_section::leave(section);
            // A reconnect of our own looks after itself.
            if answer == POLLING_OK && !thread::is_reconnecting() {
                if let Some(connection) = connection::find(pgconn) {
                    record_poll(library, connection);
                }
            }
            answer
        }
    )*};
}

polls! { PQconnectPoll PQresetPoll }

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQresetStart(pgconn: PGconn, library: &Library) -> c_int {
    notice_fork();
    let known = connection::find(pgconn);
    if let Some(connection) = known {
        forget_cancel(connection);
    }
    let section = connect_section::enter();
    let answer = real!(library, PQresetStart, pgconn);
    connect_section::leave(section);
    // Whatever became of it, the session that was is no more.
    if let Some(connection) = known {
        guarded((), || connection.begin_session());
    }
    answer
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQreset(pgconn: PGconn, library: &Library) {
    notice_fork();
    let known = connection::find(pgconn);
    if let Some(connection) = known {
        forget_cancel(connection);
        guarded((), || connection.begin_session());
    }
    // Its first step's end is its own: then it waits for the server.
    let section = connect_section::enter();
    let () = real!(library, PQreset, pgconn);
    connect_section::leave(section);
    if let Some(connection) = known {
        if connection.fd.load(Relaxed) < 0 && library.status(pgconn) == CONNECTION_OK {
            record_established(library, connection);
        }
    }
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQfinish(pgconn: PGconn, library: &Library) {
    notice_fork();
    // Before the real one frees the address for another.
    if let Some(connection) = connection::find(pgconn) {
        forget_cancel(connection);
        guarded((), || connection.forget());
    }
    let section = connect_section::enter();
    let () = real!(library, PQfinish, pgconn);
    connect_section::leave(section);
}

/// Not freed: another thread may be inside `PQcancel` with it, as it may be with
/// a `PGcancel` of its own while the connection ends. Some 200 bytes a resume.
fn forget_cancel(connection: &Connection) {
    let cancel = connection.take_own_cancel();
    if cancel.is_null() || !memory::is_plenty(64) {
        return;
    }
    // In a list, so that a leak checker finds them still held.
    let retired = Box::into_raw(Box::new(Retired {
        _cancel: cancel,
        next: null_mut(),
    }));
    let mut first = RETIRED.load(Relaxed);
    loop {
        // SAFETY: ours alone until it is published below.
        unsafe { (*retired).next = first };
        match RETIRED.compare_exchange_weak(first, retired, Release, Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// A `PGcancel` of ours whose connection is no more.
struct Retired {
    _cancel: PGcancel,
    next: *mut Retired,
}

static RETIRED: AtomicPtr<Retired> = AtomicPtr::new(null_mut());
