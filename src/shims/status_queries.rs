//! The entry points that answer from what libpq knows, without the server.

#![allow(non_snake_case)] // libpq's names

use core::ffi::{c_int, CStr};
use core::sync::atomic::Ordering::Relaxed;

use super::call_real::real;
use super::enter::check_inherited;
use crate::boundary::{has_inherited_nothing, notice_fork};
use crate::libpq::methods::{Notification, CONNECTION_BAD, CONNECTION_OK, PQTRANS_UNKNOWN};
use crate::libpq::types::{PGconn, Text};
use crate::libpq::Library;
use crate::policy;
use crate::session::connection::{self, Connection, Eligibility};
use crate::session::thread;

/// The inherited connection that is meant, if one is.
#[cold]
#[inline(never)]
extern "C" fn inherited(library: &Library, pgconn: PGconn) -> Option<&'static Connection> {
    notice_fork();
    if thread::is_reconnecting() {
        return None; // libpq asks itself
    }
    let connection = connection::find(pgconn).filter(|known| known.is_inherited())?;
    // A connection left to this process becomes its own here.
    check_inherited(library, connection);
    connection.is_inherited().then_some(connection)
}

/// Whether an inherited connection is lost and libpq does not know: its next
/// command finds the dead socket, in the words that clients know. Under `abandon`
/// libpq is left to find out by itself, as at level 1: psycopg2 marks a
/// connection closed only where a command has failed.
fn is_lost_unnoticed(library: &Library, connection: &Connection) -> bool {
    policy::resumes()
        && connection.eligibility() == Eligibility::Lost
        && library.status(connection.pgconn()) == CONNECTION_OK
}

macro_rules! truths {
    ($($name:ident = $answer:expr => $kind:ty;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's argument is libpq's.
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name(pgconn: PGconn, library: &Library) -> $kind {
            if !has_inherited_nothing() {
                if let Some(connection) = inherited(library, pgconn) {
                    if is_lost_unnoticed(library, connection) {
                        return $answer;
                    }
                }
            }
            real!(library, $name, pgconn)
        }
    )*};
}

truths! {
    PQstatus = CONNECTION_BAD => c_int;
    PQsocket = -1 => c_int;
    PQerrorMessage = CLOSED.into() => Text<'static>;
}

/// See the entry point of this name. libpq does not know of an end that was answered here.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQtransactionStatus(
    pgconn: PGconn,
    library: &Library,
) -> c_int {
    if !has_inherited_nothing() {
        if let Some(connection) = inherited(library, pgconn) {
            if is_lost_unnoticed(library, connection) {
                return PQTRANS_UNKNOWN;
            }
            let status = real!(library, PQtransactionStatus, pgconn);
            return connection.stands(status);
        }
    }
    real!(library, PQtransactionStatus, pgconn)
}

/// What libpq itself will say (fe-misc.c), for programs that ask why the status is bad
/// without trying a command: psycopg2 does.
const CLOSED: &CStr = c"server closed the connection unexpectedly\n\
    \tThis probably means the server terminated abnormally\n\
    \tbefore or while processing the request.\n";

/// Whether libpq may escape for the connection. A reconnect that failed has left it
/// without the client's encoding, and it would pass what it refused before.
fn escapes(pgconn: PGconn) -> bool {
    has_inherited_nothing()
        || connection::find(pgconn).is_none_or(|known| !known.reconnect_failed.load(Relaxed))
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's arguments are libpq's.
pub(crate) unsafe extern "C-unwind" fn PQescapeStringConn(
    pgconn: PGconn,
    to: *mut u8,
    from: Text,
    length: usize,
    error: *mut c_int,
    library: &Library,
) -> usize {
    if escapes(pgconn) {
        return real!(library, PQescapeStringConn, pgconn, to, from, length, error);
    }
    // As it fails itself (fe-exec.c): nothing written, and said so.
    // SAFETY: the caller's buffer, of one byte at least, and null or its int.
    unsafe {
        *to = 0;
        if let Some(error) = error.as_mut() {
            *error = 1;
        }
    }
    0
}

/// See the entry point of this name. What libpq had queued before a reconnect is
/// handed out first.
///
/// # Safety
/// The caller's argument is libpq's.
pub(crate) unsafe extern "C-unwind" fn PQnotifies(
    pgconn: PGconn,
    library: &Library,
) -> *mut Notification {
    if !has_inherited_nothing() {
        if let Some(kept) = connection::find(pgconn).and_then(Connection::next_notification) {
            return kept;
        }
    }
    real!(library, PQnotifies, pgconn)
}

macro_rules! escapes {
    ($($name:ident ( $pgconn:ident, $($argument:ident),* );)*) => {$(
        /// See the entry point of this name. Null is its failure.
        ///
        /// # Safety
        /// The caller's arguments are libpq's.
        pub(crate) unsafe extern "C-unwind" fn $name($pgconn: PGconn, $($argument: usize),*, library: &Library) -> usize {
            if escapes($pgconn) {
                real!(library, $name, $pgconn, $($argument),*)
            } else {
                0
            }
        }
    )*};
}

escapes! {
    PQescapeLiteral(pgconn, text, length);
    PQescapeIdentifier(pgconn, text, length);
    PQescapeByteaConn(pgconn, from, length, to_length);
}

/// See the entry point of this name. The number in an inherited connection is
/// the parent's backend's: good for `pg_terminate_backend` on somebody else.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQbackendPID(pgconn: PGconn, library: &Library) -> c_int {
    if !has_inherited_nothing() && inherited(library, pgconn).is_some() {
        return 0;
    }
    real!(library, PQbackendPID, pgconn)
}
