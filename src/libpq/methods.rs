//! Calling a libpq, through its real functions and past the shims.
//!
//! A method for each function that is called, with the types of libpq-fe.h ([`super::types`]). Where
//! this libpq lacks the function, the answer is 0, null or nothing.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::mem::transmute;
use core::ptr::null_mut;
use std::string::String;

use super::types::{FromWord, NoticeReceiver, Oid, PGcancel, PGconn, PGresult, Text, ToWord};
use super::{entry, Library};

/// `CONNECTION_OK` (libpq-fe.h, `ConnStatusType`).
pub(crate) const CONNECTION_OK: i32 = 0;
/// `CONNECTION_BAD`.
pub(crate) const CONNECTION_BAD: i32 = 1;
/// `PQTRANS_IDLE` (libpq-fe.h, `PGTransactionStatusType`).
pub(crate) const PQTRANS_IDLE: i32 = 0;
/// `PQTRANS_INTRANS`.
pub(crate) const PQTRANS_INTRANS: i32 = 2;
/// `PQTRANS_INERROR`.
pub(crate) const PQTRANS_INERROR: i32 = 3;
/// `PQTRANS_UNKNOWN`.
pub(crate) const PQTRANS_UNKNOWN: i32 = 4;

// Result statuses (libpq-fe.h, `ExecStatusType`).
/// `PGRES_EMPTY_QUERY`.
pub(crate) const EMPTY_QUERY: i32 = 0;
/// `PGRES_COMMAND_OK`.
pub(crate) const COMMAND_OK: i32 = 1;
/// `PGRES_TUPLES_OK`.
pub(crate) const TUPLES_OK: i32 = 2;
/// `PGRES_COPY_OUT`.
pub(crate) const COPY_OUT: i32 = 3;
/// `PGRES_COPY_IN`.
pub(crate) const COPY_IN: i32 = 4;
/// `PGRES_NONFATAL_ERROR`.
pub(crate) const NONFATAL_ERROR: i32 = 6;
/// `PGRES_FATAL_ERROR`.
pub(crate) const FATAL_ERROR: i32 = 7;
/// `PGRES_COPY_BOTH`.
pub(crate) const COPY_BOTH: i32 = 8;
/// `PGRES_SINGLE_TUPLE`.
pub(crate) const SINGLE_TUPLE: i32 = 9;
/// `PGRES_PIPELINE_SYNC`.
pub(crate) const PIPELINE_SYNC: i32 = 10;
/// `PGRES_PIPELINE_ABORTED`.
pub(crate) const PIPELINE_ABORTED: i32 = 11;
/// `PGRES_TUPLES_CHUNK`.
pub(crate) const TUPLES_CHUNK: i32 = 12;

/// `PG_DIAG_SQLSTATE` (postgres_ext.h).
pub(crate) const SQLSTATE: c_int = b'C' as c_int;
/// `PG_DIAG_MESSAGE_PRIMARY`.
pub(crate) const MESSAGE_PRIMARY: c_int = b'M' as c_int;

/// libpq's `PGnotify` (libpq-fe.h).
#[repr(C)]
pub(crate) struct Notification {
    channel: *const c_char,
    backend: c_int,
    payload: *const c_char,
    /// The next one; null in those that libpq gives away.
    pub next: *mut Notification,
}

/// libpq's `PQconninfoOption` (libpq-fe.h).
#[repr(C)]
struct ConnectionOption {
    keyword: *const c_char,
    _variable: *const c_char,
    _compiled: *const c_char,
    value: *const c_char,
    _label: *const c_char,
    _character: *const c_char,
    _size: c_int,
}

/// The parameters of one execution, as libpq takes them: null, or so many elements each.
#[derive(Clone, Copy)]
pub(crate) struct Parameters {
    /// How many there are.
    pub count: c_int,
    /// The types' ids.
    pub types: *const Oid,
    /// C strings, or bytes of the length that stands in `lengths`.
    pub values: *const *const c_char,
    /// Read for binary values only.
    pub lengths: *const c_int,
    /// 1 for a binary value.
    pub formats: *const c_int,
}

macro_rules! calls {
    ($($(#[$more:meta])* $visible:vis $method:ident = $name:ident ( $($argument:ident : $kind:ty),* ) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        $(#[$more])*
        #[inline]
        $visible fn $method<'a>(&'a self, $($argument: $kind),*) $(-> $result)? {
            let real = self.real(entry::$name);
            let word = if real.is_null() {
                0
            } else {
                // SAFETY: libpq's function of this name, whose arguments and result are so many
                // words (entry_points.rs); the types say what stands in them (libpq-fe.h).
                unsafe {
                    transmute::<*const (), unsafe extern "C-unwind" fn($(word!($argument)),*) -> usize>(real)($($argument.word()),*)
                }
            };
            // SAFETY: the word is the function's result, or 0, which each of these types takes.
            unsafe { FromWord::of_word(word) }
        }
    )*};
}
macro_rules! word {
    ($argument:ident) => {
        usize
    };
}

// Of a connection. A text is good until the next call on it.
impl Library {
    calls! {
        pub(crate) socket = PQsocket(pgconn: PGconn) -> c_int;
        pub(crate) status = PQstatus(pgconn: PGconn) -> c_int;
        pub(crate) transaction_status = PQtransactionStatus(pgconn: PGconn) -> c_int;
        pub(crate) pipeline_status = PQpipelineStatus(pgconn: PGconn) -> c_int;
        pub(crate) backend_pid = PQbackendPID(pgconn: PGconn) -> c_int;
        pub(crate) server_version = PQserverVersion(pgconn: PGconn) -> c_int;
        pub(crate) database = PQdb(pgconn: PGconn) -> Text<'a>;
        pub(crate) user = PQuser(pgconn: PGconn) -> Text<'a>;
        pub(crate) error_message = PQerrorMessage(pgconn: PGconn) -> Text<'a>;
        pub(crate) parameter_status = PQparameterStatus(pgconn: PGconn, name: Text) -> Text<'a>;
        pub(crate) client_encoding = PQclientEncoding(pgconn: PGconn) -> c_int;
        pub(crate) encoding_name = pg_encoding_to_char(encoding: c_int) -> Text<'a>;
        pub(crate) ssl_in_use = PQsslInUse(pgconn: PGconn) -> c_int;
        pub(crate) gss_encryption_in_use = PQgssEncInUse(pgconn: PGconn) -> c_int;
        pub(crate) gss_context = PQgetgssctx(pgconn: PGconn) -> *const c_void;
        pub(crate) is_nonblocking = PQisnonblocking(pgconn: PGconn) -> c_int;
        pub(crate) set_nonblocking = PQsetnonblocking(pgconn: PGconn, yes: c_int) -> c_int;
        pub(crate) set_notice_receiver = PQsetNoticeReceiver(pgconn: PGconn, receiver: NoticeReceiver, argument: *mut c_void) -> NoticeReceiver;
        pub(crate) reset = PQreset(pgconn: PGconn);
        pub(crate) get_cancel = PQgetCancel(pgconn: PGconn) -> PGcancel;
        /// The caller's to free.
        pub(crate) take_notification = PQnotifies(pgconn: PGconn) -> *mut Notification;
        options_list = PQconninfo(pgconn: PGconn) -> *const ConnectionOption;
        free_options = PQconninfoFree(list: *const ConnectionOption);
        escape_string = PQescapeStringConn(pgconn: PGconn, to: *mut u8, from: Text, length: usize, error: *mut c_int) -> usize;
    }
}

// Commands.
impl Library {
    calls! {
        pub(crate) execute = PQexec(pgconn: PGconn, text: Text) -> Option<PGresult>;
        pub(crate) send_query = PQsendQuery(pgconn: PGconn, text: Text) -> c_int;
        pub(crate) send_prepare = PQsendPrepare(pgconn: PGconn, name: Text, text: Text, count: c_int, types: *const Oid) -> c_int;
        pub(crate) pipeline_sync = PQpipelineSync(pgconn: PGconn) -> c_int;
        pub(crate) enter_pipeline_mode = PQenterPipelineMode(pgconn: PGconn) -> c_int;
        pub(crate) exit_pipeline_mode = PQexitPipelineMode(pgconn: PGconn) -> c_int;
        pub(crate) is_busy = PQisBusy(pgconn: PGconn) -> c_int;
        pub(crate) consume_input = PQconsumeInput(pgconn: PGconn) -> c_int;
        pub(crate) get_result = PQgetResult(pgconn: PGconn) -> Option<PGresult>;
    }

    /// `PQsendQueryParams`, with results as text.
    ///
    /// # Safety
    /// The arrays are null or of `count` elements each, and what they point to is there.
    pub(crate) unsafe fn send_with(&self, pgconn: PGconn, text: Text, given: &Parameters) -> c_int {
        type Function = unsafe extern "C-unwind" fn(
            PGconn,
            Text,
            c_int,
            *const Oid,
            *const *const c_char,
            *const c_int,
            *const c_int,
            c_int,
        ) -> c_int;
        let real = self.real(entry::PQsendQueryParams);
        if real.is_null() {
            return 0;
        }
        // SAFETY: libpq's function of this name (libpq-fe.h); the caller's promise.
        unsafe {
            transmute::<*const (), Function>(real)(
                pgconn,
                text,
                given.count,
                given.types,
                given.values,
                given.lengths,
                given.formats,
                0,
            )
        }
    }
}

// Results.
impl Library {
    calls! {
        pub(crate) make_empty_result = PQmakeEmptyPGresult(pgconn: PGconn, status: c_int) -> Option<PGresult>;
        pub(crate) fire_create_events = PQfireResultCreateEvents(pgconn: PGconn, result: &PGresult) -> c_int;
        pub(crate) result_status = PQresultStatus(result: &PGresult) -> c_int;
        pub(crate) result_error_message = PQresultErrorMessage(result: &'a PGresult) -> Text<'a>;
        pub(crate) result_error_field = PQresultErrorField(result: &'a PGresult, code: c_int) -> Text<'a>;
        pub(crate) command_tag = PQcmdStatus(result: &'a PGresult) -> Text<'a>;
        /// As an array of the result's own.
        pub(crate) command_tag_array = PQcmdStatus(result: &PGresult) -> *mut c_char;
        pub(crate) row_count = PQntuples(result: &PGresult) -> c_int;
        pub(crate) value = PQgetvalue(result: &'a PGresult, row: c_int, column: c_int) -> Text<'a>;
        pub(crate) clear = PQclear(result: Option<PGresult>);
    }
}

impl Library {
    /// Whether this libpq has the entry point.
    pub(crate) fn has(&self, entry: usize) -> bool {
        !self.real(entry).is_null()
    }

    /// Calls `each` with every option of the connection that has a value. False: no memory.
    pub(crate) fn options(&self, pgconn: PGconn, mut each: impl FnMut(&CStr, &CStr)) -> bool {
        let list = self.options_list(pgconn);
        let mut next = list;
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
        self.free_options(list);
        !list.is_null()
    }

    /// `PQerrorMessage`, on one line.
    pub(crate) fn error(&self, pgconn: PGconn) -> String {
        on_one_line(self.error_message(pgconn))
    }

    /// Clears libpq's error message of a connection, as a command does (fe-exec.c, PQexecStart).
    /// Since 15 escaping does so as well, and touches nothing else (PQescapeStringInternal's callers,
    /// `pqClearConnErrorState`). False where a message stays.
    pub(crate) fn clear_error(&self, pgconn: PGconn) -> bool {
        let is_clear = || {
            self.error_message(pgconn)
                .bytes()
                .is_some_and(<[u8]>::is_empty)
        };
        is_clear() || {
            let mut nothing = [0_u8; 1];
            self.escape_string(pgconn, nothing.as_mut_ptr(), c"".into(), 0, null_mut());
            is_clear()
        }
    }
}

/// A text without the ends of its lines; empty for null.
pub(crate) fn on_one_line(text: Text) -> String {
    let text = String::from_utf8_lossy(text.bytes().unwrap_or_default());
    text.trim_end().replace('\n', " ")
}
