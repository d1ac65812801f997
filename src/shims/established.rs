//! The entry points that begin and end connections.

use core::sync::atomic::{AtomicPtr, Ordering::*};
use std::boxed::Box;

use super::{guarded, real};
use crate::hooks::notice_fork;
use crate::libpq::calls::{string, CONNECTION_OK};
use crate::libpq::{entry, Library};
use crate::session::connection::{self, Connection, SessionState};
use crate::session::endpoint::Place;
use crate::session::thread;
use crate::signal_safe::{descriptors, steps};
use crate::{memory, tracker};
use forkguard_sql::Reason;

/// libpq-fe.h, `PGRES_POLLING_OK`.
const POLLING_OK: i32 = 3;

/// Encodings of clients in which a byte of a longer character may be an ASCII
/// one, a quote or a backslash among them (src/include/mb/pg_wchar.h, those that
/// servers do not store).
const NOT_ASCII_SAFE: [&[u8]; 7] = [
    b"SJIS",
    b"BIG5",
    b"GBK",
    b"UHC",
    b"GB18030",
    b"JOHAB",
    b"SHIFT_JIS_2004",
];

/// How the server reads strings now.
pub fn read_mode(library: &Library, pgconn: usize, state: &mut SessionState) {
    let name = c"standard_conforming_strings".as_ptr() as usize;
    // Null where the server does not report it.
    let value = string(library.call2(entry::PQparameterStatus, pgconn, name));
    state.standard_strings = value != Some(b"off");
    let encoding = library.call1(entry::PQclientEncoding, pgconn);
    let name = string(library.call1(entry::pg_encoding_to_char, encoding));
    state.ascii_safe = name.is_some_and(|name| !NOT_ASCII_SAFE.contains(&name));
}

/// A connection is up, and is this process's.
fn established(library: &Library, connection: &'static Connection) {
    guarded((), || {
        let pgconn = connection.pgconn();
        connection.begin_anew();
        let fd = library.socket(pgconn);
        connection.fd.store(fd, Relaxed);
        // SAFETY: this thread is in the call that made it; nobody else knows it yet.
        let mut inside = unsafe { connection.assume_inside() };
        let state = inside.state();
        if super::resumes() {
            state.place = Place::of(fd);
            read_mode(library, pgconn, state);
            let name = |entry| string(library.call1(entry, pgconn)).unwrap_or_default();
            let journal = &mut state.journal;
            journal.set_login(name(entry::PQuser), name(entry::PQdb));
        }
        stands_at(connection, fd, state);
    });
}

/// A session of this process's stands at `fd`: what is open there is noted, and
/// from now on bytes there must come from calls at the gate.
pub fn stands_at(connection: &'static Connection, fd: i32, state: &mut SessionState) {
    let identity = descriptors::identity_of(fd).unwrap_or(0);
    connection.identity.store(identity, Relaxed);
    if super::resumes() && !tracker::journalled(fd, connection.inside()) {
        state.journal.set_opaque(Reason::DescriptorUnknown);
    }
}

/// A connection attempt has ended well, or one that had is asked once more.
fn polled(library: &Library, connection: &'static Connection) {
    // The attempt of a parent can end well in its child: by what libpq had read
    // before the fork, and then it is the parent's session all the same.
    let own =
        !connection.is_inherited() || tracker::is_own_session(library.socket(connection.pgconn()));
    if own && connection.fd.load(Relaxed) < 0 {
        established(library, connection);
    }
}

/// A receiver that says nothing: the notices of a dial and its replay are not
/// the program's.
unsafe extern "C" fn nothing(_argument: usize, _result: usize) {}

/// Keeps libpq's notices from the program.
pub fn silence(library: &Library, connection: &Connection) {
    let nothing = nothing as *const () as usize;
    let receiver = library.call3(entry::PQsetNoticeReceiver, connection.pgconn(), nothing, 0);
    // Ours where a dial before was left.
    if receiver != nothing {
        connection.receiver.store(receiver, Relaxed);
    }
}

/// Gives it back.
pub fn unsilence(library: &Library, connection: &Connection) {
    let receiver = connection.receiver.load(Relaxed);
    if receiver != 0 {
        let argument = connection.notice_argument.load(Relaxed);
        library.call3(
            entry::PQsetNoticeReceiver,
            connection.pgconn(),
            receiver,
            argument,
        );
    }
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's arguments are libpq's.
#[allow(non_snake_case)]
#[inline(never)]
pub unsafe extern "C-unwind" fn PQsetNoticeReceiver(
    pgconn: usize,
    receiver: usize,
    argument: usize,
    library: &Library,
) -> usize {
    // A null function asks for the one that is set (fe-connect.c).
    if receiver != 0 {
        if let Some(connection) = connection::find(pgconn) {
            connection.notice_argument.store(argument, Relaxed);
        }
    }
    real!(library, PQsetNoticeReceiver, pgconn, receiver, argument)
}

/// A connection was made. Where a blocking call did, its own steps inside have
/// said so already.
fn made(library: &Library, pgconn: usize) {
    if pgconn == 0 {
        return;
    }
    guarded((), || {
        let known = connection::find(pgconn).filter(|_| thread::has_made(pgconn));
        let Some(connection) = known.or_else(|| connection::made(pgconn)) else {
            return;
        };
        thread::set_made(pgconn);
        // Where libpq calls itself past the gate, no step has said so.
        if connection.fd.load(Relaxed) < 0 && library.status(pgconn) == CONNECTION_OK {
            established(library, connection);
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
        #[allow(non_snake_case, clippy::too_many_arguments)]
        #[inline(never)]
        pub unsafe extern "C-unwind" fn $name($($argument: usize,)* library: &Library) -> usize {
            notice_fork();
            thread::set_made(0);
            let step = if $step { Some(steps::enter()) } else { None };
            let pgconn = real!(library, $name, $($argument),*);
            if let Some(step) = step {
                steps::leave(step);
            }
            made(library, pgconn);
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
        #[allow(non_snake_case)]
        #[inline(never)]
        pub unsafe extern "C-unwind" fn $name(pgconn: usize, library: &Library) -> usize {
            notice_fork();
            let step = steps::enter();
            let answer = real!(library, $name, pgconn);
            steps::leave(step);
            // A dial of our own looks after itself.
            if answer as i32 == POLLING_OK && !thread::is_dialling() {
                if let Some(connection) = connection::find(pgconn) {
                    polled(library, connection);
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
#[allow(non_snake_case)]
#[inline(never)]
pub unsafe extern "C-unwind" fn PQresetStart(pgconn: usize, library: &Library) -> usize {
    notice_fork();
    let known = connection::find(pgconn);
    if let Some(connection) = known {
        forget_cancel(connection);
    }
    let step = steps::enter();
    let answer = real!(library, PQresetStart, pgconn);
    steps::leave(step);
    // Whatever became of it, the session that was is no more.
    if let Some(connection) = known {
        guarded((), || connection.begin_anew());
    }
    answer
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[allow(non_snake_case)]
#[inline(never)]
pub unsafe extern "C-unwind" fn PQreset(pgconn: usize, library: &Library) -> usize {
    notice_fork();
    let known = connection::find(pgconn);
    if let Some(connection) = known {
        forget_cancel(connection);
        guarded((), || connection.begin_anew());
    }
    // Its first step's end is its own: then it waits for the server.
    let step = steps::enter();
    let answer = real!(library, PQreset, pgconn);
    steps::leave(step);
    if let Some(connection) = known {
        if connection.fd.load(Relaxed) < 0 && library.status(pgconn) == CONNECTION_OK {
            established(library, connection);
        }
    }
    answer
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[allow(non_snake_case)]
#[inline(never)]
pub unsafe extern "C-unwind" fn PQfinish(pgconn: usize, library: &Library) -> usize {
    notice_fork();
    // Before the real one frees the address for another.
    if let Some(connection) = connection::find(pgconn) {
        forget_cancel(connection);
        guarded((), || connection.forget());
    }
    let step = steps::enter();
    let answer = real!(library, PQfinish, pgconn);
    steps::leave(step);
    answer
}

/// Not freed: another thread may be inside `PQcancel` with it, as it may be with
/// a `PGcancel` of its own while the connection ends. Some 200 bytes a resume.
fn forget_cancel(connection: &Connection) {
    let cancel = connection.cancel.swap(0, Relaxed);
    if cancel == 0 || !memory::is_plenty(64) {
        return;
    }
    // In a list, so that a leak checker finds them still held.
    let retired = Box::into_raw(Box::new(Retired {
        _cancel: cancel,
        next: core::ptr::null_mut(),
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
    _cancel: usize,
    next: *mut Retired,
}

static RETIRED: AtomicPtr<Retired> = AtomicPtr::new(core::ptr::null_mut());
