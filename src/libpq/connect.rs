//! The calls in which libpq takes locks of other libraries: steps, for
//! [`steps`]. libpq's own blocking calls reach `PQconnectStart` and
//! `PQconnectPoll` through its table of imports, so we see those, too
//! (`readelf -r` of libpq 15, 17 and 18).
//!
//! Between `enter` and `leave` stands the real call alone, which may unwind
//! (`pthread_cancel`) or `longjmp` past us: `steps` is made for that.

// The macros below return what they are given, () among it.
#![allow(clippy::unused_unit)]

use core::ffi::{c_char, c_int, c_void};

use super::gate::{self, Function};
use crate::interpose::notice_fork;
use crate::load;
use crate::signal_safe::steps;

/// A connection, libpq's.
pub type Connection = *mut c_void;

macro_rules! step {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty, $function:ident, $otherwise:expr) => {
        $(#[$doc])*
        pub(super) unsafe extern "C" fn $name($($argument: $kind,)* caller: usize) -> $result {
            notice_fork();
            let real = gate::real(Function::$function, caller);
            if real.is_null() {
                return $otherwise;
            }
            // SAFETY: the caller's libpq's function of this name, of this type.
            let real = unsafe { core::mem::transmute::<*const c_void, unsafe extern "C" fn($($kind),*) -> $result>(real) };
            if !load::is_active() {
                // SAFETY: the caller's arguments, unchanged.
                return unsafe { real($($argument),*) };
            }
            let place = steps::enter();
            // SAFETY: as above.
            let result = unsafe { real($($argument),*) };
            steps::leave(place);
            result
        }
    };
}

// What each returns without a libpq is its own failure: PGRES_POLLING_FAILED is 0.
step!(#[doc = "`PQconnectStart`."] fn connect_start(conninfo: *const c_char) -> Connection, ConnectStart, core::ptr::null_mut());
step!(#[doc = "`PQconnectStartParams`."] fn connect_start_params(names: *const *const c_char, values: *const *const c_char, expand: c_int) -> Connection, ConnectStartParams, core::ptr::null_mut());
step!(#[doc = "`PQconnectPoll`."] fn connect_poll(connection: Connection) -> c_int, ConnectPoll, 0);
step!(#[doc = "`PQresetStart`."] fn reset_start(connection: Connection) -> c_int, ResetStart, 0);
step!(#[doc = "`PQresetPoll`."] fn reset_poll(connection: Connection) -> c_int, ResetPoll, 0);
step!(#[doc = "`PQreset`."] fn reset(connection: Connection) -> (), Reset, ());
step!(#[doc = "`PQfinish`."] fn finish(connection: Connection) -> (), Finish, ());
step!(#[doc = "`PQcancelPoll` (libpq 17)."] fn cancel_poll(cancel: *mut c_void) -> c_int, CancelPoll, 0);
