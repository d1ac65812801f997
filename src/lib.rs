//! Forked children stay off their parent's PostgreSQL sessions.
//!
//! A program opens connections through libpq, then forks. The child inherits
//! the sockets, and two processes speak on one session: lost results, broken
//! TLS, another query's rows. This library is preloaded (`LD_PRELOAD`) or
//! linked (`-lforkguard`) and keeps the child off:
//!
//! 1. [`hooks`] exports libc's socket and descriptor functions. A first
//!    write on a fresh connection is read ([`forkguard_proto::wire`]); where it opens a
//!    PostgreSQL session, the number becomes a candidate in the table of
//!    descriptors ([`tracker`], [`forkguard_signal_safe::descriptors`]).
//! 2. At a fork our handlers run ([`fork`]). In the child each candidate whose
//!    identity holds is covered by a dead socket ([`forkguard_signal_safe::abandon`]):
//!    the client library sees a lost connection and opens its own, and the
//!    parent's is out of reach.
//! 3. Calls to libpq pass a [`shims`], into which every libpq of the process is
//!    redirected ([`bind`]). It keeps a journal of each session, by what its
//!    statements say ([`forkguard_sql`]), and in the child makes an idle one anew
//!    before its first use, equal to what it was or not at all ([`resume`]).
//! 4. A child made without handlers (`_Fork`, `clone`) finds a page wiped
//!    ([`forkguard_signal_safe::generation`]) at its first interposed call, and does the
//!    same then.
//!
//! # Rooms
//!
//! | room | holds |
//! |---|---|
//! | [`load`] | the constructor |
//! | [`auxv`] | what the kernel tells at the start |
//! | [`hooks`] | every exported libc symbol |
//! | [`tracker`] | what becomes of a number: connecting, a session, duplicated, closed |
//! | [`sessions`] | the sessions, for who asks; normal context only |
//! | [`fork`] | the fork handlers |
//! | [`may_allocate`] | the proof of being in normal context |
//! | [`report`] | the `log` facade |
//! | [`memory`] | an allocator that has a last reserve |
//! | [`libpq`] | the libpqs of the process, called and read |
//! | [`bind`] | finds and redirects them |
//! | [`shims`] | where redirected calls pass |
//! | [`session`] | what is known of each session |
//! | [`resume`] | the journal, and a child's session made anew |
//! | [`detector`] | the policies `report` and `abort`: uses of inherited sessions, told |
//! | [`python_frames`] | CPython's frames, read out of memory; pure |
//! | [`epoll_fixups`] | what the child's epolls hold of an abandoned number |
//! | [`capi`] | the C interface, `include/forkguard.h` |

// No prelude of std: what allocates says so in its imports.
#![no_std]
// The modules are private, so that the compiler sees what nobody uses. (clippy.toml: docs for all that
// the crate sees.)
#![warn(clippy::missing_docs_in_private_items)]
// Half of the library is left out of the unit tests' program, see below, and a processor without
// trampolines leaves some unused; what is shipped is checked.
#![cfg_attr(any(test, forkguard_other_processor), allow(dead_code, unused_imports))]
// These pages are for who works on the library: nobody links to it as a crate.
#![allow(rustdoc::private_intra_doc_links)]

extern crate std;

mod auxv;
mod libpq;
mod python_frames;
mod resume;
mod session;

#[cfg(not(test))]
mod boundary;
mod epoll_fixups;
mod may_allocate;
mod memory;
#[cfg(not(test))]
mod observer;
mod peer;
#[cfg(not(test))]
mod policy;
mod report;
mod sessions;
mod tracker;

// What reaches into the process is left out of the unit tests' program: it
// would interpose the test runner's own calls. `tests/` tests it from outside.
#[cfg(not(test))]
mod bind;
#[cfg(not(test))]
mod capi;
#[cfg(not(test))]
mod detector;
#[cfg(any(
    break_child_handler = "allocate",
    break_child_handler = "lock",
    break_child_handler = "symbol",
    break_memory,
    panic_in_hooks
))]
mod fault_injection;
#[cfg(not(test))]
mod fork;
#[cfg(not(test))]
mod hooks;
#[cfg(not(test))]
mod load;
#[cfg(not(test))]
mod shims;
