//! Generations (`generation.rs`): two threads of a child that no handler has seen look after it at
//! once, as `child::without_handler` does.

use forkguard_loom::signal_safe::{generation, ownership};
use forkguard_loom::sync::atomic::{AtomicU64, Ordering::*};
use forkguard_loom::{fails, holds, Weaken};

/// What is done for the child before it counts as looked after.
static DEALT_WITH: AtomicU64 = AtomicU64::new(0);

fn in_the_parent() {
    generation::begin_session();
    DEALT_WITH.store(0, Relaxed);
}

fn look_after() {
    let mine = generation::current();
    if generation::current() == 1 {
        ownership::inherit(mine);
        DEALT_WITH.store(1, Relaxed);
        generation::settle();
        generation::end(mine);
    }
    // Its own from here on.
    assert_eq!(generation::current(), 2, "a generation of its own");
    assert!(ownership::is_inherited(1) && !ownership::is_inherited(2));
}

/// A hook on a third thread.
fn hook() {
    if generation::current() == 2 {
        assert_eq!(generation::last_pid(), 1, "not settled");
        assert_eq!(DEALT_WITH.load(Relaxed), 1, "not dealt with");
        assert!(ownership::is_inherited(1), "its parent's taken for its own");
    }
}

fn once() {
    assert_eq!(generation::current(), 2);
}

#[test]
fn who_sees_the_next_generation_sees_what_came_before() {
    holds(in_the_parent, &[hook, look_after, look_after], once);
}

#[test]
fn it_takes_the_order_of_the_generation() {
    for weakened in [Weaken::Release, Weaken::Acquire] {
        fails(weakened, "not ", in_the_parent, &[hook, look_after], once);
    }
}

fn end_twice() {
    for _ in 0..2 {
        generation::end(generation::current());
    }
}

#[test]
fn it_takes_the_generation_of_the_beginning() {
    let twice: &[_] = &[end_twice, look_after];
    fails(
        Weaken::Nothing,
        "a generation of its own",
        in_the_parent,
        twice,
        once,
    );
}
