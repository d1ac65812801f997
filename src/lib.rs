//! Forked children stay off their parent's PostgreSQL sessions.
//!
//! A program opens connections through libpq, then forks. The child inherits
//! the sockets, and two processes speak on one session: lost results, broken
//! TLS, another query's rows. This library is preloaded (`LD_PRELOAD`) or
//! linked (`-lforkguard`) and keeps the child off:
//!
//! 1. [`interpose`] exports libc's socket and descriptor functions. A first
//!    write on a fresh connection is read ([`wire`]); where it opens a
//!    PostgreSQL session, the number becomes a candidate in the table of
//!    descriptors ([`watch`], [`signal_safe::descriptors`]).
//! 2. At a fork our handlers run ([`fork`]). In the child each candidate whose
//!    identity holds is covered by a dead socket ([`signal_safe::abandon`]):
//!    the client library sees a lost connection and opens its own, and the
//!    parent's is out of reach.
//! 3. Calls to libpq pass a [`gate`], into which every libpq of the process is
//!    redirected ([`libpq`]). It keeps a journal of each session, by what its
//!    statements say ([`forkguard_sql`]), and in the child makes an idle one anew
//!    before its first use, equal to what it was or not at all ([`resume`]).
//! 4. A child made without handlers (`_Fork`, `clone`) finds a page wiped
//!    ([`signal_safe::generation`]) at its first interposed call, and does the
//!    same then.
//!
//! # Rooms
//!
//! | room | holds |
//! |---|---|
//! | [`load`] | the constructor |
//! | [`beside`] | other libraries that stand before libc; pure |
//! | [`auxv`] | what the kernel tells at the start |
//! | [`config`] | `FORKGUARD_*` into one `Config`; pure |
//! | [`wire`] | what a client's first bytes say; pure |
//! | [`interpose`] | every exported libc symbol |
//! | [`watch`] | what becomes of a number: connecting, a session, duplicated, closed |
//! | [`sessions`] | the sessions, for who asks; normal context only |
//! | [`fork`] | the fork handlers |
//! | [`signal_safe`] | everything that may run in a child handler |
//! | [`normal`] | the proof of being in normal context |
//! | [`report`] | the `log` facade |
//! | [`memory`] | an allocator that has a last reserve |
//! | [`libpq`] | the libpqs of the process, found and redirected |
//! | [`gate`] | where redirected calls pass |
//! | [`resume`] | the journal, and a child's session made anew |
//! | [`detector`] | the policies `report` and `abort`: uses of inherited sessions, told |
//! | [`python_frames`] | CPython's frames, read out of memory; pure |
//! | [`registrations`] | what the child's epolls hold of an abandoned number |
//! | [`processor`] | what is written for one processor |
//! | [`ffi`] | the C interface, `include/forkguard.h` |

// No prelude of std: the rooms of `signal_safe` see `core` alone unless they
// say otherwise, and a test reads that they do not.
#![no_std]
#![warn(missing_docs)]
// These pages are for who works on the library: nobody links to it as a crate.
#![allow(rustdoc::private_intra_doc_links)]

extern crate std;

pub mod auxv;
pub mod beside;
pub mod config;
// What calls and binds libpq is left out below.
#[cfg_attr(test, allow(dead_code, unused_imports))]
pub mod libpq;
pub mod processor;
#[cfg_attr(test, allow(dead_code))]
pub mod python_frames;
pub mod resume;
pub mod signal_safe;
pub mod wire;

pub mod memory;
pub mod normal;
pub mod peer;
pub mod registrations;
pub mod report;
pub mod sessions;
pub mod watch;

// What reaches into the process is left out of the unit tests' program: it
// would interpose the test runner's own calls. `tests/` tests it from outside.
#[cfg(any(
    break_child_handler = "allocate",
    break_child_handler = "lock",
    break_child_handler = "symbol",
    break_memory,
    panic_in_hooks
))]
pub mod broken;
#[cfg(not(test))]
pub mod detector;
#[cfg(not(test))]
pub mod ffi;
#[cfg(not(test))]
pub mod fork;
#[cfg(not(test))]
pub mod gate;
#[cfg(not(test))]
pub mod interpose;
#[cfg(not(test))]
pub mod load;
