//! The library's lock-free files, unchanged, on loom's atomics.
//!
//! loom runs a model again and again, with every order in which its threads' steps can be taken
//! and every value that the memory model lets a load see. The files under test say
//! `core::sync::atomic`; here the crate itself goes by the name of `core`, and has that one module
//! of its own (`atomic.rs`). So the shipped code knows nothing of loom.
//!
//! What these files ask of the system (`sys.rs`) is the model's: which thread this is, what is
//! open under a number, and that time does not pass unless a bound is 0.

extern crate self as core;
// Under this name the table of libpq's objects asks for `ownership`.
extern crate self as forkguard_signal_safe;

// `core`, as the files under test know it.
#[doc(hidden)]
pub use ::std::*;

/// `core::sync` with loom's atomics.
#[cfg(not(test))]
#[path = "."]
pub mod sync {
    pub mod atomic;
}

/// The modules of `crates/signal-safe` that are modelled.
// Not under `cargo test FILTER`, which takes `test = false` lightly: the library's own tests know
// nothing of loom.
#[cfg(not(test))]
#[allow(dead_code, missing_docs)]
#[path = "../../crates/signal-safe/src"]
pub mod signal_safe {
    pub mod descriptors;
    pub mod errno;
    pub mod fence;
    pub mod fork_barrier;
    pub mod generation;
    pub mod ownership;
    /// Nothing is said.
    pub mod sink {
        pub enum Level {
            Warn,
        }
        pub struct Line;
        impl Line {
            pub fn push(&mut self, _: &[u8]) -> &mut Self {
                self
            }
        }
        pub fn say(_: Level, _: impl FnOnce(&mut Line)) {}
    }
    #[path = "../../../tests/loom/sys.rs"]
    pub mod sys;
}

#[cfg(not(test))]
#[doc(hidden)]
pub use signal_safe::ownership;

/// The table of libpq's objects.
#[cfg(not(test))]
#[path = "../../src/session"]
pub mod session {
    pub mod table;
}

/// There is always memory.
pub mod memory {
    /// There is.
    pub fn is_plenty(_: usize) -> bool {
        true
    }
}

#[cfg(not(test))]
mod model;
#[cfg(not(test))]
pub use model::{fails, holds, Weaken};
