//! Whoever looks on while sessions are used: the detector, registered once by the constructor.
//!
//! Hooks and shims stand below it and do not know it: they say here what happens.

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
    /// shim stands at this place of the stack.
    pub call_begins: fn(&Library, usize, usize, usize),
    /// Objects have been loaded.
    pub objects_came: fn(),
}

static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(null_mut());

/// Tells `observer` from now on. Once, by the constructor.
pub(crate) fn register(observer: &'static Observer) {
    OBSERVER.store((&raw const *observer).cast_mut(), Release);
}

/// Who is told, if anybody is.
#[inline]
pub(crate) fn registered() -> Option<&'static Observer> {
    // SAFETY: null, or what `register` was given.
    unsafe { OBSERVER.load(Acquire).as_ref() }
}
