//! Cancelling: a child cancels its own statements, never its parent's.
//!
//! `PGcancel`, `PGcancelConn` and `PGconn` hold the number and the key of a
//! backend; a new socket and those are all a cancel needs. So the shims know
//! which process made each. `PQcancel` may be called in a signal handler
//! (libpq-cancel.html): what is done for it neither allocates nor locks.

#![allow(non_snake_case)] // libpq's names

use core::ffi::{c_int, CStr};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::*};

use super::call_real::real;
use super::enter::{check_inherited, enter, Entered};
use super::request::Request;
use crate::boundary::{guarded, has_inherited_nothing, notice_fork};
use crate::libpq::methods::CONNECTION_BAD;
use crate::libpq::types::{PGcancel, PGcancelConn, PGconn, Text};
use crate::libpq::Library;
use crate::session::connection::{self, Connection, Eligibility, Role};
use crate::session::table::{Record, Table};
use crate::tracker;
use forkguard_signal_safe::stats::{self, Count};
use forkguard_signal_safe::{connect_section, descriptors, generation, ownership};

/// One `PGcancel` or `PGcancelConn`.
struct Cancel {
    key: AtomicUsize,
    owner: AtomicU32,
    connection: AtomicPtr<Connection>,
    serial: AtomicU32,
}

impl Record for Cancel {
    fn new() -> Self {
        Cancel {
            key: AtomicUsize::new(0),
            owner: AtomicU32::new(0),
            connection: AtomicPtr::new(core::ptr::null_mut()),
            serial: AtomicU32::new(0),
        }
    }

    fn key(&self) -> &AtomicUsize {
        &self.key
    }
}

static CANCELS: Table<Cancel, 16384> = Table::empty();

fn record_cancel(address: usize, of: Option<&'static Connection>) {
    guarded((), || {
        CANCELS.insert(address, |record| {
            // The process whose session's key it holds.
            let owner = of.map_or_else(generation::current, Connection::owner);
            record.owner.store(owner, Relaxed);
            record
                .serial
                .store(of.map_or(0, Connection::serial), Relaxed);
            let of = of.map_or(core::ptr::null(), |of| &raw const *of);
            record.connection.store(of.cast_mut(), Relaxed);
        });
    });
}

/// Whose statement a cancel would end.
enum Whose {
    /// This process's own: go on.
    Own,
    /// This process's own, by this `PGcancel`.
    OwnBy(PGcancel),
    /// Nothing: the session is idle and has not been made again.
    Nobodys,
    /// Another process's.
    Anothers,
}

/// Of a `PGcancel`. In a signal handler, too.
fn find_owner(cancel: PGcancel) -> Whose {
    notice_fork();
    let Some(record) = CANCELS.find(cancel.address()) else {
        // Made before the shims stood, or past it: in the process that made it
        // that is fine, in another it cannot be told.
        return if ownership::is_child() {
            Whose::Anothers
        } else {
            Whose::Own
        };
    };
    if !ownership::is_inherited(record.owner.load(Relaxed)) {
        return Whose::Own;
    }
    // SAFETY: null, or a record that is never given back.
    let Some(connection) = (unsafe { record.connection.load(Relaxed).as_ref() }) else {
        return Whose::Anothers;
    };
    if connection.serial() != record.serial.load(Relaxed) || connection.pgconn().is_null() {
        return Whose::Anothers;
    }
    let own = connection.own_cancel();
    match connection.is_inherited() {
        true if connection.eligibility() == Eligibility::Resumable => Whose::Nobodys,
        true => Whose::Anothers,
        false if !own.is_null() => Whose::OwnBy(own),
        false if connection.was_left_to_us() => Whose::Own,
        false => Whose::Anothers,
    }
}

/// Where inherited sessions are left alone: the descriptor (-1 where it is closed)
/// and the generation of the session whose statement the `PGcancel` or `PGcancelConn` at an
/// address would end, if it is another process's. In a signal handler, too.
pub(crate) fn of_another(address: usize) -> Option<(c_int, u64)> {
    let record = CANCELS.find(address)?;
    let owner = record.owner.load(Relaxed);
    if !ownership::is_left_alone(owner) {
        return None;
    }
    let gone = Some((-1, u64::from(owner) & 0xff_ffff));
    // SAFETY: null, or a record that is never given back.
    let connection = unsafe { record.connection.load(Relaxed).as_ref() };
    let Some(connection) = connection.filter(|connection| {
        connection.serial() == record.serial.load(Relaxed) && connection.owner() == owner
    }) else {
        return gone; // ended, or begun again, in this process
    };
    let fd = connection.fd.load(Relaxed);
    if descriptors::identity_of(fd) != Ok(connection.identity.load(Relaxed)) {
        return gone;
    }
    if tracker::is_own_session(fd) {
        return None; // handed over
    }
    tracker::inherited_at(fd).map_or(gone, |entry| Some((fd, entry.word().generation())))
}

const REFUSAL: &CStr =
    c"libforkguard: not cancelled: the session belongs to the process that opened it\n";

fn refuse(buffer: *mut u8, size: c_int) {
    let room = size.max(0) as usize;
    if buffer.is_null() || room == 0 {
        return;
    }
    let text = REFUSAL.to_bytes();
    let length = text.len().min(room - 1);
    // SAFETY: the caller's buffer of `size` bytes, which libpq would write.
    unsafe {
        core::ptr::copy_nonoverlapping(text.as_ptr(), buffer, length);
        *buffer.add(length) = 0;
    }
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's arguments are libpq's. May be called in a signal handler.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQcancel(
    cancel: PGcancel,
    errbuf: *mut u8,
    size: c_int,
    library: &Library,
) -> c_int {
    if has_inherited_nothing() || cancel.is_null() {
        return real!(library, PQcancel, cancel, errbuf, size);
    }
    match find_owner(cancel) {
        Whose::Own => real!(library, PQcancel, cancel, errbuf, size),
        Whose::OwnBy(own) => real!(library, PQcancel, own, errbuf, size),
        Whose::Nobodys => {
            stats::count(Count::CancelsHeld, 1);
            1 // as a server answers that has nothing to cancel
        }
        Whose::Anothers => {
            stats::count(Count::CancelsHeld, 1);
            refuse(errbuf, size);
            0
        }
    }
}

macro_rules! frees {
    ($($name:ident of $kind:ident;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's argument is libpq's.
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name(cancel: $kind, library: &Library) {
            // Before the real one frees the address for another.
            if let Some(record) = CANCELS.find(cancel.address()) {
                CANCELS.forget(record);
            }
            real!(library, $name, cancel)
        }
    )*};
}

frees! {
    PQfreeCancel of PGcancel;
    PQcancelFinish of PGcancelConn;
}

/// Whether the `PGconn` holds the key of this process's own session. An
/// inherited one that can be is made again for that.
fn holds_own_key(library: &Library, pgconn: PGconn) -> bool {
    if has_inherited_nothing() {
        return true;
    }
    // Outside of another call, this reconnects.
    match enter(library, pgconn, Request::Other, Role::Other) {
        Entered::In(mut inside) => {
            inside.leave();
            true
        }
        Entered::Failed | Entered::Answered(_) => false,
        Entered::Pass => match connection::find(pgconn) {
            Some(connection) => !connection.is_inherited(),
            None => !ownership::is_child(),
        },
    }
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQgetCancel(pgconn: PGconn, library: &Library) -> PGcancel {
    if !holds_own_key(library, pgconn) {
        return PGcancel::NULL;
    }
    let cancel: PGcancel = real!(library, PQgetCancel, pgconn);
    if !cancel.is_null() {
        record_cancel(cancel.address(), connection::find(pgconn));
    }
    cancel
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQrequestCancel(pgconn: PGconn, library: &Library) -> c_int {
    if !has_inherited_nothing() {
        notice_fork();
        match connection::find(pgconn) {
            Some(connection) if connection.is_inherited() => {
                stats::count(Count::CancelsHeld, 1);
                return c_int::from(check_inherited(library, connection) == Eligibility::Resumable);
            }
            None if ownership::is_child() => {
                stats::count(Count::CancelsHeld, 1);
                return 0;
            }
            _ => {}
        }
    }
    real!(library, PQrequestCancel, pgconn)
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQcancelCreate(
    pgconn: PGconn,
    library: &Library,
) -> PGcancelConn {
    if !holds_own_key(library, pgconn) {
        // libpq finds the dead socket, and then makes an object that says so.
        library.consume_input(pgconn);
        if library.status(pgconn) != CONNECTION_BAD {
            return PGcancelConn::NULL;
        }
    }
    let cancel: PGcancelConn = real!(library, PQcancelCreate, pgconn);
    if !cancel.is_null() {
        record_cancel(cancel.address(), connection::find(pgconn));
    }
    cancel
}

fn is_anothers(cancel: PGcancelConn) -> bool {
    !has_inherited_nothing() && !cancel.is_null() && {
        notice_fork();
        match CANCELS.find(cancel.address()) {
            Some(record) => ownership::is_inherited(record.owner.load(Relaxed)),
            None => ownership::is_child(),
        }
    }
}

macro_rules! cancels {
    ($($name:ident = $refusal:expr => $kind:ty, step $step:literal, held $held:literal;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's argument is libpq's.
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name(cancel: PGcancelConn, library: &Library) -> $kind {
            if is_anothers(cancel) {
                stats::count(Count::CancelsHeld, $held);
                return $refusal;
            }
            let section = if $step { Some(connect_section::enter()) } else { None };
            let answer = real!(library, $name, cancel);
            if let Some(section) = section {
                connect_section::leave(section);
            }
            answer
        }
    )*};
}

cancels! {
    // These two begin one; the others only go on with it.
    PQcancelStart = 0 => c_int, step true, held 1;
    // Waits for the server between its connect sections, which it makes past the shims.
    PQcancelBlocking = 0 => c_int, step false, held 1;
    PQcancelPoll = 0 => c_int, step true, held 0; // PGRES_POLLING_FAILED
    PQcancelStatus = CONNECTION_BAD => c_int, step false, held 0;
    PQcancelSocket = -1 => c_int, step false, held 0;
    PQcancelErrorMessage = REFUSAL.into() => Text<'static>, step false, held 0;
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQcancelReset(cancel: PGcancelConn, library: &Library) {
    notice_fork();
    let section = connect_section::enter();
    let () = real!(library, PQcancelReset, cancel);
    connect_section::leave(section);
}
