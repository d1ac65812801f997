//! Which process is this, and has it been forked since we looked?
//!
//! A fork through libc runs our child handler. `_Fork`, `clone` and raw system
//! calls do not, and leave a child with its parent's sockets all the same. So
//! one page is marked `MADV_WIPEONFORK`: the kernel gives every forked child
//! zeroes there (not the child of `vfork`, which shares its parent's memory,
//! and must change nothing). Each hook looks at the page first, which costs two
//! loads. The idea is that of AWS-LC's and s2n's fork detection.
//!
//! Where the kernel does not wipe (before Linux 4.14), or says that it does and
//! does not (emulators), process ids are compared instead, at each closer look at a
//! descriptor of ours and in each shim: a system call each time. That does not see a raw
//! child with its parent's pid (`CLONE_NEWPID`, each the first of its namespace).
//!
//! Until a process, or one that it was forked from, has had a session, there is nothing to
//! protect. Until then no process id is asked for, and no hook makes a system call (a
//! sandbox may kill for it).

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

use super::sink::{self, Level};
use super::sys;

/// The page: 1 where the last fork is handled, 0 when wiped.
struct Page {
    mark: AtomicI32,
}

/// Stands in until the constructor has run, and for the policy `off`.
#[link_section = ".data.forkguard"]
static NO_PAGE: Page = Page {
    mark: AtomicI32::new(1),
};
/// Takes the page's place where process ids are compared: every hook looks closer.
#[link_section = ".data.forkguard"]
static NEVER_HANDLED: Page = Page {
    mark: AtomicI32::new(0),
};
#[link_section = ".data.forkguard"]
static PAGE: AtomicPtr<Page> = AtomicPtr::new(&raw const NO_PAGE as *mut Page);
#[link_section = ".data.forkguard"]
static WIPED_BY_KERNEL: AtomicBool = AtomicBool::new(false);
/// The kernel says yes to what no kernel does: qemu-user, for which `vfork(2)` is a
/// fork (linux-user/syscall.c, `do_fork`).
static IS_EMULATED: AtomicBool = AtomicBool::new(false);

/// The pid written last, in ordinary memory: in a child whose page was wiped
/// it still names the parent. 0 before the first session.
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

/// Which processes the last generations were, by number: pid and generation, for
/// reports of which process opened a session. Older ones are forgotten.
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
    // SAFETY: PAGE points to one of the two above or to a mapping that is never given
    // back, zeroed by the kernel, for which `Page` (one atomic) is valid.
    unsafe { &*PAGE.load(Relaxed) }
}

/// Maps the page. Called once, by the constructor.
pub fn start() {
    // The smallest page there is: the kernel rounds up to its own.
    const SIZE: usize = 4096;
    match sys::map_wiped_on_fork(SIZE) {
        Ok(Some(address)) => {
            WIPED_BY_KERNEL.store(true, Relaxed);
            PAGE.store(address.cast(), Relaxed);
            set_fork_handled();
        }
        Ok(None) => {}
        Err(sys::Emulated) => IS_EMULATED.store(true, Relaxed),
    }
}

/// Whether the kernel tells raw forks (Linux 4.14 and later).
pub fn raw_forks_are_seen() -> bool {
    WIPED_BY_KERNEL.load(Relaxed)
}

/// Whether this process, or one that it was forked from, has had a session.
#[inline]
pub fn has_had_session() -> bool {
    LAST_PID.load(Relaxed) != 0
}

/// A session begins. False in a child of `vfork`, which may not write here.
pub fn begin_session() -> bool {
    if has_had_session() {
        return is_own_memory();
    }
    if !sys::knows_its_thread() && sys::shares_memory_with(sys::parent_pid()) == Ok(true) {
        return false;
    }
    LAST_PID.store(sys::pid(), Relaxed);
    if !raw_forks_are_seen() {
        compare_pids();
    }
    true
}

/// In a child whose page is what it was: the kernel has not told the truth.
#[cold]
pub fn distrust() {
    WIPED_BY_KERNEL.store(false, Relaxed);
    if has_had_session() {
        compare_pids();
    }
}

#[cold]
fn compare_pids() {
    PAGE.store((&raw const NEVER_HANDLED).cast_mut(), Relaxed);
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        sink::say(Level::Warn, |line| {
            line.push(b"this kernel does not wipe memory in forked children (MADV_WIPEONFORK): ")
                .push(b"process ids are compared instead, which is slower");
        });
    }
}

/// Whether process ids are compared. Then [`is_fork_handled`] is always false, in the
/// process that handled its fork as well.
#[inline]
pub fn compares_pids() -> bool {
    core::ptr::eq(PAGE.load(Relaxed), &NEVER_HANDLED)
}

/// Whether a child of `vfork` has memory of its own here.
pub fn vfork_copies() -> bool {
    IS_EMULATED.load(Relaxed)
}

/// False in a child whose fork has not been handled yet, and where [`compares_pids`].
#[inline]
pub fn is_fork_handled() -> bool {
    page().mark.load(Relaxed) != 0
}

/// Marks the page, and notes this process's pid where there has been a session: what
/// is inherited has been dealt with.
pub fn set_fork_handled() {
    if has_had_session() {
        LAST_PID.store(sys::pid(), Relaxed);
    }
    if !compares_pids() {
        page().mark.store(1, Release);
    }
}

/// The process that last handled a fork: in a child's handler, the parent. 0 before the
/// first session.
pub fn last_pid() -> c_int {
    LAST_PID.load(Relaxed)
}

/// Whether the memory around us belongs to this process. False in a child of
/// `vfork`, which would write its parent's tables. Where a sandbox hides
/// the pid, the answer is true: a session that is not recorded would be the greater harm.
/// Before the first session the pid is not asked for: what is written then does no
/// harm in the other's memory (`src/tracker.rs`).
pub fn is_own_memory() -> bool {
    match LAST_PID.load(Relaxed) {
        0 => true,
        last => {
            let pid = sys::pid();
            pid < 0 || pid == last
        }
    }
}

/// The generation that forked through libc last.
#[link_section = ".data.forkguard"]
static FORKED: AtomicU32 = AtomicU32::new(0);

/// This process is about to fork through libc. Written once in a process.
pub fn before_fork() {
    let mine = current();
    if FORKED.load(Relaxed) != mine {
        FORKED.store(mine, Relaxed);
    }
}

/// In the child handler: whether no hook has looked after this child before, in a
/// signal handler.
pub fn is_just_forked() -> bool {
    FORKED.load(Relaxed) == current()
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
