//! What the tests stand on: a private server, programs built from `tests/programs`, and runs
//! of real programs with and without the library.

#![allow(missing_docs)] // for tests alone

mod bouncer;
mod build;
mod cluster;
mod proxy;
mod run;
mod server_log;

pub use bouncer::Bouncer;
pub use build::{
    broken, compile, compile_with, extensions, library, php, psycopg_compiled, python, root,
    script, venv,
};
pub use cluster::{cluster, own, own_of, wait_until, Cluster, Transport};
pub use proxy::{Network, Proxy, Until};
pub use run::{other_system, slowness, Outcome, Policy, Run, Running};
