//! Forks and what must not happen during one (`exclusion.rs`).

use forkguard_loom::signal_safe::exclusion::Exclusion;
use forkguard_loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use forkguard_loom::{fails, holds, Weaken};

static EXCLUSION: Exclusion<1> = Exclusion::none();
/// What is written inside in two halves. Relaxed: only the exclusion orders it.
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
    let place = EXCLUSION.enter(FOR_EVER);
    change();
    EXCLUSION.leave(place);
}

fn inside_in_itself() {
    let outer = EXCLUSION.enter(FOR_EVER);
    let inner = EXCLUSION.enter(FOR_EVER);
    change();
    EXCLUSION.leave(inner);
    EXCLUSION.leave(outer);
}

fn fork() {
    let waited = EXCLUSION.before_fork(FOR_EVER);
    assert!(!waited.in_vain, "in vain");
    whole();
    FORKS.fetch_add(1, Relaxed);
    EXCLUSION.forked();
}

fn nobody_is_left() {
    whole();
    assert_eq!(EXCLUSION.before_fork(NOT_AT_ALL).microseconds, 0);
    assert!(
        !EXCLUSION.before_fork(NOT_AT_ALL).in_vain,
        "somebody is left inside"
    );
    EXCLUSION.forked();
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
    EXCLUSION.enter(FOR_EVER);
}

/// The first fork to find it there is over at once, and says so; the next one does not look.
fn fork_past_it() {
    let first = EXCLUSION.before_fork(NOT_AT_ALL);
    EXCLUSION.forked();
    if first.in_vain {
        assert!(!EXCLUSION.before_fork(FOR_EVER).in_vain);
        EXCLUSION.forked();
    }
}

/// Who stays is found by one fork, at the latest by this; then by none.
fn at_most_one_more() {
    let waited = EXCLUSION.before_fork(NOT_AT_ALL);
    EXCLUSION.forked();
    let again = EXCLUSION.before_fork(NOT_AT_ALL);
    assert!(!again.in_vain, "{waited:?}, and again");
    EXCLUSION.forked();
}

#[test]
fn a_thread_that_never_leaves_costs_one_fork_its_bound() {
    holds(nothing, &[fork_past_it, stay], at_most_one_more);
}

/// A fork that was left in its middle, by a jump out of a handler.
fn fork_without_end() {
    EXCLUSION.before_fork(NOT_AT_ALL);
}

fn inside_in_time() {
    for _ in 0..2 {
        let place = EXCLUSION.enter(NOT_AT_ALL);
        change();
        EXCLUSION.leave(place);
    }
}

/// Nobody waits for the fork that was left: not for ever, and time stands still.
fn enters_at_once() {
    let place = EXCLUSION.enter(NOT_AT_ALL);
    EXCLUSION.leave(place);
    inside();
}

#[test]
fn a_fork_that_never_ends_keeps_nobody_outside() {
    holds(nothing, &[inside_in_time, fork_without_end], enters_at_once);
}
