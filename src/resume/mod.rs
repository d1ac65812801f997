//! A child's session equal to the one it inherited, or none.
//!
//! [`journal`] keeps what the client did to its session, [`place`] where it led
//! and what the client was. In a child, [`judge()`] decides whether the session
//! can be made again; [`redial`] makes it, on the same `PGconn` and under the
//! same number, [`replay`] does again what was done, in one round trip, asks the
//! server what no text showed ([`question`]), and what comes out is compared with what was.

pub mod journal;
pub mod loss;
pub mod place;
pub mod question;
#[cfg(not(test))]
pub mod redial;
#[cfg(not(test))]
pub mod replay;

#[cfg(not(test))]
mod told;

#[cfg(not(test))]
pub use judge::{judge, Judgement};
#[cfg(not(test))]
mod judge;
