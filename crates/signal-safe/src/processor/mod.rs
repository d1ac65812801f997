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
#[macro_use]
#[path = "x86_64.rs"]
mod this;

#[cfg(all(
    target_arch = "aarch64",
    target_pointer_width = "64",
    target_endian = "little",
    not(forkguard_other_processor)
))]
#[macro_use]
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
#[macro_use]
#[path = "other.rs"]
mod this;

pub use this::*;

use core::ffi::c_int;

// Each is the first of its name in the global scope, no matter in which object. Not called as a function of
// libc's, for the compiler would call the one of this library.
by_name! {
    /// `close`, by its name.
    ///
    /// # Safety
    /// As close(2).
    close_by_name = "close" (fd: c_int) -> c_int
}
by_name! {
    /// `socket`, by its name.
    ///
    /// # Safety
    /// As socket(2).
    socket_by_name = "socket" (family: c_int, kind: c_int, protocol: c_int) -> c_int
}
by_name! {
    /// `send`, by its name.
    ///
    /// # Safety
    /// As send(2).
    send_by_name = "send" (fd: c_int, buffer: usize, length: usize, flags: c_int) -> isize
}
by_name! {
    /// `recv`, by its name.
    ///
    /// # Safety
    /// As recv(2).
    recv_by_name = "recv" (fd: c_int, buffer: usize, length: usize, flags: c_int) -> isize
}
by_name! {
    /// `poll`, by its name.
    ///
    /// # Safety
    /// As poll(2).
    poll_by_name = "poll" (list: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int
}

mod syscall;
pub use syscall::system_call;
