//! What a statement does to its *session*, told from its text alone. Pure.
//!
//! A forked child's new session must equal its parent's, so what the parent's statements did
//! to it must be known. This crate cuts a query text into statements as the server does
//! (`lexer`), and says of each what it means for the session (`grammar`): nothing, a
//! setting, a prepared statement, …, or [`What::Opaque`], which is the answer to every doubt.
//! It runs on every query of the host: no allocation, no recursion, no panic.
//!
//! It need not know SQL: a text that the server refuses does nothing. So whatever is not
//! grammatical may be read in any way, and what *is* must never be taken for less than it does.
//! For queries that leaves one question: which functions do they call? A name before `(` is a
//! call, unless the place says that no call can stand there (`calls`).
//!
//! What no text shows: triggers, views, rules, operators, casts, column defaults, checks, domains and
//! policies of the user, a function of the user's that has a built-in's name, and one called as
//! `row.function`.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod calls;
mod functions;
mod grammar;
mod lexer;
mod name;
mod plain;
mod read;
mod reason;
pub mod removal;
mod set_config;
mod statement;
mod temporary;
mod trusted;
mod words;

#[cfg(test)]
mod tests;

pub use name::Name;
pub use plain::{is_plain_read, is_plain_select};
pub use read::{read, Statements};
pub use reason::{Cause, Reason, LONGEST_NAME};
pub use set_config::{doubt, Argument, Call, SetConfig};
pub use statement::{Calls, Lock, Mode, Redefines, Routines, Statement, Touch, Value, What};
pub use temporary::Temporaries;
pub use trusted::Trusted;
