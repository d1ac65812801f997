//! The fork handlers.
//!
//! Registered before any other library's ([`crate::load`], `-z initfirst`), so
//! that our prepare handler runs last and our child handler first. What is done
//! in the child is in [`forkguard_signal_safe::child`].

use forkguard_signal_safe::sys::Errno;
use forkguard_signal_safe::{child, descriptors, fence, generation, threads};

/// Registers them. An error is `pthread_atfork`'s: out of memory.
pub(crate) fn register() -> Result<(), Errno> {
    // SAFETY: the three functions are of the right type and are never unloaded
    // (`-z nodelete`).
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child::handler)) } {
        0 => Ok(()),
        errno => Err(Errno::of(errno)),
    }
}

extern "C" fn prepare() {
    generation::before_fork();
    // With other threads, also because one may walk the list of objects
    // (`hooks::loader`).
    if threads::before_fork() | descriptors::any() {
        fence::raise();
    }
}

extern "C" fn parent() {
    fence::lower();
}
