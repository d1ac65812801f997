//! Async-signal-safe code: everything that may run in a child handler.
//!
//! A forked child of a threaded program has one thread, and every lock is as it was at the
//! fork. Before the program goes on, the child may not allocate, take a lock, format
//! through `std::io` or panic. So this crate cannot name `std` or `alloc`: it knows `core`,
//! the system calls of [`sys`], and the layout of the page of counters. Two tests hold it
//! to the rest (`tests/guard/child_handler.rs`): one reads what the sources name, the other
//! walks every call that the compiled handler can reach.
//!
//! Everything here may be called in any other context as well.
//!
//! What the handler reads and writes in every fork stands together in the section
//! `.data.forkguard`: each page that a child writes first costs it a copy, some
//! microseconds where page faults are slow.
//!
//! The modules, each with those above it only:
//!
//! | module | holds |
//! |---|---|
//! | [`processor`] | what is written for one processor: system calls, this thread, trampolines |
//! | [`errno`], [`sys`] | system calls, made directly |
//! | [`mod@line`], [`verified_descriptor`], [`sink`] | a log line, and where it goes |
//! | [`generation`] | which process this is: the page that the kernel wipes at a fork |
//! | [`threads`] | whether the loader's locks can be trusted here |
//! | [`ownership`], [`descriptors`] | which libpq objects and descriptors this process owns |
//! | [`slot`], [`tree`], [`stats`] | counters |
//! | [`fork_barrier`], [`fence`], [`connect_section`] | what a fork must not cut in two |
//! | [`abandon`], [`child`] | the child handler |

#![no_std]

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
pub mod processor;
pub mod sink;
pub mod slot;
pub mod stats;
pub mod sys;
pub mod threads;
pub mod tree;
pub mod verified_descriptor;

#[cfg(test)]
extern crate std;
