//! Which process is this, and has it been forked since we looked?
//!
//! A fork through libc runs our child handler. `_Fork`, `clone` and raw system
//! calls do not, and leave a child with its parent's sockets all the same. So
//! one page is marked `MADV_WIPEONFORK`: the kernel gives every forked child
//! zeroes there (not the child of `vfork`, which shares its parent's memory,
//! and must change nothing). Each hook looks at the page first, which costs two
//! loads. The idea is that of AWS-LC's and s2n's fork detection.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

use super::sys;

/// The page: the pid of the process that looked last, 0 when wiped.
struct Page {
    pid: AtomicI32,
}

/// Stands in until the constructor has run, and where no page can be had: it
/// is never wiped, so raw forks go unnoticed and fork handlers still work.
#[link_section = ".data.forkguard"]
static NO_PAGE: Page = Page {
    pid: AtomicI32::new(-1),
};
#[link_section = ".data.forkguard"]
static PAGE: AtomicPtr<Page> = AtomicPtr::new(&raw const NO_PAGE as *mut Page);
#[link_section = ".data.forkguard"]
static WIPED_BY_KERNEL: AtomicBool = AtomicBool::new(false);

/// The pid written last, in ordinary memory: in a child whose page was wiped
/// it still names the parent.
#[link_section = ".data.forkguard"]
static LAST_PID: AtomicI32 = AtomicI32::new(0);

/// The pid namespace of a process that had sessions, this one or one before it, by
/// [`sys::pid_namespace`]; 0: none was noted.
#[link_section = ".data.forkguard"]
static NAMESPACE: AtomicU64 = AtomicU64::new(0);

/// Counts the forks between the first process and this one. A descriptor is
/// inherited when it was recorded under an earlier number.
#[link_section = ".data.forkguard"]
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// Who the last generations were, by number: pid and generation, for who tells
/// which process opened a session. Older ones are forgotten.
static ANCESTORS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// The process of `generation`, this one's parent, is `pid`.
pub fn note_parent(generation: u32, pid: c_int) {
    if let Some(place) = ANCESTORS.get(generation as usize % ANCESTORS.len()) {
        place.store(u64::from(generation) << 32 | u64::from(pid as u32), Relaxed);
    }
}

/// The pid of a process this one descends from, by the low 24 bits of its
/// generation.
pub fn ancestor(generation: u64) -> Option<c_int> {
    let known = ANCESTORS.get(generation as usize % ANCESTORS.len())?;
    let known = known.load(Relaxed);
    (known != 0 && known >> 32 & 0xff_ffff == generation).then_some(known as u32 as c_int)
}

#[inline]
fn page() -> &'static Page {
    // SAFETY: PAGE points to NO_PAGE or to a mapping that is never given back,
    // zeroed by the kernel, for which `Page` (one atomic) is valid.
    unsafe { &*PAGE.load(Relaxed) }
}

/// Maps the page and settles in. Called once, by the constructor.
pub fn start() {
    // The smallest mapping: the kernel rounds up to its page.
    const SIZE: usize = 4096;
    if let Some((address, wiped)) = sys::map_wiped_on_fork(SIZE) {
        WIPED_BY_KERNEL.store(wiped, Relaxed);
        PAGE.store(address.cast(), Relaxed);
    }
    settle();
}

/// Whether the kernel tells raw forks (Linux 4.14 and later).
pub fn raw_forks_are_seen() -> bool {
    WIPED_BY_KERNEL.load(Relaxed)
}

/// False in a child that has not been looked after yet.
#[inline]
pub fn is_settled() -> bool {
    page().pid.load(Relaxed) != 0
}

/// Writes this process's pid on the page: what is inherited has been dealt with.
pub fn settle() {
    let pid = sys::pid();
    LAST_PID.store(pid, Relaxed);
    page().pid.store(pid, Release);
}

/// The process that was settled last: in a child's handler, the parent.
pub fn last_pid() -> c_int {
    LAST_PID.load(Relaxed)
}

/// Notes the pid namespace, in a process that opens a session: two microseconds, beside
/// the milliseconds of that.
pub fn note_namespace() {
    if let Ok(namespace) = sys::pid_namespace() {
        NAMESPACE.store(namespace, Relaxed);
    }
}

/// Whether [`last_pid`] is known to mean here what it meant there. A process never leaves
/// its namespace, and its children are in the same or in one below (setns(2)): so where
/// ours is that of any process before us, it is that of each one in between.
pub fn is_in_known_namespace() -> bool {
    let noted = NAMESPACE.load(Relaxed);
    noted != 0 && sys::pid_namespace() == Ok(noted)
}

/// Whether the memory around us belongs to this process. False in a child of
/// `vfork`, which would write its parent's tables. Where a sandbox will not say
/// who we are, a session that was not recorded would be the greater harm.
pub fn is_own_memory() -> bool {
    let pid = sys::pid();
    pid < 0 || page().pid.load(Relaxed) == pid
}

/// This process's generation.
#[inline]
pub fn current() -> u32 {
    GENERATION.load(Acquire)
}

/// Ends generation `old`: what was recorded under it is now inherited. Nothing
/// happens when another thread has done so already.
pub fn end(old: u32) {
    let _ = GENERATION.compare_exchange(old, old.wrapping_add(1), AcqRel, Relaxed);
}
