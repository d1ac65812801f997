//! Generations (`generation.rs`): two threads of a child that no handler has seen look after it at
//! once, as `child::handle_unseen_fork` does.

use forkguard_loom::signal_safe::{generation, ownership};
use forkguard_loom::sync::atomic::{AtomicU64, Ordering::*};
use forkguard_loom::{fails, holds, Weaken};

/// What is done for the child before it counts as handled.
static DEALT_WITH: AtomicU64 = AtomicU64::new(0);

fn in_the_parent() {
    generation::begin_session();
    DEALT_WITH.store(0, Relaxed);
}

fn handle_fork() {
    let mine = generation::current();
    if generation::current() == 1 {
        ownership::inherit(mine, false);
        DEALT_WITH.store(1, Relaxed);
        generation::set_fork_handled();
        generation::end(mine);
    }
    // Its own from here on.
    assert_eq!(generation::current(), 2, "a generation of its own");
    assert!(ownership::is_inherited(1) && !ownership::is_inherited(2));
}

/// A hook on a third thread.
fn hook() {
    if generation::current() == 2 {
        assert_eq!(generation::last_pid(), 1, "not handled");
        assert_eq!(DEALT_WITH.load(Relaxed), 1, "not dealt with");
        assert!(ownership::is_inherited(1), "its parent's taken for its own");
    }
}

fn once() {
    assert_eq!(generation::current(), 2);
}

#[test]
fn who_sees_the_next_generation_sees_what_came_before() {
    holds(in_the_parent, &[hook, handle_fork, handle_fork], once);
}

#[test]
fn it_takes_the_order_of_the_generation() {
    for weakened in [Weaken::Release, Weaken::Acquire] {
        fails(weakened, "not ", in_the_parent, &[hook, handle_fork], once);
    }
}

fn end_twice() {
    for _ in 0..2 {
        generation::end(generation::current());
    }
}

#[test]
fn it_takes_the_generation_of_the_beginning() {
    let twice: &[_] = &[end_twice, handle_fork];
    fails(
        Weaken::Nothing,
        "a generation of its own",
        in_the_parent,
        twice,
        once,
    );
}
