//! The page of counters: its layout.
//!
//! A process and everything it forks share one piece of memory, and each process has a
//! slot in it. The memory is a `memfd` whose descriptor stays open under a high number.
//! Anyone who may open `/proc/PID/fd` may map it and read it; no process is stopped or
//! asked for that. Writers use atomics and never wait.
//!
//! Change [`VERSION`] whenever you change the layout: the library and the command may
//! come from different releases.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicU8};

/// What the memory's name begins with, as `/proc/PID/maps` and `/proc/PID/fd`
/// show it: `/memfd:forkguard-counters (deleted)`.
pub const NAME: &core::ffi::CStr = c"forkguard-counters";
/// The first bytes of the page.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"forkgrd\n");
/// The layout's number.
pub const VERSION: u32 = 1;
/// How many processes can be told apart. A slot whose process is gone is used again.
pub const SLOTS: usize = 255;
/// Bytes of a text.
pub const TEXT: usize = 192;

/// What is counted, by index into [`Slot::counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Count {
    /// Sessions opened.
    Opened,
    /// Sessions of this process's own that were closed, as far as a hook saw it.
    Closed,
    /// Inherited descriptors made dead.
    Abandoned,
    /// Inherited descriptors that could not be made dead: calls on them are refused.
    Refused,
    /// Inherited descriptors kept, because they were handed over.
    HandedOver,
    /// Inherited sessions made again.
    Resumed,
    /// Inherited sessions that could not be made again, or were not equal.
    Opaque,
    /// Cancels that would have reached the parent's statement and were held back.
    CancelsHeld,
    /// Uses of an inherited session that the policies `report` and `abort` reported.
    Reported,
}

/// How many there are.
pub const COUNTS: usize = 9;

/// What happened, in [`Slot::first_event`] and [`Slot::last_event`]; the numbers are
/// those of [`Count`], plus one. 0: nothing yet.
pub type Event = u32;

/// The whole page.
#[repr(C)]
pub struct Page {
    /// [`MAGIC`], stored last by its maker.
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// [`SLOTS`].
    pub slots_count: AtomicU32,
    /// Processes that found no free slot.
    pub unlisted: AtomicU64,
    /// Slots being used again: begun, and done. Where they differ, or changed while
    /// the page was read, what was read may count a process twice or not at all.
    pub folds_begun: AtomicU64,
    /// See [`Self::folds_begun`].
    pub folds_done: AtomicU64,
    /// What processes counted whose slots were used again.
    pub retired: [AtomicU64; COUNTS],
    /// How many of those there were.
    pub retired_processes: AtomicU64,
    /// One for each process.
    pub slots: [Slot; SLOTS],
}

/// One process.
#[repr(C, align(64))]
pub struct Slot {
    /// Its pid, as itself sees it (`NSpid` in `/proc/PID/status`); 0: free.
    pub pid: AtomicU32,
    /// The pid of the process that forked it.
    pub parent: AtomicU32,
    /// When the slot was taken, in nanoseconds of `CLOCK_BOOTTIME`: of two slots with
    /// one pid the later one counts, and none that is older than the process.
    pub since: AtomicU64,
    /// By [`Count`].
    pub counts: [AtomicU64; COUNTS],
    /// The policy: 0 off, 1 abandon, 2 resume, 3 report, 4 abort.
    pub policy: AtomicU32,
    /// Libpqs whose functions are redirected.
    pub libpqs: AtomicU32,
    /// When the first event was, in nanoseconds since 1970; 0: none. Opening and
    /// closing a session of one's own are no events.
    pub first_at: AtomicU64,
    /// When the last event was.
    pub last_at: AtomicU64,
    /// What the first event was.
    pub first_event: AtomicU32,
    /// What the last event was.
    pub last_event: AtomicU32,
    /// Odd while [`Self::reason`] is written.
    pub reason_turn: AtomicU32,
    /// Bytes of the reason.
    pub reason_length: AtomicU32,
    /// Why the last session became opaque: the code of a reason (`forkguard_sql::Reason`), and behind
    /// `: ` what it is about, where that is known.
    pub reason: [AtomicU8; TEXT],
}
