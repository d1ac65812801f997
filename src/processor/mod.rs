//! What is written for one processor.
//!
//! A new one needs a file like `x86_64.rs`; on all others, where
//! [`HAS_TRAMPOLINE`] is false, no libpq is looked for and level 1 alone holds.
//! `--cfg forkguard_other_processor` takes `other.rs` anywhere, to check it.

#[cfg(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    not(forkguard_other_processor)
))]
#[path = "x86_64.rs"]
mod this;

#[cfg(all(
    target_arch = "aarch64",
    target_pointer_width = "64",
    target_endian = "little",
    not(forkguard_other_processor)
))]
#[path = "aarch64.rs"]
mod this;

#[cfg(not(all(
    any(
        target_arch = "x86_64",
        all(target_arch = "aarch64", target_endian = "little")
    ),
    target_pointer_width = "64",
    not(forkguard_other_processor)
)))]
#[path = "other.rs"]
mod this;

pub use this::*;

mod syscall;
pub use syscall::system_call;
