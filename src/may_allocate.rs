//! The token of code that may allocate and take locks.
//!
//! Such code asks for a [`MayAllocate`]. A thread holds one at a time: a signal handler that
//! calls an interposed `close` or `write` while its thread holds one gets none, and does
//! without. The code of [`forkguard_signal_safe`] cannot make one.

use core::cell::Cell;
use core::marker::PhantomData;

use forkguard_signal_safe::generation;

std::thread_local! {
    // Const and without a destructor: plain thread-local memory, nothing to
    // initialise, usable at any moment of a thread's life.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Held by code that may allocate and lock.
pub(crate) struct MayAllocate(PhantomData<*const ()>);

impl MayAllocate {
    /// `None` inside another one on this thread, or in a child of `vfork`,
    /// which would write its parent's memory.
    pub(crate) fn enter() -> Option<MayAllocate> {
        if !generation::is_own_memory() {
            return None;
        }
        INSIDE
            .try_with(|inside| !inside.replace(true))
            .unwrap_or(false)
            .then_some(MayAllocate(PhantomData))
    }
}

impl Drop for MayAllocate {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.set(false));
    }
}
