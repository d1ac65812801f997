//! The sessions of this process, for the C interface.
//!
//! A map takes locks and allocates, so callers need a [`MayAllocate`]. No hook of libc's and
//! no child handler comes here. While a program runs, the table of descriptors is all that is
//! written; each question makes a map of it, and no lock outlives the question.

use core::ffi::c_int;

use dashmap::DashMap;

use crate::may_allocate::MayAllocate;
use crate::{memory, tracker};
use forkguard_proto::wire;
use forkguard_signal_safe::descriptors::{self, identity_of, State, HANDED_OVER};
use forkguard_signal_safe::sys::Errno;

/// How many sessions this process has open, however many numbers each has. 0
/// when memory is too short to count. What was closed in ways that no hook sees
/// is found out here, and taken out of the table.
pub(crate) fn open_now() -> u64 {
    MayAllocate::enter().map_or(0, |token| identities(&token))
}

fn identities(_: &MayAllocate) -> u64 {
    // A session takes less, the map's growth included.
    const EACH: usize = 512;
    if !memory::is_plenty((descriptors::live() + 64) * EACH) {
        return 0;
    }
    // A given number of shards: the default asks for the number of processors,
    // which reads files through functions we hook.
    const SHARDS: usize = 4;
    let open: DashMap<u64, ()> = DashMap::with_shard_amount(SHARDS);
    descriptors::for_each(|fd, entry| {
        let word = entry.word();
        if word.state() == State::Session && !word.is_inherited() {
            if entry.is_still(fd) {
                open.insert(entry.identity(), ());
            } else {
                tracker::closed(fd, entry, word);
            }
        }
    });
    open.len() as u64
}

/// Enters what is open at `fd` by hand: the C interface's `forkguard_track`.
pub(crate) fn track(fd: c_int) -> Result<(), Errno> {
    identity_of(fd)?;
    let entry = descriptors::entry(fd).ok_or(Errno::ENOMEM)?;
    if entry.word().state() == State::Inherited && entry.is_still(fd) {
        return Ok(()); // its parent's, who tracks it
    }
    if entry.word().state() == State::Session && entry.is_still(fd) {
        tracker::set_flag_everywhere(entry, HANDED_OVER, false);
        return Ok(());
    }
    if tracker::register(fd, entry, wire::Opening::ByHand) {
        Ok(())
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

/// Leaves the session at `fd` to the children to come: `forkguard_release`.
pub(crate) fn release(fd: c_int) -> Result<(), Errno> {
    identity_of(fd)?;
    let entry = descriptors::find(fd).ok_or(Errno::ENOENT)?;
    if entry.word().state() != State::Session || !entry.is_still(fd) {
        return Err(Errno::ENOENT);
    }
    tracker::set_flag_everywhere(entry, HANDED_OVER, true);
    Ok(())
}

/// What `fd` is, with its identity looked at.
pub(crate) fn state(fd: c_int) -> State {
    match descriptors::find(fd) {
        Some(entry) if entry.is_still(fd) => entry.word().state(),
        _ => State::None,
    }
}
