//! `dlsym` and `dlvsym`: where a libpq that was loaded later is found.
//!
//! Whoever loads an extension with `dlopen` asks for its first function with
//! `dlsym`. Both are exported as tail jumps ([`crate::processor`]): ld.so looks
//! at the caller's return address, and answers, errors and `dlerror`'s text are
//! all its own.
//!
//! Before the jump we look whether objects have come since the last scan, and
//! if so, scan, with the loader's own lock held. There is one documented way to
//! run inside it: `dlsym` calls the resolver of an indirect function
//! (STT_GNU_IFUNC) before it lets the lock go. So one is looked up that is
//! ours, and its resolver is the scan.

use core::sync::atomic::{AtomicPtr, Ordering::*};

use core::ffi::{c_char, c_void};

use super::notice_fork;
use crate::detector;
use crate::libpq::bind;
use crate::libpq::elf::Object;
use crate::processor;
use crate::signal_safe::sys::KeepErrno;
use crate::signal_safe::{fence, threads};

static DLSYM: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static DLVSYM: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Looks the real functions up, and what tells of threads.
pub fn resolve() {
    if !processor::HAS_TRAMPOLINE {
        return;
    }
    let dlsym = real(&DLSYM, b"dlsym");
    real(&DLVSYM, b"dlvsym");
    if !dlsym.is_null() {
        threads::start(look_up(dlsym, c"__libc_single_threaded").cast());
    }
}

/// Called by the exported `dlsym`, which jumps to what it returns.
pub extern "C" fn before_dlsym() -> *const () {
    before(&DLSYM, b"dlsym")
}

/// Called by the exported `dlvsym`, which jumps to what it returns.
pub extern "C" fn before_dlvsym() -> *const () {
    before(&DLVSYM, b"dlvsym")
}

#[inline(always)]
fn before(known: &AtomicPtr<()>, name: &[u8]) -> *const () {
    let mut real_function: *const () = known.load(Relaxed);
    if real_function.is_null() {
        real_function = first_call(known, name);
    }
    if bind::is_on() {
        look(DLSYM.load(Relaxed));
    }
    real_function
}

/// Somebody calls before our constructor has run.
#[cold]
#[inline(never)]
fn first_call(known: &AtomicPtr<()>, name: &[u8]) -> *const () {
    // Or even before we have been relocated: a resolver of an indirect function,
    // in an object that is loaded with us. No function outside can be called yet.
    static RELOCATED: fn(&AtomicPtr<()>, &[u8]) -> *const () = first_call;
    // SAFETY: a static of ours; volatile, for the compiler knows what it holds.
    let relocated = unsafe { (&raw const RELOCATED).cast::<usize>().read_volatile() };
    if relocated != here() {
        return nothing as *const ();
    }
    match real(known, name) {
        found if found.is_null() => nothing as *const (),
        found => found,
    }
}

/// The address of [`first_call`], without a relocation.
#[inline(always)]
fn here() -> usize {
    first_call as *const () as usize
}

/// Stands in for a `dlsym` that is nowhere.
extern "C" fn nothing() -> *const c_void {
    core::ptr::null()
}

/// The next definition behind ours, found as `RTLD_NEXT` would: by its name, in
/// the objects behind us, or where there is none, before us.
#[cold]
fn real(known: &AtomicPtr<()>, name: &[u8]) -> *const () {
    let mut passed_us = false;
    let (mut before, mut behind) = (0, 0);
    bind::each_sound_object(&mut |object: &Object| {
        if object.holds(here()) {
            passed_us = true;
        } else if let Some(found) = object.find(name) {
            let place = if passed_us { &mut behind } else { &mut before };
            if *place == 0 {
                *place = found.address;
            }
        }
        behind == 0
    });
    let found = if behind != 0 { behind } else { before };
    known.store(found as *mut (), Relaxed);
    found as *const ()
}

/// `dlsym(RTLD_DEFAULT, …)` by the real function; the caller is this library.
#[inline(never)]
fn look_up(dlsym: *const (), name: &core::ffi::CStr) -> *mut c_void {
    type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    // SAFETY: the next definition of `dlsym`, and a C string.
    let found = unsafe {
        core::mem::transmute::<*const (), Dlsym>(dlsym)(libc::RTLD_DEFAULT, name.as_ptr())
    };
    // Not a tail call: the return address must be ours.
    core::hint::black_box(found)
}

/// Before a fork: a plug-in that its constructor has entered somewhere is never
/// asked for by `dlsym`. Not beside other threads: one of them may be inside a
/// constructor, with the lock, and wait for us.
pub fn before_fork() {
    if bind::is_on() && !threads::are_many() {
        look(DLSYM.load(Relaxed));
    }
}

#[inline(never)]
fn look(dlsym: *const ()) {
    let _errno = KeepErrno::now(); // the loader may set it
    notice_fork();
    if dlsym.is_null() {
        return;
    }
    // Where the cheap question might hang, it is asked with the lock held.
    if !threads::loader_is_sound() || guarded_from_forks(bind::is_something_new) {
        look_up(dlsym, processor::LOOK_AROUND);
    }
}

/// Walks the list of objects. A fork by another thread meanwhile would leave the
/// child with the lock of `dl_iterate_phdr`, which nobody makes anew there.
fn guarded_from_forks<R>(walk: impl FnOnce() -> R) -> R {
    let place = threads::are_many().then(fence::enter);
    let result = walk();
    if let Some(place) = place {
        fence::leave(place);
    }
    result
}

/// The resolver of an indirect function: the loader's lock is held. What it
/// returns is nobody's.
pub extern "C" fn look_around() -> *const () {
    if bind::is_on() {
        guarded_from_forks(|| {
            // Another thread may have been here first.
            if bind::is_something_new() {
                bind::scan();
                detector::objects_have_come();
            }
        });
    }
    nothing as *const ()
}
