//! The table of descriptors (`descriptors.rs`) and a fork (`fence.rs`).
//!
//! The fork is a thread that looks at all there is: first at what is open, then at the memory, as
//! the kernel copies them. It looks at memory that others go on writing where the kernel copies
//! that of one moment. So a look counts if the entry's word was the same before and after it.

use forkguard_loom::signal_safe::descriptors::{self, Entry, PeerText, State, EXPECTED};
use forkguard_loom::signal_safe::{fence, sys};
use forkguard_loom::sync::atomic::{self, AtomicU64, Ordering::*};
use forkguard_loom::{fails, holds, Weaken};

/// Numbers.
const ONE: i32 = 0;
const TWO: i32 = 1;
/// Sockets.
const OLD: u64 = 7;
const NEW: u64 = 8;

/// The socket whose first bytes were sent last.
static SPOKE: AtomicU64 = AtomicU64::new(0);

fn nothing() {}

fn peer(socket: u64) -> PeerText {
    [socket as u8; 48]
}

fn connect(entry: Entry, socket: u64) {
    sys::open(ONE, socket);
    entry.set_pending(99, Some((socket, 0)));
}

fn speak(entry: Entry, socket: u64) {
    entry.set_session((socket, 0), &peer(socket), 0);
    SPOKE.store(socket, Release); // a system call
}

fn open_a_session() {
    let entry = descriptors::entry(ONE).unwrap();
    connect(entry, OLD);
    speak(entry, OLD);
}

/// What the child handler finds in its memory at a number: `None` if it was no moment.
fn find(number: i32) -> Option<Option<(State, u64)>> {
    if !descriptors::any() {
        return Some(None);
    }
    let (mut found, mut is_moment) = (None, true);
    descriptors::for_each(|fd, entry| {
        if fd == number {
            let (word, identity, text) = (entry.word(), entry.identity(), entry.peer());
            atomic::fence(Acquire);
            is_moment = word == entry.word();
            match word.state() {
                State::Session if is_moment => assert!(text == peer(identity), "half written"),
                State::Pending if is_moment && word.has(EXPECTED) => {
                    assert!(identity != 0, "half written");
                }
                _ => {}
            }
            found = Some((word.state(), identity));
        }
    });
    is_moment.then_some(found)
}

fn child_of_no_fence() {
    let spoke = SPOKE.load(Acquire);
    if let Some(found) = find(ONE) {
        assert!(
            spoke == 0 || found == Some((State::Session, spoke)),
            "missed: {found:?}"
        );
    }
}

#[test]
fn a_session_that_has_spoken_is_in_the_table() {
    holds(nothing, &[child_of_no_fence, open_a_session], nothing);
}

fn speak_too_early() {
    let entry = descriptors::entry(ONE).unwrap();
    sys::open(ONE, OLD);
    SPOKE.store(OLD, Release);
    entry.set_session((OLD, 0), &peer(OLD), 0);
}

#[test]
fn it_takes_the_order_of_the_stores() {
    fails(
        Weaken::Nothing,
        "missed",
        nothing,
        &[child_of_no_fence, speak_too_early],
        nothing,
    );
    for weakened in [Weaken::Release, Weaken::Acquire] {
        fails(
            weakened,
            "",
            nothing,
            &[child_of_no_fence, open_a_session],
            nothing,
        );
    }
}

/// Another session on the same number, as far as a table goes that has forgotten the first.
fn close_and_open(forget: fn(Entry)) {
    let entry = descriptors::find(ONE).unwrap();
    sys::open(ONE, 0);
    forget(entry);
    connect(entry, NEW);
    speak(entry, NEW);
}

fn reuse() {
    close_and_open(|entry| {
        let word = entry.word();
        fence::forget(|| entry.forget_if(word));
    });
}

fn reuse_without_fence() {
    close_and_open(|entry| {
        entry.forget_if(entry.word());
    });
}

fn fork() {
    fence::raise();
    let spoke = SPOKE.load(Acquire);
    let socket = sys::cookie(ONE);
    let found = find(ONE);
    fence::lower();
    // The first session had spoken before all this.
    if let (Some(found), true) = (found, socket == OLD || socket == NEW && spoke == NEW) {
        assert_eq!(found, Some((State::Session, socket)), "missed");
    }
}

#[test]
fn a_number_used_again_is_not_mistaken() {
    holds(open_a_session, &[fork, reuse], nothing);
}

#[test]
#[ignore = "minutes: make loom"]
fn two_forks_at_once_miss_nothing_either() {
    holds(open_a_session, &[fork, fork, reuse], nothing);
}

#[test]
fn it_takes_the_fence() {
    fails(
        Weaken::Nothing,
        "",
        open_a_session,
        &[fork, reuse_without_fence],
        nothing,
    );
    fails(Weaken::SeqCst, "", open_a_session, &[fork, reuse], nothing);
}

fn duplicate() {
    let place = fence::enter();
    duplicate_without_fence();
    fence::leave(place);
}

fn duplicate_without_fence() {
    let entry = descriptors::find(ONE).unwrap();
    sys::open(TWO, OLD);
    let copy = descriptors::entry(TWO).unwrap();
    entry.set_flag(descriptors::DUPLICATED, true);
    copy.copy_from(entry, descriptors::DUPLICATED);
}

fn fork_with_a_duplicate() {
    fence::raise();
    let socket = sys::cookie(TWO);
    let found = find(TWO);
    fence::lower();
    if let (OLD, Some(found)) = (socket, found) {
        assert_eq!(found, Some((State::Session, OLD)), "missed");
    }
}

#[test]
fn a_duplicate_comes_with_its_entry() {
    holds(open_a_session, &[fork_with_a_duplicate, duplicate], nothing);
}

#[test]
fn it_takes_the_fence_around_the_duplicate() {
    let without: &[_] = &[fork_with_a_duplicate, duplicate_without_fence];
    fails(Weaken::Nothing, "missed", open_a_session, without, nothing);
}
