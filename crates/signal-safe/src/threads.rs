//! Whether the loader's locks can be trusted in this process.
//!
//! A child of a threaded parent has the parent's locks as they were. In a child glibc
//! resets `dl_load_lock`, which `dlsym` takes, but not `dl_load_write_lock`, which
//! `dl_iterate_phdr` takes (posix/fork.c). And the list that they guard may be half
//! changed. So such a child, and what it forks, never calls `dl_iterate_phdr`, and walks
//! the list with care.

use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};

/// glibc's `__libc_single_threaded` (2.32 and later), or null.
#[link_section = ".data.forkguard"]
static SINGLE: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Whether there were other threads when this process forked last.
#[link_section = ".data.forkguard"]
static AT_FORK: AtomicBool = AtomicBool::new(false);

/// For ever, once it is so.
#[link_section = ".data.forkguard"]
static LOADER_UNSURE: AtomicBool = AtomicBool::new(false);

/// Takes the address of `__libc_single_threaded`. Once, by the constructor.
pub fn start(single: *mut c_char) {
    SINGLE.store(single, Relaxed);
}

/// Whether there may be other threads now.
pub fn are_many() -> bool {
    let single = SINGLE.load(Relaxed);
    // SAFETY: null, or libc's variable, one byte that lives as long as libc.
    single.is_null() || unsafe { single.read_volatile() } == 0
}

/// Only what changes is written: the first write to a page after a fork costs a copy.
fn set(flag: &AtomicBool, value: bool) {
    if flag.load(Relaxed) != value {
        flag.store(value, Relaxed);
    }
}

/// This process is about to fork: whether there may be other threads.
pub fn before_fork() -> bool {
    let many = are_many();
    set(&AT_FORK, many);
    many
}

/// In a child, however it was made. One that starts threads of its own before
/// its first interposed call is taken for a child of a threaded parent.
pub fn in_child() {
    if AT_FORK.load(Relaxed) || are_many() {
        set(&LOADER_UNSURE, true);
    }
}

/// Whether `dl_iterate_phdr` may be called here.
#[inline]
pub fn loader_is_sound() -> bool {
    !LOADER_UNSURE.load(Relaxed)
}
