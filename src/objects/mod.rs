//! The objects that the loader has mapped: their list, and how one is read where it lies.

pub mod elf;
#[cfg(not(test))]
pub mod list;
