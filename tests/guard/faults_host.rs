//! Faults in the host: memory, descriptors, signals, the kernel, other libraries. Each is brought
//! about for real; docs/RELIABILITY.md is their table, and names the tests.

mod companions;
mod descriptors;
mod inherited;
mod kernel;
mod lies;
mod log;
mod memory;
mod places;
mod sandboxes;
mod signals;
mod unloading;

/// Every case, where this is set: tens of minutes. Otherwise some, in seconds.
fn all() -> bool {
    std::env::var_os("FORKGUARD_TEST_ALL").is_some()
}
