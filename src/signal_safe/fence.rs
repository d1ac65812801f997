//! No number is forgotten while a fork copies this process.
//!
//! The kernel copies the descriptors first and the memory a little later
//! (`copy_process`: `copy_files`, then `copy_mm`). A thread that closes a
//! session and opens another under the same number in between would leave the
//! child with the first one's socket and the second one's entry. So between
//! our prepare handler, which is the last to run before the copy, and our
//! parent handler, which is the first after it, entries are only added.
//!
//! Both sides wait for the other within a bound, and go on past it: a missed
//! race is rarer and better than a host that hangs.

use super::threads::{wait_until, Place, Threads};

/// For longer nobody waits here. A thread that has entered makes at most a
/// `dup(2)`; only a full machine keeps it from the processor for so long.
const BOUND_MS: u64 = 100;

#[link_section = ".data.forkguard"]
static FORKING: Threads<8> = Threads::none();
#[link_section = ".data.forkguard"]
static FORGETTING: Threads<16> = Threads::none();

/// Begins a change that makes the table forget what a number meant, or that
/// must not be seen half done by a fork: waits while another thread is forking.
/// [`leave`] follows.
pub fn enter() -> Place {
    let place = FORGETTING.enter();
    if !FORKING.has_others() {
        return place;
    }
    // Out again, so that the fork does not wait for one that waits for it.
    FORGETTING.leave(place);
    wait_until(BOUND_MS, || !FORKING.has_others());
    FORGETTING.enter()
}

/// Ends what [`enter`] began.
pub fn leave(place: Place) {
    FORGETTING.leave(place);
}

/// Runs `change` between [`enter`] and [`leave`].
pub fn forget<R>(change: impl FnOnce() -> R) -> R {
    let place = enter();
    let result = change();
    leave(place);
    result
}

/// This thread is about to fork: waits for those who have entered.
pub fn raise() {
    FORKING.enter();
    FORGETTING.wait_for_others(BOUND_MS);
}

/// This thread has forked.
pub fn lower() {
    FORKING.leave_all();
}

/// A child has no other thread, and this one has forked.
pub fn reset() {
    FORKING.leave_all();
    FORKING.reset();
    FORGETTING.reset();
}
