//! A cancel from a child reaches the child's own statement, or nothing.

// The macros below return what they are given, () among it.
#![allow(clippy::unused_unit)]

use core::ffi::{c_char, c_int, c_void};

use super::connect::Connection;
use super::gate::{self, Function};
use crate::interpose::notice_fork;
use crate::load;
use crate::signal_safe::cancels::{self, Owner};
use crate::signal_safe::{generation, stats, steps};

/// A cancel object, libpq's: `PGcancel` or `PGcancelConn`.
pub type Cancel = *mut c_void;

const WHY: &[u8] = b"PQcancel() -- forkguard: the connection is the parent process's\n\0";

/// The connection's descriptor; -1 where it has none.
fn socket_of(connection: Connection, caller: usize) -> c_int {
    let socket = gate::real(Function::Socket, caller);
    if connection.is_null() || socket.is_null() {
        return -1;
    }
    // SAFETY: PQsocket of the caller's libpq, which made the connection.
    unsafe {
        core::mem::transmute::<*const c_void, unsafe extern "C" fn(Connection) -> c_int>(socket)(
            connection,
        )
    }
}

/// Whether this object would cancel a parent's statement. One that is not on
/// record is trusted in a process that no fork has made.
fn is_parents(cancel: Cancel) -> bool {
    if cancel.is_null() || !load::is_active() {
        return false;
    }
    match cancels::owner(cancel as usize) {
        Owner::Ours => false,
        Owner::Parents => true,
        Owner::Unknown => !generation::is_first(),
    }
}

/// Looks up the caller's libpq's function.
macro_rules! real {
    ($function:ident, $caller:expr, fn($($kind:ty),*) $(-> $result:ty)?, $otherwise:expr) => {{
        notice_fork();
        let real = gate::real(Function::$function, $caller);
        if real.is_null() {
            return $otherwise;
        }
        // SAFETY: the caller's libpq's function of this name, of this type.
        unsafe { core::mem::transmute::<*const c_void, unsafe extern "C" fn($($kind),*) $(-> $result)?>(real) }
    }};
}

/// `PQgetCancel`. Also looks up `PQcancel`, which may be called from a signal
/// handler, where no look-up is safe.
pub(super) unsafe extern "C" fn get_cancel(connection: Connection, caller: usize) -> Cancel {
    let real = real!(
        GetCancel,
        caller,
        fn(Connection) -> Cancel,
        core::ptr::null_mut()
    );
    // SAFETY: the caller's arguments, unchanged.
    let cancel = unsafe { real(connection) };
    let real_cancel = gate::real(Function::Cancel, caller) as usize;
    cancels::record(cancel as usize, socket_of(connection, caller), real_cancel);
    cancel
}

/// `PQfreeCancel`.
pub(super) unsafe extern "C" fn free_cancel(cancel: Cancel, caller: usize) {
    let real = real!(FreeCancel, caller, fn(Cancel), ());
    cancels::forget(cancel as usize);
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(cancel) }
}

/// `PQcancel`.
pub(super) unsafe extern "C" fn cancel(
    cancel: Cancel,
    why: *mut c_char,
    size: c_int,
    caller: usize,
) -> c_int {
    notice_fork();
    if is_parents(cancel) {
        stats::CANCELS_HELD.add(1);
        say_why(why, size);
        return 0;
    }
    let real = match cancels::real_of(cancel as usize) {
        0 => gate::real(Function::Cancel, caller),
        known => known as *const c_void,
    };
    if real.is_null() {
        return 0;
    }
    // SAFETY: PQcancel of the libpq that made the object, or the caller's; the
    // caller's arguments, unchanged.
    unsafe {
        core::mem::transmute::<
            *const c_void,
            unsafe extern "C" fn(Cancel, *mut c_char, c_int) -> c_int,
        >(real)(cancel, why, size)
    }
}

fn say_why(into: *mut c_char, size: c_int) {
    let room = usize::try_from(size).unwrap_or(0).min(WHY.len());
    if into.is_null() || room == 0 {
        return;
    }
    // SAFETY: the caller gives `size` bytes, of which `room` are written, a NUL the last.
    unsafe {
        core::ptr::copy_nonoverlapping(WHY.as_ptr().cast(), into, room);
        *into.add(room - 1) = 0;
    }
}

/// `PQrequestCancel`.
pub(super) unsafe extern "C" fn request_cancel(connection: Connection, caller: usize) -> c_int {
    let real = real!(RequestCancel, caller, fn(Connection) -> c_int, 0);
    if load::is_active() && cancels::is_inherited(socket_of(connection, caller)) {
        stats::CANCELS_HELD.add(1);
        return 0;
    }
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(connection) }
}

/// `PQcancelCreate` (libpq 17).
pub(super) unsafe extern "C" fn cancel_create(connection: Connection, caller: usize) -> Cancel {
    let real = real!(
        CancelCreate,
        caller,
        fn(Connection) -> Cancel,
        core::ptr::null_mut()
    );
    // SAFETY: the caller's arguments, unchanged.
    let cancel = unsafe { real(connection) };
    cancels::record(cancel as usize, socket_of(connection, caller), 0);
    cancel
}

/// `PQcancelBlocking` (libpq 17).
pub(super) unsafe extern "C" fn cancel_blocking(cancel: Cancel, caller: usize) -> c_int {
    let real = real!(CancelBlocking, caller, fn(Cancel) -> c_int, 0);
    if is_parents(cancel) {
        stats::CANCELS_HELD.add(1);
        return 0;
    }
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(cancel) }
}

/// `PQcancelStart` (libpq 17).
pub(super) unsafe extern "C" fn cancel_start(cancel: Cancel, caller: usize) -> c_int {
    let real = real!(CancelStart, caller, fn(Cancel) -> c_int, 0);
    if is_parents(cancel) {
        stats::CANCELS_HELD.add(1);
        return 0;
    }
    let place = steps::enter();
    // SAFETY: the caller's arguments, unchanged.
    let result = unsafe { real(cancel) };
    steps::leave(place);
    result
}

/// `PQcancelFinish` (libpq 17).
pub(super) unsafe extern "C" fn cancel_finish(cancel: Cancel, caller: usize) {
    let real = real!(CancelFinish, caller, fn(Cancel), ());
    cancels::forget(cancel as usize);
    // SAFETY: the caller's arguments, unchanged.
    unsafe { real(cancel) }
}
