//! Faults, built in for the tests that have to find them: what a child handler must not do
//! (`--cfg break_child_handler="…"`), memory used wrongly, which valgrind has to report
//! (`--cfg break_memory`), and a panic in each hook, which must go no further
//! (`--cfg panic_in_hooks`).

/// Called by the child handler, which is in a crate without `std`.
#[cfg(any(break_child_handler = "allocate", break_child_handler = "lock"))]
#[no_mangle]
extern "C" fn forkguard_break_child_handler() {
    #[cfg(break_child_handler = "allocate")]
    allocate();
    #[cfg(break_child_handler = "lock")]
    lock();
}

/// Allocates.
#[cfg(break_child_handler = "allocate")]
#[inline(never)]
pub(crate) fn allocate() {
    core::hint::black_box(std::boxed::Box::new(1u64));
}

/// Takes a lock.
#[cfg(break_child_handler = "lock")]
#[inline(never)]
pub(crate) fn lock() {
    static LOCK: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
    if let Ok(mut count) = LOCK.lock() {
        *count += 1;
    };
}

/// Makes a system call by a name.
#[cfg(break_child_handler = "symbol")]
#[inline(never)]
pub(crate) fn symbol() {
    // SAFETY: takes no memory.
    unsafe { libc::syscall(libc::SYS_sched_yield) };
}

/// Reads past the end of a block, decides on what was never written, and loses a block.
#[cfg(break_memory)]
#[inline(never)]
pub(crate) fn memory() {
    use core::hint::black_box;
    use std::boxed::Box;
    let lost: Box<[u8; 40]> = Box::new([0; 40]);
    let length = black_box(lost.len());
    let block = black_box(Box::into_raw(lost).cast::<u8>());
    let unwritten = black_box(Box::into_raw(Box::<[u8; 24]>::new_uninit()).cast::<u8>());
    // SAFETY: none, and that is what is to be found.
    unsafe {
        black_box(block.add(length).read_volatile());
        if unwritten.read_volatile() == 7 {
            black_box(block.write_volatile(7));
        }
    }
}

/// Panics when it is called for this piece of code for the first time: `guard` is the
/// address of what guards it, which no two share, as they do their names. Which one is
/// logged, for the hook that tells of panics knows no more than the line below.
#[cfg(panic_in_hooks)]
pub(crate) fn panic_once<F>(_: &F, guard: *const ()) {
    use core::sync::atomic::{AtomicPtr, Ordering::*};
    const PIECES: usize = 128;
    static SEEN: [AtomicPtr<()>; PIECES] =
        [const { AtomicPtr::new(core::ptr::null_mut()) }; PIECES];
    let mine = guard.cast_mut();
    for seen in &SEEN {
        match seen.compare_exchange(core::ptr::null_mut(), mine, AcqRel, Acquire) {
            Ok(_) => {
                log::error!("panics in {} {guard:p}", core::any::type_name::<F>());
                panic!();
            }
            Err(other) if other == mine => return,
            Err(_) => {}
        }
    }
}
