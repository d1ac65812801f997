//! The observer of sessions in use: the detector, which the constructor registers once.
//!
//! Hooks and shims call what is registered here, so they need not know the detector.

use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::*};

use crate::libpq::Library;
use forkguard_signal_safe::descriptors::Entry;

/// What an observer wants to know. Each function may be called in a signal handler.
pub(crate) struct Observer {
    /// Bytes are about to move on the inherited session at this descriptor, by this function of
    /// libc's: out, if the last argument says so.
    pub bytes_move: fn(c_int, Entry, &str, bool),
    /// The program calls this function of libpq's, on the object that is its first argument; its
    /// shim's frame is at this place of the stack.
    pub call_begins: fn(&Library, usize, usize, usize),
    /// Objects have been loaded.
    pub objects_came: fn(),
}

static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(null_mut());

/// Calls `observer` from now on. Once, by the constructor.
pub(crate) fn register(observer: &'static Observer) {
    OBSERVER.store((&raw const *observer).cast_mut(), Release);
}

/// The observer, if there is one.
#[inline]
pub(crate) fn registered() -> Option<&'static Observer> {
    // SAFETY: null, or what `register` was given.
    unsafe { OBSERVER.load(Acquire).as_ref() }
}
