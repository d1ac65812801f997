//! A table of libpq's objects by their address.
//!
//! Lock-free, for `PQcancel` looks its object up in a signal handler
//! (signal-safety: libpq-cancel.html says it is safe there). Records are never
//! given back, only used again: a pointer to one stays good.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};
use std::boxed::Box;

use crate::memory;
use forkguard_signal_safe::ownership;

/// What a table holds.
pub trait Record: Sized + Sync + 'static {
    /// Empty.
    fn new() -> Self;
    /// The object's address, 0 while there is none, 1 while it is being made.
    fn key(&self) -> &AtomicUsize;
}

/// Up to `N` objects, `N` a power of two; what finds no place is not known.
pub struct Table<R: Record, const N: usize>([AtomicPtr<R>; N]);

/// How far from its place an object may be: with half of the places taken, one
/// in some millions finds none.
const WINDOW: usize = 32;
const BEING_MADE: usize = 1;

impl<R: Record, const N: usize> Table<R, N> {
    /// Empty.
    pub const fn empty() -> Self {
        Table([const { AtomicPtr::new(core::ptr::null_mut()) }; N])
    }

    fn places(&self, key: usize) -> impl Iterator<Item = &AtomicPtr<R>> {
        // Fibonacci hashing; malloc's addresses are multiples of 16.
        let start = (key >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (start..start + WINDOW).filter_map(|place| self.0.get(place % N))
    }

    /// The record of an object.
    #[inline]
    pub fn find(&self, key: usize) -> Option<&'static R> {
        if key <= BEING_MADE {
            return None; // a null pointer, which libpq takes everywhere
        }
        for place in self.places(key) {
            // SAFETY: null, or a record that is never given back.
            let record = unsafe { place.load(Acquire).as_ref() }?;
            if record.key().load(Acquire) == key {
                return Some(record);
            }
        }
        None
    }

    /// Makes a record for a new object; `fill` writes it before anybody finds
    /// it. `None`: no place or no memory. Only where it may allocate.
    pub fn insert(&self, key: usize, fill: impl FnOnce(&R)) -> Option<&'static R> {
        if key <= BEING_MADE {
            return None;
        }
        if let Some(old) = self.find(key) {
            self.forget(old); // freed past us, and used again
        }
        let record = self.places(key).find_map(|place| Self::claim(place))?;
        fill(record);
        ownership::count(true);
        record.key().store(key, Release);
        Some(record)
    }

    fn claim(place: &AtomicPtr<R>) -> Option<&'static R> {
        let mut record = place.load(Acquire);
        if record.is_null() {
            if !memory::is_plenty(core::mem::size_of::<R>()) {
                return None;
            }
            let new = R::new();
            new.key().store(BEING_MADE, Relaxed);
            record = Box::into_raw(Box::new(new));
            match place.compare_exchange(core::ptr::null_mut(), record, AcqRel, Acquire) {
                // SAFETY: just made, and never given back from here on.
                Ok(_) => return Some(unsafe { &*record }),
                Err(winner) => {
                    // SAFETY: ours alone: it was not published.
                    drop(unsafe { Box::from_raw(record) });
                    record = winner;
                }
            }
        }
        // SAFETY: a record that was published is never given back.
        let record = unsafe { &*record };
        let free = record
            .key()
            .compare_exchange(0, BEING_MADE, AcqRel, Relaxed)
            .is_ok();
        free.then_some(record)
    }

    /// The object is no more.
    pub fn forget(&self, record: &R) {
        if record.key().swap(0, AcqRel) > BEING_MADE {
            ownership::count(false);
        }
    }
}
