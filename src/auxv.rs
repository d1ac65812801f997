//! What the kernel tells a program at its start (getauxval(3)).
//!
//! Read from the stack, behind the environment, where the kernel has put it: a
//! function can be interposed, and these values are asked for inside `dlsym`.

use core::ffi::c_char;
use core::sync::atomic::{AtomicPtr, Ordering::*};

/// Pairs of key and value; the last key is 0 (`AT_NULL`).
static VECTOR: AtomicPtr<[usize; 2]> = AtomicPtr::new(core::ptr::null_mut());

/// More than any kernel passes (some 25).
const MOST: usize = 64;

/// Takes the vector behind `environment`.
///
/// # Safety
/// `environment` must be the one that the kernel has put on the stack, before
/// anybody has changed it.
pub(crate) unsafe fn start(environment: *mut *const c_char) {
    if environment.is_null() {
        return;
    }
    let mut end = environment;
    // SAFETY: the caller's promise: a list that ends with null, and behind it the
    // vector (System V ABI, AMD64 supplement, 3.4.1).
    unsafe {
        while !(*end).is_null() {
            end = end.add(1);
        }
        VECTOR.store(end.add(1).cast(), Relaxed);
    }
    // Whatever is not a vector has no page size where one is looked for.
    if !found(libc::AT_PAGESZ as usize).is_some_and(usize::is_power_of_two) {
        VECTOR.store(core::ptr::null_mut(), Relaxed);
    }
}

fn found(key: usize) -> Option<usize> {
    let vector = VECTOR.load(Relaxed);
    if vector.is_null() {
        return None;
    }
    (0..MOST)
        // SAFETY: the vector, as `start` was promised, up to its end.
        .map(|index| unsafe { vector.add(index).read() })
        .take_while(|[key, _]| *key != 0)
        .find_map(|[its, value]| (its == key).then_some(value))
}

/// A value; 0 where the kernel has not told it.
pub(crate) fn value(key: libc::c_ulong) -> usize {
    if VECTOR.load(Relaxed).is_null() {
        // Before our constructor (once, for the program's headers), or where we came
        // by `dlopen` and guard nothing. Who interposes it and asks `dlsym` for the
        // real one is answered: the hook does not enter itself.
        // SAFETY: takes a number and returns one.
        return unsafe { libc::getauxval(key) as usize };
    }
    found(key as usize).unwrap_or(0)
}
