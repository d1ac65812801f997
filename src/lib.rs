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
//! 3. Every libpq of the process is redirected ([`bind`]), so that each call passes one of
//!    our [`shims`]. They keep a journal of each session, by what its statements say
//!    ([`forkguard_sql`]). Before a child first uses an idle session, they make it
//!    again: equal to what it was, or not at all ([`resume`]).
//! 4. A child made without handlers (`_Fork`, `clone`) finds a page wiped
//!    ([`forkguard_signal_safe::generation`]) at its first interposed call, and does the
//!    same then.
//!
//! # Modules
//!
//! In their order: each uses only those that come before it in this table, and no
//! files anywhere use each other in a circle (`tests/directions/` reads the sources).
//!
//! | module | holds |
//! |---|---|
//! | [`forkguard_sql`] | what a statement does to its session, by its text; why a session is lost |
//! | [`forkguard_proto`] | first bytes of a client, settings, the layout of the counters' page |
//! | [`forkguard_signal_safe`] | everything that may run in a child handler |
//! | `fault_injection` | faults that tests have to find |
//! | [`auxv`] | what the kernel passes at the start |
//! | [`memory`] | an allocator with a last reserve |
//! | [`may_allocate`] | the token of code that may allocate and lock |
//! | [`logger`] | the logger behind the `log` facade |
//! | [`policy`] | what the library does in this process: the flags that the constructor sets |
//! | [`boundary`] | between a caller's code and ours: panics end here, forks are noticed |
//! | [`peer`] | the other end of a socket, as text |
//! | [`tracker`] | the life of a descriptor: connecting, a session, duplicated, closed |
//! | [`epoll_fixups`] | what a child's epolls hold of an abandoned descriptor |
//! | [`sessions`] | the sessions of this process, for the C interface |
//! | [`python_frames`] | reads CPython's frames out of memory |
//! | [`objects`] | the loaded objects: their list, and how one is read |
//! | [`libpq`] | the libpqs of the process, and their functions |
//! | [`bind`] | finds every libpq and redirects its functions |
//! | [`observer`] | the detector's functions, called while sessions are used |
//! | [`session`] | what is known of each session: its `PGconn`, its journal, its endpoint |
//! | [`resume`] | makes a child's session again, equal to what it was, or loses it |
//! | [`shims`] | the functions that stand in for libpq's |
//! | [`detector`] | the policies `report` and `abort`: reports each use of an inherited session |
//! | [`hooks`] | the exported functions of libc |
//! | [`capi`] | the C interface, `include/forkguard.h` |
//! | [`fork`] | the fork handlers |
//! | [`load`] | the constructor |

// No prelude of std: what allocates says so in its imports.
#![no_std]
// The modules are private, so that the compiler finds unused code. (clippy.toml asks for docs of all
// that the crate sees.)
#![warn(clippy::missing_docs_in_private_items, unreachable_pub)]
// Half of the library is left out of the unit tests' program, see below, and a processor without
// trampolines leaves some unused; what is shipped is checked.
#![cfg_attr(any(test, forkguard_other_processor), allow(dead_code, unused_imports))]
// These pages are for people who work on the library: it is never linked to as a crate.
#![allow(rustdoc::private_intra_doc_links)]

extern crate std;

mod auxv;
mod libpq;
mod objects;
mod python_frames;
mod resume;
mod session;

#[cfg(not(test))]
mod boundary;
mod epoll_fixups;
mod logger;
mod may_allocate;
mod memory;
#[cfg(not(test))]
mod observer;
mod peer;
#[cfg(not(test))]
mod policy;
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
