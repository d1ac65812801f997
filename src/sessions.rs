//! The sessions of this process and the descriptors they are open on.
//!
//! Normal context only: the map takes locks and allocates, so every function
//! asks for a [`Normal`], and nothing here is reached from a child handler. A
//! child does not unlock its parent's map, whose shards another thread may
//! have held at the fork: it leaves it and starts one of its own.

use core::ffi::c_int;
use core::hash::{BuildHasherDefault, Hasher};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::*};
use std::boxed::Box;
use std::vec::Vec;

use dashmap::DashMap;

use crate::memory;
use crate::normal::Normal;
use crate::signal_safe::abandon::{DeadSockets, Outcome};
use crate::signal_safe::descriptors::{
    self, identity_of, Entry, PeerText, State, CLOSE_ON_EXEC, DUPLICATED, EXPECTED, HANDED_OVER,
    NON_BLOCKING,
};
use crate::signal_safe::{fence, generation, stats, sys};
use crate::{peer, wire};

/// A session: the numbers it is open under, more than one after `dup(2)`.
struct Session {
    descriptors: Vec<c_int>,
}

/// Cookies and inodes are counted up by the kernel: spread the low bits.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_ne_bytes(eight));
        }
    }
    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: 2^64 divided by the golden ratio, odd.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Map = DashMap<u64, Session, BuildHasherDefault<Spread>>;

/// The map of one generation.
struct Filed {
    generation: u32,
    map: Map,
}

static FILED: AtomicPtr<Filed> = AtomicPtr::new(core::ptr::null_mut());

/// This process's map, made at its first use. `None` when memory is short:
/// the table of descriptors protects without it.
fn filed(_: &Normal) -> Option<&'static Map> {
    if !memory::is_plenty() {
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
    let map = Map::with_capacity_and_hasher_and_shard_amount(0, Default::default(), SHARDS);
    // What this process has already: handed over, or from before the map.
    descriptors::for_each(|fd, entry| {
        if entry.word().state() == State::Session && !entry.word().is_inherited() {
            file(&map, entry.identity(), fd);
        }
    });
    let new = Box::into_raw(Box::new(Filed {
        generation: now,
        map,
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

fn file(map: &Map, identity: u64, fd: c_int) {
    let mut session = map.entry(identity).or_insert_with(|| Session {
        descriptors: Vec::new(),
    });
    if !session.descriptors.contains(&fd) {
        session.descriptors.push(fd);
    }
}

/// Hashes of the addresses at which this process has had sessions. Few: a
/// program talks to few servers, and what does not fit is only not expected.
static SERVERS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

fn is_server(hash: u64) -> bool {
    SERVERS.iter().any(|place| place.load(Relaxed) == hash)
}

fn remember_server(hash: u64) {
    if hash != 0 && !is_server(hash) {
        let _ = SERVERS
            .iter()
            .find(|place| place.compare_exchange(0, hash, Relaxed, Relaxed).is_ok());
    }
}

/// `connect(2)` is about to be called on `fd` for this address.
pub fn connecting(fd: c_int, address: &[u8]) {
    const FAMILIES: [c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let Some(Ok(family)) = address.get(..2).map(<[u8; 2]>::try_from) else {
        return;
    };
    if !FAMILIES.contains(&i32::from(u16::from_ne_bytes(family))) || !generation::is_own_memory() {
        return;
    }
    let Some(entry) = descriptors::entry(fd) else {
        if fd >= 0 {
            log::warn!("descriptor {fd} is not watched: no memory, or beyond the table");
        }
        return;
    };
    let word = entry.word();
    match word.state() {
        State::None => {}
        // `connect` once more, on a socket that has spoken already or asks how far it is.
        State::Session | State::Abandoned | State::Refused if entry.is_still(fd) => return,
        State::Pending if word.has(EXPECTED) && entry.is_still(fd) => return,
        // Closed behind our back.
        _ => closed(fd, entry, word, entry.identity()),
    }
    let mut hash = Spread::default();
    hash.write(address);
    let server = hash.finish();
    let expected = is_server(server).then(|| identity_of(fd).ok()).flatten();
    let expected = expected.map(|identity| (identity, flags_of(fd)));
    fence::forget(|| entry.set_pending(server, expected));
}

/// `connect(2)` failed on `fd`.
pub fn not_connected(fd: c_int) {
    if let Some(entry) = descriptors::find(fd) {
        let word = entry.word();
        if word.state() == State::Pending && word.seen() == 0 {
            closed(fd, entry, word, 0);
        }
    }
}

/// Some first bytes are about to be sent on the pending `fd`. `bytes` begins
/// with them; they are read before the call, for a fork in another thread must
/// never find a session that has spoken and is not in the table. True if they
/// must not go out.
pub fn first_bytes(fd: c_int, entry: Entry, bytes: &[u8]) -> bool {
    let word = entry.word();
    let first = wire::First {
        head: entry.head(),
        seen: word.seen(),
    };
    match wire::recognise(first, bytes) {
        wire::Verdict::Undecided(next) => entry.set_head(next.head, next.seen),
        wire::Verdict::Stranger => {
            entry.forget_if(word);
        }
        wire::Verdict::Session(opening) => {
            if !register(fd, entry, opening) {
                entry.forget_if(word);
            } else if word.is_inherited() {
                return abandon_late(fd, entry);
            }
        }
    }
    false
}

/// A connection that the parent had made and not yet spoken on: its startup
/// packet is this child's. True if it could not be replaced.
fn abandon_late(fd: c_int, entry: Entry) -> bool {
    let mut dead = DeadSockets::none(generation::current());
    let outcome = dead.replace(fd, entry);
    dead.finish();
    match outcome {
        Outcome::Dead => {
            stats::ABANDONED.add(1);
            log::info!("abandoned a PostgreSQL connection inherited before its first byte: descriptor {fd}");
        }
        Outcome::Refused(errno) => {
            stats::REFUSED.add(1);
            log::warn!("descriptor {fd}, inherited before its first byte, could not be replaced (errno {errno}); calls on it are refused");
        }
        Outcome::Gone | Outcome::Unknown(_) => {}
    }
    matches!(outcome, Outcome::Refused(_))
}

/// Enters what is open at `fd` as a session. False if it is no stream socket.
fn register(fd: c_int, entry: Entry, opening: wire::Opening) -> bool {
    if sys::socket_option::<c_int>(fd, libc::SO_TYPE) != Ok(libc::SOCK_STREAM) {
        return false;
    }
    let Ok(identity) = identity_of(fd) else {
        return false;
    };
    let (duplicated, server) = (entry.word().has(DUPLICATED), entry.server());
    let mut flags = flags_of(fd);
    if opening
        == (wire::Opening::Startup {
            physical_replication: true,
        })
    {
        flags |= HANDED_OVER;
    }
    let text = peer::text_of(fd);
    enter(fd, entry, identity, &text, flags);
    if opening != wire::Opening::ByHand {
        remember_server(server);
    }
    if duplicated {
        // Pending under other numbers, too: they are the same session now.
        descriptors::for_each(|other, its| {
            let word = its.word();
            if word.state() == State::Pending
                && word.has(DUPLICATED)
                && identity_of(other) == Ok(identity)
            {
                enter(
                    other,
                    its,
                    identity,
                    &text,
                    flags_of(other) | flags & HANDED_OVER,
                );
            }
        });
    }
    log::debug!(
        "session on descriptor {fd} to {}: {opening:?}",
        peer::shown(&text)
    );
    true
}

fn enter(fd: c_int, entry: Entry, identity: u64, text: &PeerText, flags: u64) {
    entry.set_session(identity, text, flags);
    stats::OPENED.add(1);
    if let Some(normal) = Normal::enter() {
        if let Some(map) = filed(&normal) {
            file(map, identity, fd);
        }
    }
}

fn flags_of(fd: c_int) -> u64 {
    let mut flags = 0;
    if sys::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|mode| mode & libc::O_NONBLOCK != 0) {
        flags |= NON_BLOCKING;
    }
    if sys::fcntl(fd, libc::F_GETFD, 0).is_ok_and(|mode| mode & libc::FD_CLOEXEC != 0) {
        flags |= CLOSE_ON_EXEC;
    }
    flags
}

/// Enters what is open at `fd` by hand: the C interface's `forkguard_track`.
pub fn track(fd: c_int) -> Result<(), sys::Errno> {
    identity_of(fd)?;
    let entry = descriptors::entry(fd).ok_or(libc::ENOMEM)?;
    if entry.word().state() == State::Session && entry.is_still(fd) {
        set_flag_everywhere(fd, entry, HANDED_OVER, false);
        return Ok(());
    }
    if register(fd, entry, wire::Opening::ByHand) {
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
    set_flag_everywhere(fd, entry, HANDED_OVER, true);
    Ok(())
}

/// What `fd` is, with its identity looked at.
pub fn state(fd: c_int) -> State {
    match descriptors::find(fd) {
        Some(entry) if entry.is_still(fd) => entry.word().state(),
        _ => State::None,
    }
}

/// Sets a flag that belongs to the description under each of its numbers.
pub fn set_flag_everywhere(fd: c_int, entry: Entry, flag: u64, on: bool) {
    entry.set_flag(flag, on);
    if !entry.word().has(DUPLICATED) {
        return;
    }
    let identity = entry.identity();
    let Some(normal) = Normal::enter() else {
        return;
    };
    let Some(session) = filed(&normal).and_then(|map| map.get(&identity)) else {
        return;
    };
    for other in session.descriptors.iter().filter(|other| **other != fd) {
        if let Some(entry) = descriptors::find(*other) {
            if entry.identity() == identity {
                entry.set_flag(flag, on);
            }
        }
    }
}

/// `new` was made a duplicate of the candidate `entry`. Called inside the
/// fence, together with the call that made it; where it returns true,
/// [`file_copy`] follows.
pub fn copy_entry(entry: Entry, new: c_int, close_on_exec: bool) -> bool {
    let Some(copy) = descriptors::entry(new) else {
        log::warn!("descriptor {new}, a duplicate, is not watched: no memory, or beyond the table");
        return false;
    };
    entry.set_flag(DUPLICATED, true);
    // The flags of the description are shared, that of the descriptor is not.
    let word = entry.word();
    let shared = [NON_BLOCKING, HANDED_OVER, EXPECTED]
        .into_iter()
        .filter(|flag| word.has(*flag));
    let flags = shared.fold(DUPLICATED, |flags, flag| flags | flag);
    copy.copy_from(entry, flags | if close_on_exec { CLOSE_ON_EXEC } else { 0 });
    true
}

/// Files the duplicate `new` of the session `entry` under it.
pub fn file_copy(entry: Entry, new: c_int) {
    if entry.word().state() == State::Session {
        if let Some(normal) = Normal::enter() {
            if let Some(map) = filed(&normal) {
                file(map, entry.identity(), new);
            }
        }
    }
}

/// `fd` was closed; `word` and `identity` are what its entry said before.
pub fn closed(fd: c_int, entry: Entry, word: descriptors::Word, identity: u64) {
    if generation::is_own_memory()
        && fence::forget(|| entry.forget_if(word))
        && word.state() == State::Session
    {
        unfile(identity, fd);
    }
}

/// The session `identity` is not open under `fd` any more.
pub fn unfile(identity: u64, fd: c_int) {
    let Some(normal) = Normal::enter() else {
        return;
    };
    let Some(map) = filed(&normal) else { return };
    let emptied = map.get_mut(&identity).is_some_and(|mut session| {
        session.descriptors.retain(|other| *other != fd);
        session.descriptors.is_empty()
    });
    if emptied
        && map
            .remove_if(&identity, |_, session| session.descriptors.is_empty())
            .is_some()
    {
        log::debug!("session on descriptor {fd} closed");
    }
}

/// How many sessions this process has open, as far as is known.
pub fn open_now() -> u64 {
    Normal::enter()
        .and_then(|normal| filed(&normal))
        .map_or(0, |map| map.len() as u64)
}
