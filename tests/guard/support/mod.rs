//! What the tests stand on: a private server, programs built from `tests/programs`, and runs
//! of real programs with and without the library.

// A helper is here because a test wants it; which ones do changes with the tests.
#![allow(dead_code, unused_imports)]

mod build;
mod cluster;
mod run;

pub use build::{compile, compile_with, library, python, root, venv};
pub use cluster::{cluster, own, Cluster, Transport};
pub use run::{Outcome, Run};
