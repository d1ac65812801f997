//! The entry points of libpq that this library exports.
//!
//! Two things cannot be seen from the sockets: whom a cancel would hit
//! ([`cancel`]), and that a thread is inside a lock on libpq's way to the
//! server ([`connect`]). So these few functions are exported under libpq's own
//! names, look, and go on to the caller's libpq ([`gate`]).

pub mod cancel;
pub mod connect;
pub mod gate;
mod x86_64;
