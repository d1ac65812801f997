//! A child's session equal to the one it inherited, or none.
//!
//! [`crate::session`] keeps what the client did to its session, where it led
//! and what the client was. In a child, [`check_eligibility()`] decides whether the session
//! can be made again; [`reconnect`] makes it, on the same `PGconn` and under the
//! same number, [`replay`] does again what was done, in one round trip, asks the
//! server what no text showed ([`question`]), and what comes out is compared with what was.

pub(crate) mod question;
#[cfg(not(test))]
pub(crate) mod reconnect;
#[cfg(not(test))]
pub(crate) mod replay;

#[cfg(not(test))]
mod reported_parameters;

#[cfg(not(test))]
pub(crate) use eligibility::{check_eligibility, Checked};
#[cfg(not(test))]
mod eligibility;
