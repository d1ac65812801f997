//! The page that a tree of processes shares, and each one's slot in it.
//!
//! The first process that has something to count makes the page. The processes that it
//! forks inherit its memory and its descriptor, and each takes a slot of its own when it
//! has something to count. A process that can have no slot counts in its own memory, which
//! cannot be read from outside. Children of `CLONE_VM`, and those whose fork is not handled, count
//! nothing.
//!
//! No process waits for another. A killed process leaves its slot behind; the next
//! process to claim it adds its counts to `retired`. A slot's owner is known by its pid
//! *and* its beginning: in another pid namespace (`CLONE_NEWPID`) living processes look
//! gone, and one whose slot was taken for that reason sees so at its next count, and takes
//! another.
//!
//! Programs close descriptors they did not open. A page whose descriptor was closed can no
//! longer be read from outside. So at its next count the process makes a page of its own and
//! moves there. The old memory stays mapped, for another thread may be counting in it.

use core::ffi::c_int;
use core::mem::size_of;
use core::sync::atomic::Ordering::*;
use core::sync::atomic::{fence, AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicU8};

use super::sink::{self, Level};
use super::verified_descriptor::VerifiedDescriptor;
use super::{slot, sys};
use forkguard_proto::page::{Page, Slot, COUNTS, MAGIC, NAME, SLOTS, TEXT, VERSION};

/// Stands in for a slot of a page.
static PRIVATE: Slot = Slot {
    pid: AtomicU32::new(0),
    parent: AtomicU32::new(0),
    since: AtomicU64::new(0),
    counts: [const { AtomicU64::new(0) }; COUNTS],
    policy: AtomicU32::new(0),
    libpqs: AtomicU32::new(0),
    first_at: AtomicU64::new(0),
    last_at: AtomicU64::new(0),
    first_event: AtomicU32::new(0),
    last_event: AtomicU32::new(0),
    reason_turn: AtomicU32::new(0),
    reason_length: AtomicU32::new(0),
    reason: [const { AtomicU8::new(0) }; TEXT],
};

/// This process's slot; null before it has counted. [`PRIVATE`] where it can have no other.
#[link_section = ".data.forkguard"]
static SLOT: AtomicPtr<Slot> = AtomicPtr::new(core::ptr::null_mut());
/// [`Slot::since`] of it.
#[link_section = ".data.forkguard"]
static SINCE: AtomicU64 = AtomicU64::new(0);
/// A thread is taking it.
#[link_section = ".data.forkguard"]
static TAKING: AtomicBool = AtomicBool::new(false);
/// The process that forked this one; 0: the program began here.
#[link_section = ".data.forkguard"]
static PARENT: AtomicI32 = AtomicI32::new(0);
/// How often a page was made in this process and those before it.
#[link_section = ".data.forkguard"]
static MADE: AtomicU32 = AtomicU32::new(0);
static POLICY: AtomicU32 = AtomicU32::new(0);
static LIBPQS: AtomicU32 = AtomicU32::new(0);

static PAGE: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());
static DESCRIPTOR: VerifiedDescriptor = VerifiedDescriptor::none();

/// Programs that close everything do so once or twice; each page made for it is
/// some 80 KB that stay mapped.
const MOST_PAGES: u32 = 8;

/// The page, and this process's slot of it or [`PRIVATE`].
fn own_slot() -> Option<&'static Slot> {
    // SAFETY: null, PRIVATE, or in a page that stays mapped.
    unsafe { SLOT.load(Acquire).as_ref() }
}

fn page() -> Option<&'static Page> {
    // SAFETY: null, or a mapping that is never given back, whose size nobody can
    // change, and for which `Page` (atomics alone) is valid whatever is in it.
    unsafe { PAGE.load(Acquire).as_ref() }
}

/// Whether the slot is still this process's.
fn is_own(slot: &Slot) -> bool {
    core::ptr::eq(slot, &PRIVATE)
        || slot.pid.load(Relaxed) == sys::pid() as u32
            && slot.since.load(Relaxed) == SINCE.load(Relaxed)
}

/// Calls `write` with the slot to count in.
pub fn in_slot(write: impl FnOnce(&Slot)) {
    let mine = own_slot().filter(|slot| is_own(slot) && is_open_to_others(slot));
    if let Some(slot) = mine.or_else(take) {
        return write(slot);
    }
    // Another thread is taking the slot, or this one in a signal handler's way. It
    // will find what is written here when it is done, or we find that it was done.
    write(&PRIVATE);
    fence(SeqCst);
    if let Some(slot) = own_slot() {
        move_private(slot);
    }
}

/// Whether the page's descriptor is still there for others to look in by.
fn is_open_to_others(slot: &Slot) -> bool {
    core::ptr::eq(slot, &PRIVATE)
        || MADE.load(Relaxed) >= MOST_PAGES
        || DESCRIPTOR.descriptor().is_some()
}

/// What this process has counted in.
pub fn slots_to_read() -> impl Iterator<Item = &'static Slot> {
    let shared = own_slot().filter(|slot| !core::ptr::eq(*slot, &PRIVATE) && is_own(slot));
    shared.into_iter().chain([&PRIVATE])
}

fn move_private(to: &Slot) {
    if !core::ptr::eq(to, &PRIVATE) {
        slot::move_all(&PRIVATE, to);
    }
}

/// Takes a slot for this process. None while another thread does.
#[cold]
#[inline(never)]
fn take() -> Option<&'static Slot> {
    if TAKING
        .compare_exchange(false, true, Acquire, Relaxed)
        .is_err()
    {
        return None;
    }
    let old = own_slot().filter(|slot| is_own(slot));
    // It was done meanwhile.
    let slot = match old.filter(|slot| is_open_to_others(slot)) {
        Some(slot) => slot,
        None => {
            let now = sys::since_boot_ns();
            let new = to_share().and_then(|page| claim(page, now));
            if new.is_none() {
                sink::say(Level::Debug, |line| {
                    line.push(b"no counters page, or no room in it: this process counts alone");
                });
            }
            let new = new.or(old).unwrap_or(&PRIVATE);
            if let Some(old) = old.filter(|old| !core::ptr::eq(*old, new)) {
                slot::move_all(old, new);
                old.since.store(0, Relaxed);
                old.pid.store(0, Release);
            }
            SINCE.store(new.since.load(Relaxed), Relaxed);
            SLOT.store(core::ptr::from_ref(new).cast_mut(), Release);
            new
        }
    };
    fence(SeqCst);
    move_private(slot);
    TAKING.store(false, Release);
    Some(slot)
}

/// The page that others can look into; made where there is none.
fn to_share() -> Option<&'static Page> {
    if DESCRIPTOR.descriptor().is_some() {
        return page();
    }
    if MADE.fetch_add(1, Relaxed) >= MOST_PAGES {
        return page();
    }
    let low = sys::shared_memory(NAME, size_of::<Page>()).ok()?;
    // A process that has so few numbers that none of them is out of the way shall
    // have all of them.
    let Ok(fd) = sys::move_out_of_the_way(low) else {
        sys::close(low);
        return None;
    };
    let mapped = sys::map_shared(fd, size_of::<Page>()).ok();
    let Some(mapped) = mapped.filter(|_| DESCRIPTOR.adopt(fd)) else {
        sys::close(fd);
        return None;
    };
    PAGE.store(mapped.cast(), Release);
    let page = page()?;
    page.version.store(VERSION, Relaxed);
    page.slots_count.store(SLOTS as u32, Relaxed);
    page.magic.store(MAGIC, Release);
    Some(page)
}

/// A slot of the page for this process: a free one, or one of a process that is gone.
fn claim(page: &'static Page, now: u64) -> Option<&'static Slot> {
    let pid = sys::pid() as u32;
    let Some(slot) = find_free(page, pid) else {
        page.unlisted.fetch_add(1, Relaxed);
        return None;
    };
    let parent = match PARENT.load(Relaxed) {
        0 => sys::parent_pid(),
        parent => parent,
    };
    slot.parent.store(parent as u32, Relaxed);
    slot.policy.store(POLICY.load(Relaxed), Relaxed);
    slot.libpqs.store(LIBPQS.load(Relaxed), Relaxed);
    slot.since.store(now, Release);
    Some(slot)
}

/// Finds a slot, and writes the pid there.
fn find_free(page: &'static Page, pid: u32) -> Option<&'static Slot> {
    // Each process begins elsewhere: siblings do not meet, and most take the first slot
    // that they look at. The pages of the others stay untouched, for each costs a fault.
    let begin = pid as usize % SLOTS;
    for distance in 0..SLOTS {
        let slot = page.slots.get((begin + distance) % SLOTS)?;
        let is_taken = match slot.pid.load(Relaxed) {
            0 => slot.pid.compare_exchange(0, pid, Acquire, Relaxed).is_ok(),
            // With this process's own pid: one that had it before.
            old if old == pid || sys::is_gone(old as c_int) => fold(page, slot, old, pid),
            _ => false,
        };
        if is_taken {
            return Some(slot);
        }
    }
    None
}

/// Takes the slot over from the process `old`, and retires what that has counted.
fn fold(page: &Page, slot: &Slot, old: u32, pid: u32) -> bool {
    page.folds_begun.fetch_add(1, SeqCst);
    let taken = slot.pid.compare_exchange(old, pid, AcqRel, Relaxed).is_ok();
    if taken {
        slot.since.store(0, Relaxed);
        slot::empty(slot, Some(&page.retired));
        page.retired_processes.fetch_add(1, Relaxed);
    }
    page.folds_done.fetch_add(1, SeqCst);
    taken
}

/// In a child of `parent`: no slot yet.
pub fn reset(parent: c_int) {
    SLOT.store(core::ptr::null_mut(), Relaxed);
    TAKING.store(false, Relaxed);
    PARENT.store(parent, Relaxed);
    slot::empty(&PRIVATE, None);
}

/// Sets a field of this process's slots beside the counters, now and in those to come.
fn set_field(place: &AtomicU32, field: impl Fn(&Slot) -> &AtomicU32, value: u32) {
    if place.load(Relaxed) == value {
        return;
    }
    place.store(value, Relaxed);
    if let Some(slot) = own_slot().filter(|slot| is_own(slot)) {
        field(slot).store(value, Relaxed);
    }
}

/// The policy, by its number in [`Slot::policy`].
pub fn set_policy(number: u32) {
    set_field(&POLICY, |slot| &slot.policy, number);
}

/// How many libpqs are redirected.
pub fn set_libpqs(number: u32) {
    set_field(&LIBPQS, |slot| &slot.libpqs, number);
}
