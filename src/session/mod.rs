//! What the library knows of a session: the record of its `PGconn` ([`connection`], in a
//! [`table`]), the call under way on this thread ([`thread`]), the [`journal`] of
//! what the client did, and the [`endpoint`] it leads to.

use core::ffi::CStr;

#[cfg(not(test))]
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod extensions;
pub(crate) mod journal;
pub(crate) mod loss;
pub(crate) mod owners;
#[cfg(not(test))]
pub(crate) mod progress;
pub(crate) mod set_config;
#[cfg(not(test))]
pub(crate) mod state;
#[cfg(not(test))]
// tests/loom runs this file by itself, as a public module of its own.
#[allow(unreachable_pub)]
pub(crate) mod table;
#[cfg(not(test))]
pub(crate) mod thread;

/// Parameters that servers report of themselves (protocol-flow.html, "Asynchronous
/// Operations"; `search_path` since 18, `scram_iterations` since 16).
pub(crate) const REPORTED: [&CStr; 15] = [
    c"server_version",
    c"server_encoding",
    c"in_hot_standby",
    c"integer_datetimes",
    c"is_superuser",
    c"session_authorization",
    c"default_transaction_read_only",
    c"client_encoding",
    c"application_name",
    c"DateStyle",
    c"IntervalStyle",
    c"TimeZone",
    c"standard_conforming_strings",
    c"search_path",
    c"scram_iterations",
];
