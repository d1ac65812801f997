//! No number is forgotten while a fork copies this process.
//!
//! The kernel copies the descriptors first and the memory a little later
//! (`copy_process`: `copy_files`, then `copy_mm`). A thread that closes a
//! session and opens another under the same number in between would leave the
//! child with the first one's socket and the second one's entry. So between
//! our prepare handler, which is the last to run before the copy, and our
//! parent handler, which is the first after it, entries are only added.

use super::fork_barrier::{Entered, ForkBarrier};

/// The longest wait here. A thread that has entered makes at most a
/// `dup(2)`; only a full machine keeps it from the processor for so long.
const BOUND_MS: u64 = 100;

#[link_section = ".data.forkguard"]
static FORGETTING: ForkBarrier<2> = ForkBarrier::none();

/// Begins a change that makes the table forget what a number meant, or that
/// must not be seen half done by a fork. [`leave`] follows.
pub fn enter() -> Entered<'static> {
    FORGETTING.enter(BOUND_MS)
}

/// Ends what [`enter`] began.
pub fn leave(place: Entered<'static>) {
    FORGETTING.leave(place);
}

/// Runs `change` between [`enter`] and [`leave`].
pub fn forget<R>(change: impl FnOnce() -> R) -> R {
    let place = enter();
    let result = change();
    leave(place);
    result
}

/// This thread is about to fork.
pub fn raise() {
    FORGETTING.before_fork(BOUND_MS);
}

/// This thread has forked.
pub fn lower() {
    FORGETTING.after_fork();
}

/// In a child.
pub fn reset() {
    FORGETTING.reset();
}
