//! Faults in the host: memory, descriptors, signals, the kernel, other libraries. Each is brought
//! about for real; docs/RELIABILITY.md is their table, and names the tests.

mod memory;
