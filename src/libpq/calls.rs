//! Calling a libpq.
//!
//! Through its real functions, past the gate. All arguments and results of
//! these functions are of the integer class, one machine word each, so a call
//! needs their number alone. An entry point that this libpq lacks answers 0.

use core::ffi::{c_char, CStr};
use core::mem::transmute;
use std::string::String;

use super::{entry, Library};

/// `CONNECTION_OK` (libpq-fe.h, `ConnStatusType`).
pub const CONNECTION_OK: i32 = 0;
/// `CONNECTION_BAD`.
pub const CONNECTION_BAD: i32 = 1;
/// `PQTRANS_IDLE` (libpq-fe.h, `PGTransactionStatusType`).
pub const PQTRANS_IDLE: i32 = 0;
/// `PQTRANS_INTRANS`.
pub const PQTRANS_INTRANS: i32 = 2;
/// `PQTRANS_INERROR`.
pub const PQTRANS_INERROR: i32 = 3;
/// `PQTRANS_UNKNOWN`.
pub const PQTRANS_UNKNOWN: i32 = 4;

// Result statuses (libpq-fe.h, `ExecStatusType`).
/// `PGRES_EMPTY_QUERY`.
pub const EMPTY_QUERY: i32 = 0;
/// `PGRES_COMMAND_OK`.
pub const COMMAND_OK: i32 = 1;
/// `PGRES_TUPLES_OK`.
pub const TUPLES_OK: i32 = 2;
/// `PGRES_COPY_OUT`.
pub const COPY_OUT: i32 = 3;
/// `PGRES_COPY_IN`.
pub const COPY_IN: i32 = 4;
/// `PGRES_NONFATAL_ERROR`.
pub const NONFATAL_ERROR: i32 = 6;
/// `PGRES_FATAL_ERROR`.
pub const FATAL_ERROR: i32 = 7;
/// `PGRES_COPY_BOTH`.
pub const COPY_BOTH: i32 = 8;
/// `PGRES_SINGLE_TUPLE`.
pub const SINGLE_TUPLE: i32 = 9;
/// `PGRES_PIPELINE_SYNC`.
pub const PIPELINE_SYNC: i32 = 10;
/// `PGRES_PIPELINE_ABORTED`.
pub const PIPELINE_ABORTED: i32 = 11;
/// `PGRES_TUPLES_CHUNK`.
pub const TUPLES_CHUNK: i32 = 12;

/// `PG_DIAG_SQLSTATE` (postgres_ext.h).
pub const SQLSTATE: usize = b'C' as usize;

/// A string that libpq, or its caller, holds at an address; `None` for null.
/// Valid until the next call on the object that it is of.
pub fn string<'a>(address: usize) -> Option<&'a [u8]> {
    let address = address as *const c_char;
    // SAFETY: libpq's strings, and those it is given, end with a NUL.
    (!address.is_null()).then(|| unsafe { CStr::from_ptr(address) }.to_bytes())
}

macro_rules! calls {
    ($($name:ident ( $($argument:ident : $kind:ty),* );)*) => {$(
        /// Calls an entry point with so many words.
        #[inline]
        #[allow(clippy::too_many_arguments)] // PQexecParams's
        pub fn $name(&self, entry: usize, $($argument: usize),*) -> usize {
            let real = self.real(entry);
            if real.is_null() {
                return 0;
            }
            // SAFETY: libpq's function of this entry point, whose arguments and
            // result are so many words; what they point to is the caller's.
            unsafe {
                transmute::<*const (), unsafe extern "C-unwind" fn($($kind),*) -> usize>(real)($($argument),*)
            }
        }
    )*};
}

impl Library {
    calls! {
        call1(a: usize);
        call2(a: usize, b: usize);
        call3(a: usize, b: usize, c: usize);
        call5(a: usize, b: usize, c: usize, d: usize, e: usize);
        call8(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize);
    }

    /// Whether this libpq has the entry point.
    pub fn has(&self, entry: usize) -> bool {
        !self.real(entry).is_null()
    }

    /// `PQsocket`.
    pub fn socket(&self, pgconn: usize) -> i32 {
        self.call1(entry::PQsocket, pgconn) as i32
    }

    /// `PQstatus`.
    pub fn status(&self, pgconn: usize) -> i32 {
        self.call1(entry::PQstatus, pgconn) as i32
    }

    /// `PQtransactionStatus`.
    pub fn transaction_status(&self, pgconn: usize) -> i32 {
        self.call1(entry::PQtransactionStatus, pgconn) as i32
    }

    /// `PQbackendPID`.
    pub fn backend_pid(&self, pgconn: usize) -> i32 {
        self.call1(entry::PQbackendPID, pgconn) as i32
    }

    /// Calls `each` with every option of the connection that has a value. False: no memory.
    pub fn options(&self, pgconn: usize, mut each: impl FnMut(&CStr, &CStr)) -> bool {
        /// `PQconninfoOption` (libpq-fe.h).
        #[repr(C)]
        struct Setting {
            keyword: *const c_char,
            _variable: usize,
            _compiled: usize,
            value: *const c_char,
            _label: usize,
            _character: usize,
            _size: i32,
        }
        let list = self.call1(entry::PQconninfo, pgconn);
        let mut next = list as *const Setting;
        // SAFETY: libpq's list ends with a null keyword; its strings end with a NUL.
        unsafe {
            while !next.is_null() && !(*next).keyword.is_null() {
                if !(*next).value.is_null() {
                    each(
                        CStr::from_ptr((*next).keyword),
                        CStr::from_ptr((*next).value),
                    );
                }
                next = next.add(1);
            }
        }
        self.call1(entry::PQconninfoFree, list);
        list != 0
    }

    /// A text that libpq keeps of an object, on one line; empty for none.
    pub fn text(&self, entry: usize, object: usize) -> String {
        let text = string(self.call1(entry, object)).unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        text.trim_end().replace('\n', " ")
    }

    /// `PQerrorMessage`, on one line.
    pub fn error(&self, pgconn: usize) -> String {
        self.text(entry::PQerrorMessage, pgconn)
    }
}
