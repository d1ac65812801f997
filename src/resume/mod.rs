//! A child's session equal to the one it inherited, or none.
//!
//! [`journal`] keeps what the client did to its session, [`place`] where it led
//! and what the client was. In a child, [`judge()`] decides whether the session
//! can be made again; [`redial`] makes it, on the same `PGconn` and under the
//! same number, [`replay`] does again what was done, in one round trip, asks the
//! server what no text showed ([`question`]), and what comes out is compared with what was.

use core::ffi::CStr;

pub mod extensions;
pub mod journal;
pub mod loss;
mod owners;
pub mod place;
pub mod question;
#[cfg(not(test))]
pub mod redial;
#[cfg(not(test))]
pub mod replay;
pub mod set_config;

#[cfg(not(test))]
mod told;

#[cfg(not(test))]
pub use judge::{judge, Judgement};
#[cfg(not(test))]
mod judge;

/// Parameters that servers report of themselves (protocol-flow.html, "Asynchronous
/// Operations"; `search_path` since 18, `scram_iterations` since 16).
pub const REPORTED: [&CStr; 15] = [
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
