//! Which places in the code have been reported.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

use forkguard_signal_safe::generation;

/// Places that are kept. A program with more has one fault, and not a thousand.
const PLACES: usize = 1024;
/// How far from its place a key may be.
const WINDOW: usize = 64;

static SEEN: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];
static SAID_NO_ROOM: AtomicBool = AtomicBool::new(false);

/// Whether a place was reported.
pub(crate) enum Seen {
    /// No, and it is noted now.
    First,
    /// Yes.
    Before,
    /// The table is full, so it is not known.
    NoRoom {
        /// It has.
        said: bool,
    },
}

/// Begins to name a place in the code. Of this process: what is inherited of the
/// table is its parent's.
fn begin() -> u64 {
    add(0xcbf2_9ce4_8422_2325, u64::from(generation::current()))
}

/// FNV-1a, by words.
fn add(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0100_0000_01b3)
}

fn add_text(hash: u64, text: &[u8]) -> u64 {
    text.iter()
        .fold(hash, |hash, byte| add(hash, u64::from(*byte)))
}

/// A place in Python.
pub(crate) fn python(stack: &[u8]) -> u64 {
    add_text(begin(), stack)
}

/// A place in C.
pub(crate) fn c(function: &str, stack: &[usize]) -> u64 {
    let named = add_text(begin(), function.as_bytes());
    stack
        .iter()
        .fold(named, |hash, address| add(hash, *address as u64))
}

/// Looks a place up, and notes it.
pub(crate) fn seen(key: u64) -> Seen {
    let key = key.max(1); // 0 is an empty place
                          // Multiplication spreads upwards.
    let start = (key >> 32) as usize;
    let full = SAID_NO_ROOM.load(Relaxed);
    for place in start..start + WINDOW {
        let Some(place) = SEEN.get(place % PLACES) else {
            continue;
        };
        let there = match place.load(Relaxed) {
            0 if full => break,
            0 => match place.compare_exchange(0, key, Relaxed, Relaxed) {
                Ok(_) => return Seen::First,
                Err(there) => there,
            },
            there => there,
        };
        if there == key {
            return Seen::Before;
        }
    }
    Seen::NoRoom {
        said: SAID_NO_ROOM.swap(true, Relaxed),
    }
}
