//! The other country: code that may run in a child handler.
//!
//! A forked child of a threaded program has one thread and everybody's locks
//! as they were. What runs there before the program goes on may not allocate,
//! take a lock, format through `std::io` or panic. So these rooms know `core`,
//! the system calls of [`sys`] and each other, and nothing else of this
//! library: no `std`, no `dashmap`, no `log`, no room outside this folder.
//! `tests/guard/child_handler.rs` holds them to it twice: it reads what they
//! name, and it walks every call the compiled handler can reach.
//!
//! Everything here may be called in any other context as well.
//!
//! What the handler reads and writes in every fork stands together in the
//! section `.data.forkguard`: each page that a child writes first costs it a
//! copy, some microseconds where page faults are dear.

pub mod abandon;
pub mod child;
pub mod connect_section;
pub mod descriptors;
pub mod errno;
pub mod fence;
pub mod fork_barrier;
pub mod generation;
pub mod line;
pub mod ownership;
pub mod sink;
pub mod slot;
pub mod stats;
pub mod sys;
pub mod threads;
pub mod tree;
pub mod verified_descriptor;
