//! What the library does in this process: set by the constructor, once, and read by all others.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};
use std::boxed::Box;

use forkguard_sql::Trusted;

/// False where the policy is off: the hooks look at nothing.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Watches new connections from now on.
pub(crate) fn activate() {
    ACTIVE.store(true, Relaxed);
}

/// Whether new connections are watched in this process.
#[inline]
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Relaxed)
}

/// How inherited sessions are made again.
pub(crate) struct ResumeSettings {
    /// Functions the user vouches for.
    pub trusted: Trusted,
    /// The most one session's journal may hold, in bytes.
    pub journal_limit: usize,
    /// Seconds that a session may take to reconnect, where the client has not said so.
    pub connect_wait_s: u64,
}

static RESUME_SETTINGS: AtomicPtr<ResumeSettings> = AtomicPtr::new(core::ptr::null_mut());
static RESUMES: AtomicBool = AtomicBool::new(false);

/// Inherited sessions are made again from now on.
pub(crate) fn resume_by(settings: ResumeSettings) {
    RESUME_SETTINGS.store(Box::into_raw(Box::new(settings)), Release);
    RESUMES.store(true, Release);
}

/// Whether inherited sessions are made again.
#[inline(always)]
pub(crate) fn resumes() -> bool {
    RESUMES.load(Relaxed)
}

/// How inherited sessions are made again, where they are.
pub(crate) fn resume_settings() -> &'static ResumeSettings {
    // SAFETY: statements are read and sessions made again only where `resume_by` has run; what it
    // stored is never given back.
    unsafe { &*RESUME_SETTINGS.load(Acquire) }
}

/// Whether each call to libpq is looked at: for the log, or by the detector.
static OBSERVES_CALLS: AtomicBool = AtomicBool::new(false);

/// Looks at each call from now on.
pub(crate) fn observe_calls() {
    OBSERVES_CALLS.store(true, Release);
}

/// Whether each call is looked at.
#[inline(always)]
pub(crate) fn observes_calls() -> bool {
    OBSERVES_CALLS.load(Relaxed)
}
