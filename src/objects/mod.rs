//! The objects that the loader has mapped: their list, and how one is read where it lies.

pub(crate) mod elf;
#[cfg(not(test))]
pub(crate) mod list;
