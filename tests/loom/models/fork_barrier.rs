//! Forks and what must not happen during one (`fork_barrier.rs`).

use forkguard_loom::signal_safe::fork_barrier::ForkBarrier;
use forkguard_loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use forkguard_loom::{fails, holds, Weaken};

static BARRIER: ForkBarrier<1> = ForkBarrier::none();
/// What is written inside in two halves. Relaxed: only the barrier orders it.
static HALVES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static FORKS: AtomicUsize = AtomicUsize::new(0);

const FOR_EVER: u64 = 1; // time stands still
const NOT_AT_ALL: u64 = 0;

fn nothing() {}

fn change() {
    for half in &HALVES {
        half.store(half.load(Relaxed) + 1, Relaxed);
    }
}

fn whole() {
    let halves = HALVES.each_ref().map(|half| half.load(Relaxed));
    assert_eq!(halves[0], halves[1], "half done");
}

fn inside() {
    let place = BARRIER.enter(FOR_EVER);
    change();
    BARRIER.leave(place);
}

fn inside_in_itself() {
    let outer = BARRIER.enter(FOR_EVER);
    let inner = BARRIER.enter(FOR_EVER);
    change();
    BARRIER.leave(inner);
    BARRIER.leave(outer);
}

fn fork() {
    let waited = BARRIER.before_fork(FOR_EVER);
    assert!(!waited.in_vain, "in vain");
    whole();
    FORKS.fetch_add(1, Relaxed);
    BARRIER.after_fork();
}

fn nobody_is_left() {
    whole();
    assert_eq!(BARRIER.before_fork(NOT_AT_ALL).microseconds, 0);
    assert!(
        !BARRIER.before_fork(NOT_AT_ALL).in_vain,
        "somebody is left inside"
    );
    BARRIER.after_fork();
}

#[test]
fn nobody_is_inside_during_a_copy() {
    holds(nothing, &[fork, inside], nobody_is_left);
}

#[test]
#[ignore = "minutes: make loom"]
fn nobody_is_inside_during_a_copy_with_more_threads() {
    holds(nothing, &[fork, fork, inside], nobody_is_left);
}

#[test]
fn nobody_is_inside_within_itself() {
    holds(nothing, &[fork, inside_in_itself], nobody_is_left);
}

#[test]
fn it_takes_the_orders_of_its_stores() {
    for weakened in [Weaken::SeqCst, Weaken::Release] {
        fails(
            weakened,
            "half done",
            nothing,
            &[fork, inside],
            nobody_is_left,
        );
    }
}

#[test]
fn it_takes_the_entry() {
    fails(
        Weaken::Nothing,
        "half done",
        nothing,
        &[fork, change],
        nothing,
    );
}

/// Goes inside and never leaves.
fn stay() {
    BARRIER.enter(FOR_EVER);
}

/// The first fork to find it there is over at once, and says so; the next one does not look.
fn fork_past_it() {
    let first = BARRIER.before_fork(NOT_AT_ALL);
    BARRIER.after_fork();
    if first.in_vain {
        assert!(!BARRIER.before_fork(FOR_EVER).in_vain);
        BARRIER.after_fork();
    }
}

/// Who stays is found by one fork, at the latest by this; then by none.
fn at_most_one_more() {
    let waited = BARRIER.before_fork(NOT_AT_ALL);
    BARRIER.after_fork();
    let again = BARRIER.before_fork(NOT_AT_ALL);
    assert!(!again.in_vain, "{waited:?}, and again");
    BARRIER.after_fork();
}

#[test]
fn a_thread_that_never_leaves_costs_one_fork_its_bound() {
    holds(nothing, &[fork_past_it, stay], at_most_one_more);
}

/// A fork that was left in its middle, by a jump out of a handler.
fn fork_without_end() {
    BARRIER.before_fork(NOT_AT_ALL);
}

fn inside_in_time() {
    for _ in 0..2 {
        let place = BARRIER.enter(NOT_AT_ALL);
        change();
        BARRIER.leave(place);
    }
}

/// Nobody waits for the fork that was left: not for ever, and time stands still.
fn enters_at_once() {
    let place = BARRIER.enter(NOT_AT_ALL);
    BARRIER.leave(place);
    inside();
}

#[test]
fn a_fork_that_never_ends_keeps_nobody_outside() {
    holds(nothing, &[inside_in_time, fork_without_end], enters_at_once);
}
