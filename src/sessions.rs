//! The sessions of this process and the numbers each is open under, for who asks.
//!
//! Normal context only: the map takes locks and allocates, so every function
//! asks for a [`Normal`], and nothing here is reached from a hook of libc's or
//! from a child handler. What is written while a program runs is the table of
//! descriptors; the map is brought up to it when somebody asks. A child does
//! not unlock its parent's map, whose shards another thread may have held at
//! the fork: it leaves it and starts one of its own.

use core::ffi::c_int;
use core::sync::atomic::{AtomicPtr, Ordering::*};
use std::boxed::Box;
use std::vec::Vec;

use dashmap::DashMap;

use crate::normal::Normal;
use crate::signal_safe::descriptors::{self, identity_of, State, HANDED_OVER};
use crate::signal_safe::{generation, sys};
use crate::{memory, watch, wire};

/// By identity: the numbers, more than one after `dup(2)`.
type Map = DashMap<u64, Vec<c_int>>;

/// The map of one generation.
struct Filed {
    generation: u32,
    map: Map,
    /// The parent's, left as it is and reachable: a leak checker in the child
    /// would fail the program for it.
    _before: *mut Filed,
}

static FILED: AtomicPtr<Filed> = AtomicPtr::new(core::ptr::null_mut());

/// This process's map, made at its first use. `None` when memory is short.
fn filed(_: &Normal) -> Option<&'static Map> {
    // A number filed takes less, its map's growth included.
    const EACH: usize = 512;
    if !memory::is_plenty((descriptors::live() + 64) * EACH) {
        return None;
    }
    let now = generation::current();
    let old = FILED.load(Acquire);
    // SAFETY: null or a leaked Box, never given back.
    if let Some(filed) = unsafe { old.as_ref() } {
        if filed.generation == now {
            return Some(&filed.map);
        }
    }
    // A given number of shards: the default asks for the number of processors,
    // which reads files through functions we hook.
    const SHARDS: usize = 4;
    let new = Box::into_raw(Box::new(Filed {
        generation: now,
        map: Map::with_shard_amount(SHARDS),
        _before: old,
    }));
    let filed = match FILED.compare_exchange(old, new, AcqRel, Acquire) {
        Ok(_) => new,
        Err(other) => {
            // SAFETY: made above, published nowhere.
            drop(unsafe { Box::from_raw(new) });
            other
        }
    };
    // SAFETY: as above; the parent's map is left as it is, for its locks.
    Some(unsafe { &(*filed).map })
}

/// Brings the map up to the table. What was closed in ways that no hook sees
/// is found out here, and taken out of the table as well.
fn brought_up(normal: &Normal) -> Option<&'static Map> {
    let map = filed(normal)?;
    map.retain(|identity, numbers| {
        numbers.retain(|fd| is_session(*fd, *identity));
        !numbers.is_empty()
    });
    descriptors::for_each(|fd, entry| {
        let word = entry.word();
        if word.state() == State::Session && !word.is_inherited() {
            if entry.is_still(fd) {
                let mut numbers = map.entry(entry.identity()).or_default();
                if !numbers.contains(&fd) {
                    numbers.push(fd);
                }
            } else {
                watch::closed(fd, entry, word);
            }
        }
    });
    Some(map)
}

fn is_session(fd: c_int, identity: u64) -> bool {
    descriptors::find(fd).is_some_and(|entry| {
        entry.word().state() == State::Session && entry.identity() == identity && entry.is_still(fd)
    })
}

/// How many sessions this process has open, however many numbers each has. 0
/// when memory is too short to count.
pub fn open_now() -> u64 {
    Normal::enter()
        .and_then(|normal| brought_up(&normal))
        .map_or(0, |map| map.len() as u64)
}

/// Enters what is open at `fd` by hand: the C interface's `forkguard_track`.
pub fn track(fd: c_int) -> Result<(), sys::Errno> {
    identity_of(fd)?;
    let entry = descriptors::entry(fd).ok_or(libc::ENOMEM)?;
    if entry.word().state() == State::Session && entry.is_still(fd) {
        watch::set_flag_everywhere(entry, HANDED_OVER, false);
        return Ok(());
    }
    if watch::register(fd, entry, wire::Opening::ByHand) {
        Ok(())
    } else {
        Err(libc::EOPNOTSUPP)
    }
}

/// Leaves the session at `fd` to the children to come: `forkguard_release`.
pub fn release(fd: c_int) -> Result<(), sys::Errno> {
    identity_of(fd)?;
    let entry = descriptors::find(fd).ok_or(libc::ENOENT)?;
    if entry.word().state() != State::Session || !entry.is_still(fd) {
        return Err(libc::ENOENT);
    }
    watch::set_flag_everywhere(entry, HANDED_OVER, true);
    Ok(())
}

/// What `fd` is, with its identity looked at.
pub fn state(fd: c_int) -> State {
    match descriptors::find(fd) {
        Some(entry) if entry.is_still(fd) => entry.word().state(),
        _ => State::None,
    }
}
