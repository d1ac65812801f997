//! The table of libpq's objects (`session/table.rs`).

use forkguard_loom::session::table::{Record, Table};
use forkguard_loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use forkguard_loom::{fails, holds, Weaken};

struct Object {
    key: AtomicUsize,
    of: AtomicU64,
}

impl Record for Object {
    fn new() -> Self {
        Object {
            key: AtomicUsize::new(0),
            of: AtomicU64::new(0),
        }
    }

    fn key(&self) -> &AtomicUsize {
        &self.key
    }
}

/// All objects hash to the same few places, each key to another first one.
static TABLE: Table<Object, 2> = Table::empty();
const FIRST: usize = 0x10_0000;
const SECOND: usize = 0x20_0000;

fn nothing() {}

fn insert(key: usize) {
    TABLE.insert(key, |object| object.of.store(key as u64, Relaxed));
}

fn find(key: usize) {
    if let Some(object) = TABLE.find(key) {
        assert_eq!(
            object.of.load(Relaxed),
            key as u64,
            "another's, or unwritten"
        );
    }
}

fn is_there(key: usize) {
    assert!(TABLE.find(key).is_some(), "lost");
    find(key);
}

fn insert_first() {
    insert(FIRST);
    is_there(FIRST);
}

fn insert_second() {
    insert(SECOND);
    is_there(SECOND);
}

fn find_both() {
    find(FIRST);
    find(SECOND);
}

fn both_are_there() {
    is_there(FIRST);
    is_there(SECOND);
}

#[test]
fn two_that_come_at_once_get_a_record_each() {
    holds(nothing, &[insert_first, insert_second], both_are_there);
}

#[test]
fn who_finds_one_finds_it_written() {
    holds(nothing, &[find_both, insert_first], nothing);
}

#[test]
#[ignore = "minutes: make loom"]
fn who_finds_one_of_two_finds_it_written() {
    let all: &[_] = &[find_both, insert_first, insert_second];
    holds(nothing, all, both_are_there);
}

#[test]
fn it_takes_the_order_of_the_key() {
    for weakened in [Weaken::Release, Weaken::Acquire] {
        // Where the record itself is not seen written, its key is none.
        fails(weakened, "", nothing, &[find_both, insert_first], nothing);
    }
}

/// The first one's record is given to the second.
fn replace() {
    if let Some(object) = TABLE.find(FIRST) {
        TABLE.forget(object);
    }
    insert(SECOND);
    is_there(SECOND);
}

fn find_second() {
    find(SECOND);
}

#[test]
fn a_record_used_again_is_found_written() {
    holds(insert_first_alone, &[find_second, replace], second_is_there);
}

fn insert_first_alone() {
    insert(FIRST);
}

fn second_is_there() {
    is_there(SECOND);
    assert!(TABLE.find(FIRST).is_none(), "found after its end");
}
