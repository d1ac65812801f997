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
mod x86_64;
#[cfg(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    not(forkguard_other_processor)
))]
use x86_64 as this;

#[cfg(not(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    not(forkguard_other_processor)
)))]
mod other;
#[cfg(not(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    not(forkguard_other_processor)
)))]
use other as this;

pub use this::*;

mod syscall;
pub use syscall::system_call;
