//! `dlsym` and `dlvsym`: where a libpq that was loaded later is found.
//!
//! A program that loads an extension with `dlopen` then asks for its first function with
//! `dlsym`. `dlsym` and `dlvsym` are exported as tail jumps (`super::trampoline`): ld.so looks
//! at the caller's return address, and answers, errors and `dlerror`'s text are
//! all its own.
//!
//! Before the jump we look whether objects have come since the last scan, and
//! if so, scan, with the loader's own lock held. There is one documented way to
//! run inside it: `dlsym` calls the resolver of an indirect function
//! (STT_GNU_IFUNC) before it lets the lock go. So one is looked up that is
//! ours, and its resolver is the scan.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};

use core::ffi::{c_char, c_void, CStr};
use std::string::String;

use crate::boundary::notice_fork;
use crate::objects::elf::Object;
use crate::objects::list;
use crate::{bind, observer};
use forkguard_proto::interposers;
use forkguard_signal_safe::processor;
use forkguard_signal_safe::sys::KeepErrno;
use forkguard_signal_safe::{fence, generation, threads};

/// The name under which `super::trampoline` exports [`look_around`].
const LOOK_AROUND: &CStr = c"forkguard_look_around_under_the_loaders_lock";

static DLSYM: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static DLVSYM: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Calls `with` with the names of this file, and where the real functions are kept.
pub(crate) fn each_real(with: &mut dyn FnMut(&[u8], &AtomicPtr<()>)) {
    if processor::HAS_TRAMPOLINE {
        with(b"dlsym", &DLSYM);
        with(b"dlvsym", &DLVSYM);
    }
}

/// Looks up what tells of threads.
pub(crate) fn find_threads() {
    if !processor::HAS_TRAMPOLINE {
        return;
    }
    let dlsym = DLSYM.load(Relaxed);
    if !dlsym.is_null() {
        threads::start(look_up(dlsym, c"__libc_single_threaded").cast());
    }
}

/// Called by the exported `dlsym`, which jumps to what it returns.
pub(crate) extern "C" fn before_dlsym() -> *const () {
    before(&DLSYM, b"dlsym")
}

/// Called by the exported `dlvsym`, which jumps to what it returns.
pub(crate) extern "C" fn before_dlvsym() -> *const () {
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
    // What we call below may be another library's, which looks the real one up.
    let mut found = core::ptr::null();
    once_on_this_thread(|| found = real(known, name));
    if found.is_null() {
        nothing as *const ()
    } else {
        found
    }
}

/// The threads that are inside [`once_on_this_thread`], with the generation: in a
/// child another thread's place is free.
static INSIDE: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

/// Runs `ours`, unless it is already running on this thread: the library that calls us may
/// interpose what `ours` calls, again and again. No thread-local variable: this may
/// run before we have been relocated. With more threads than places one may do
/// so twice.
fn once_on_this_thread(ours: impl FnOnce()) {
    // No two threads' control blocks are as near as 64 bytes.
    let mark = |thread: usize| thread & !0x3f | generation::current() as usize & 0x3f;
    let me = mark(processor::this_thread());
    if INSIDE.iter().any(|place| place.load(Relaxed) == me) {
        return;
    }
    let mine = INSIDE.iter().find(|place| {
        let there = place.load(Relaxed);
        (there == 0 || there & 0x3f != me & 0x3f)
            && place.compare_exchange(there, me, Relaxed, Relaxed).is_ok()
    });
    ours();
    if let Some(mine) = mine {
        mine.store(0, Relaxed);
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

#[cold]
fn real(known: &AtomicPtr<()>, name: &[u8]) -> *const () {
    let found = next(name);
    known.store(found.cast_mut(), Relaxed);
    found
}

/// The next definition behind ours, found as `RTLD_NEXT` would: by its name, in
/// the objects behind us, or where there is none, before us. Null: nowhere.
/// Without `dlsym`: that of another library before us would ask for the next one
/// behind itself, and find us.
#[cold]
pub(crate) fn next(name: &[u8]) -> *const () {
    let mut passed_us = false;
    let (mut before, mut behind) = (0, 0);
    list::each_sound_object(&mut |object: &Object| {
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
    (if behind != 0 { behind } else { before }) as *const ()
}

/// As [`next`], of many names in one walk: `each` calls what it is given with each
/// name and where its function is kept.
pub(crate) fn next_of_all(each: impl Fn(&mut dyn FnMut(&[u8], &AtomicPtr<()>))) {
    let mut passed_us = false;
    list::each_sound_object(&mut |object: &Object| {
        if !passed_us {
            passed_us = object.holds(here());
            return true;
        }
        let mut is_any_left = false;
        each(&mut |name, known| {
            if known.load(Relaxed).is_null() {
                match object.find(name) {
                    Some(found) => known.store(found.address as *mut (), Relaxed),
                    None => is_any_left = true,
                }
            }
        });
        is_any_left
    });
    each(&mut |name, known| {
        if known.load(Relaxed).is_null() {
            known.store(next(name).cast_mut(), Relaxed);
        }
    });
}

/// A library that stands before us where names are looked up.
pub(crate) struct Before {
    /// Its path, as the loader has it, and ours.
    pub paths: [&'static CStr; 2],
    /// The first function that is looked up there and not here, and how many are.
    pub first: String,
    /// How many there are.
    pub count: usize,
}

/// The first library before us that has functions of these names, and is not known to
/// pass its calls on. The program itself is none: a function of its own that is called as
/// one of libc's is the program's business, and libpq's bytes pass the shims.
pub(crate) fn before_us(each: impl Fn(&mut dyn FnMut(&[u8], &AtomicPtr<()>))) -> Option<Before> {
    let mut found = None;
    list::each_named_object(&mut |path, object| {
        // SAFETY: null, or the loader's own string of an object that is mapped; those
        // before us were loaded with the program, and stay.
        let path = (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) });
        let path: &'static CStr = path.unwrap_or_default();
        if object.holds(here()) {
            if let Some(Before { paths, .. }) = &mut found {
                paths[1] = path;
            }
            return false;
        }
        if found.is_none() && !path.is_empty() && !interposers::passes_on(path.to_bytes()) {
            let (mut first, mut count) = (String::new(), 0);
            each(&mut |name, _| {
                if object.find(name).is_some() {
                    count += 1;
                    if count == 1 {
                        first = String::from_utf8_lossy(name).into_owned();
                    }
                }
            });
            found = (count > 0).then_some(Before {
                paths: [path; 2],
                first,
                count,
            });
        }
        true
    });
    found
}

/// The first definition in the order in which names are looked up. Null: nowhere.
pub(crate) fn first(name: &[u8]) -> *const () {
    let mut first = 0;
    list::each_sound_object(&mut |object: &Object| {
        first = object.find(name).map_or(0, |found| found.address);
        first == 0
    });
    first as *const ()
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
pub(crate) fn before_fork() {
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
        // The next `dlsym` may be another library's, and call us in its turn.
        once_on_this_thread(|| {
            look_up(dlsym, LOOK_AROUND);
        });
    }
}

/// Walks the list of objects. A fork by another thread meanwhile would leave the
/// child with the lock of `dl_iterate_phdr` held for ever.
fn guarded_from_forks<R>(walk: impl FnOnce() -> R) -> R {
    let place = threads::are_many().then(fence::enter);
    let result = walk();
    if let Some(place) = place {
        fence::leave(place);
    }
    result
}

/// The resolver of an indirect function: the loader's lock is held. What it
/// returns is not used.
pub(crate) extern "C" fn look_around() -> *const () {
    if bind::is_on() {
        guarded_from_forks(|| {
            // Another thread may have been here first.
            if bind::is_something_new() {
                bind::scan();
                if let Some(observer) = observer::registered() {
                    (observer.objects_came)();
                }
            }
        });
    }
    nothing as *const ()
}
