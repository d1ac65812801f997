//! The shims: what every redirected call to libpq passes.
//!
//! Each libpq has [`trampolines`] of its own, one for each redirected function, so
//! the address called says which libpq is meant ([`crate::bind`]). The shims know
//! each `PGconn` ([`crate::session::connection`]) and each `PGcancel` ([`cancel`]), keep the
//! journal of what is sent ([`commands`]), and in a child make an inherited
//! session again before the first call that needs it ([`crate::resume`]).
//!
//! A shim holds no value with a `Drop` across the real call:
//! `pthread_cancel` and `longjmp` leave through it. What it does besides is
//! [`guarded`](crate::boundary::guarded): a panic of ours ends there.

mod answer;
mod call_real;
pub(crate) mod cancel;
mod commands;
mod enter;
mod established;
mod imports;
mod request;
mod status_queries;
pub(crate) mod trampolines;
