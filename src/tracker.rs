//! The life of a descriptor number: connecting, a session, duplicated, closed.
//!
//! Called by hooks of async-signal-safe functions (`connect`, `send`, `close`,
//! `dup2`: signal-safety(7)). A signal handler may call them at any moment and
//! leave with `siglongjmp`. So nothing here allocates or takes a lock, and only the
//! table of descriptors is written.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

use crate::peer;
use forkguard_proto::wire;
use forkguard_signal_safe::abandon::{DeadSockets, Outcome};
use forkguard_signal_safe::child::push_connection;
use forkguard_signal_safe::descriptors::{
    self, identity_of, Entry, State, Word, CLOSE_ON_EXEC, DUPLICATED, EXPECTED, HANDED_OVER,
    JOURNALLED, NON_BLOCKING, UNSEEN,
};
use forkguard_signal_safe::sink::{self, Level};
use forkguard_signal_safe::stats::{self, Count};
use forkguard_signal_safe::sys::{self, Errno};
use forkguard_signal_safe::{child, fence, generation};

/// Hashes of the addresses at which this process has had sessions. Few: a
/// program talks to few servers, and what does not fit is only not expected.
static SERVERS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Spreads an address over 64 bits, never 0 but for rare bad luck, which only
/// leaves its server unknown.
fn spread(address: &[u8]) -> u64 {
    address.chunks(8).fold(0, |hash, part| {
        let mut eight = [0; 8];
        eight[..part.len()].copy_from_slice(part);
        // Fibonacci hashing: 2^64 divided by the golden ratio, odd.
        (hash.rotate_left(5) ^ u64::from_ne_bytes(eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

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
pub(crate) fn connecting(fd: c_int, address: &[u8]) {
    if !is_of_a_family_with_servers(address) || !generation::is_own_memory() {
        return;
    }
    let Some(entry) = descriptors::entry(fd) else {
        if fd >= 0 {
            warn_of_unwatched(fd, b"");
        }
        return;
    };
    let word = entry.word();
    match word.state() {
        State::None => {}
        // `connect` once more, on a socket that has spoken already or asks how far it is.
        State::Session | State::Abandoned | State::Refused | State::Inherited
            if entry.is_still(fd) =>
        {
            return
        }
        State::Pending if word.has(EXPECTED) && entry.is_still(fd) => return,
        // Closed behind our back.
        _ => closed(fd, entry, word),
    }
    let server = spread(address);
    let expected = is_server(server).then(|| identity_of(fd).ok()).flatten();
    let expected = expected.map(|identity| (identity, flags_of(fd)));
    // No fence: what the number meant before was forgotten behind one.
    entry.set_pending(server, expected);
}

/// As [`connecting`], before the first session: without a system call, and so without
/// a look at the address, which may be anything until the kernel has read it. This may
/// be a child of `vfork`: what is entered then says no more than that the first bytes
/// on the number will tell, which they do of any.
pub(crate) fn connecting_unseen(fd: c_int) {
    // Maps memory for a number past 1,023, once in 1,024 numbers: the only system call.
    if let Some(entry) = descriptors::entry(fd) {
        entry.set_pending(0, None);
    }
}

/// The kernel has read the address of `connect(2)` on `fd`, which leads somewhere.
pub(crate) fn connected_unseen(fd: c_int, address: &[u8]) {
    let Some(entry) = descriptors::find(fd) else {
        return;
    };
    let word = entry.word();
    if word.state() == State::Pending && word.seen() == 0 {
        match is_of_a_family_with_servers(address) {
            true => entry.set_server(spread(address), looks_like_a_server(address)),
            false => {
                entry.forget_if(word);
            }
        }
    }
}

/// Whether PostgreSQL is known to be there: its port, or the name of its socket.
fn looks_like_a_server(address: &[u8]) -> bool {
    const PORT: [u8; 2] = 5432_u16.to_be_bytes();
    const NAME: &[u8] = b".s.PGSQL.";
    match family_of(address) {
        // `sin_port` and `sin6_port` follow the family.
        Some(libc::AF_INET | libc::AF_INET6) => address.get(2..4) == Some(&PORT),
        Some(libc::AF_UNIX) => address.windows(NAME.len()).any(|part| part == NAME),
        _ => false,
    }
}

fn family_of(address: &[u8]) -> Option<c_int> {
    let family = address.get(..2)?.try_into().ok()?;
    Some(i32::from(u16::from_ne_bytes(family)))
}

fn is_of_a_family_with_servers(address: &[u8]) -> bool {
    const FAMILIES: [c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    family_of(address).is_some_and(|family| FAMILIES.contains(&family))
}

/// `connect(2)` failed on `fd`.
pub(crate) fn not_connected(fd: c_int) {
    if let Some(entry) = descriptors::find(fd) {
        let word = entry.word();
        if word.state() == State::Pending && word.seen() == 0 {
            if generation::has_had_session() {
                closed(fd, entry, word);
            } else {
                entry.forget_if(word); // entered by this very call
            }
        }
    }
}

/// Some first bytes are about to be sent on the pending `fd`. `bytes` begins
/// with them; they are read before the call, for a fork in another thread must
/// never find a session that has spoken and is not in the table. True if they
/// must not go out. Or they `was_sent`: see `hooks::socket`.
pub(crate) fn first_bytes(fd: c_int, entry: Entry, bytes: &[u8], was_sent: bool) -> bool {
    let word = entry.word();
    let first = wire::First {
        head: entry.head(),
        seen: word.seen(),
    };
    match wire::recognise(first, bytes) {
        wire::Verdict::Undecided(next) => entry.set_head(next.head, next.seen),
        wire::Verdict::Unrelated => {
            entry.forget_if(word);
        }
        wire::Verdict::Session(opening) => {
            if !register(fd, entry, opening) {
                entry.forget_if(word);
            } else if was_sent {
                // It has spoken before anybody could know, and first: the session is its.
            } else if word.is_inherited() && child::leaves_alone() {
                entry.set_inherited(word.generation());
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
    let outcome = if child::shares_table() {
        entry.set_refused(dead.generation);
        Outcome::Refused(Errno::NONE)
    } else {
        dead.replace(fd, entry)
    };
    dead.finish();
    match outcome {
        Outcome::Dead => {
            stats::count(Count::Abandoned, 1);
            sink::say(Level::Info, |line| {
                line.push(b"abandoned a PostgreSQL connection inherited before its first byte: ")
                    .push(b"descriptor ")
                    .push_number(i64::from(fd));
                line.string("event", b"abandoned").number("count", 1);
                line.list("connections", |line| {
                    push_connection(line, fd, &entry.peer())
                });
            });
        }
        Outcome::Refused(errno) => {
            stats::count(Count::Refused, 1);
            sink::say(Level::Warn, |line| {
                line.push(b"descriptor ").push_number(i64::from(fd));
                line.push(b", inherited before its first byte, could not be replaced (errno ")
                    .push_number(i64::from(errno));
                line.push(b"); calls on it are refused");
                line.string("event", b"refused").number("count", 1);
                line.number("errno", i64::from(errno));
            });
        }
        Outcome::Gone | Outcome::Unknown(_) => {}
    }
    matches!(outcome, Outcome::Refused(_))
}

/// Enters what is open at `fd` as a session. False if it is no stream socket.
pub(crate) fn register(fd: c_int, entry: Entry, opening: wire::Opening) -> bool {
    if !generation::begin_session()
        || sys::socket_option::<c_int>(fd, libc::SO_TYPE) != Ok(libc::SOCK_STREAM)
    {
        return false;
    }
    let Ok(identity) = identity_of(fd) else {
        return false;
    };
    let (duplicated, server) = (entry.word().flags(DUPLICATED), entry.server());
    let mut flags = flags_of(fd) | duplicated;
    if opening
        == (wire::Opening::Startup {
            physical_replication: true,
        })
    {
        flags |= HANDED_OVER;
    }
    let text = peer::text_of(fd);
    let identity = (identity, descriptors::inode_of(fd).unwrap_or(0));
    generation::note_namespace();
    entry.set_session(identity, &text, flags);
    if opening != wire::Opening::ByHand {
        remember_server(server);
    }
    if duplicated != 0 {
        // Pending under other numbers, too: they are the same session now.
        descriptors::for_each(|other, its| {
            let word = its.word();
            if word.state() == State::Pending
                && word.has(DUPLICATED)
                && identity_of(other) == Ok(identity.0)
            {
                its.set_session(
                    identity,
                    &text,
                    flags_of(other) | flags & (HANDED_OVER | DUPLICATED),
                );
            }
        });
    }
    stats::count(Count::Opened, 1);
    sink::say(Level::Debug, |line| {
        line.push(b"session on descriptor ")
            .push_number(i64::from(fd))
            .push(b" to ")
            .push(descriptors::trimmed(&text))
            .push(b": ")
            .push(describe_opening(opening));
    });
    true
}

fn describe_opening(opening: wire::Opening) -> &'static [u8] {
    match opening {
        wire::Opening::Startup { .. } => b"startup",
        wire::Opening::TlsRequested => b"TLS",
        wire::Opening::GssRequested => b"GSS",
        wire::Opening::TlsDirect => b"TLS-direct",
        wire::Opening::ByHand => b"forkguard_track",
    }
}

fn warn_of_unwatched(fd: c_int, which: &[u8]) {
    sink::say(Level::Warn, |line| {
        line.push(b"descriptor ")
            .push_number(i64::from(fd))
            .push(which)
            .push(b" is not watched: no memory, or beyond the table");
    });
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

/// Sets a flag that belongs to the description under each of its numbers.
pub(crate) fn set_flag_everywhere(entry: Entry, flag: u64, on: bool) {
    entry.set_flag(flag, on);
    if entry.word().has(DUPLICATED) {
        descriptors::for_each(|_, other| {
            if other.word().has(DUPLICATED) && other.identity() == entry.identity() {
                other.set_flag(flag, on);
            }
        });
    }
}

/// Whether the session at `fd` was opened by this process.
pub(crate) fn is_own_session(fd: c_int) -> bool {
    descriptors::find(fd).is_some_and(|entry| {
        let word = entry.word();
        word.state() == State::Session && !word.is_inherited() && entry.is_still(fd)
    })
}

/// The inherited session at `fd` that is left alone, if there is one.
pub(crate) fn inherited_at(fd: c_int) -> Option<Entry> {
    descriptors::find(fd)
        .filter(|entry| entry.word().state() == State::Inherited && entry.is_still(fd))
}

/// libpq has established a session at `fd`, and its calls pass the shims: `inside`
/// tells which thread is in one. False if no session is known there.
pub(crate) fn journalled(fd: c_int, inside: &'static AtomicUsize) -> bool {
    let entry = descriptors::find(fd);
    let entry = entry.filter(|entry| entry.word().state() == State::Session && entry.is_still(fd));
    let Some(entry) = entry else { return false };
    entry.set_caller(inside);
    set_flag_everywhere(entry, JOURNALLED, true);
    true
}

/// Bytes are about to go out at `fd`: by a call at the shims, or past it.
pub(crate) fn sending(fd: c_int) {
    if let Some(entry) = descriptors::find(fd) {
        let word = entry.word();
        let unseen = word.state() == State::Session && word.has(JOURNALLED) && !word.has(UNSEEN);
        if unseen && !descriptors::is_called(fd) && generation::is_own_memory() {
            set_flag_everywhere(entry, UNSEEN, true);
        }
    }
}

/// `new` was made a duplicate of the candidate `entry`. Called inside the
/// fence, together with the call that made it.
pub(crate) fn duplicated(entry: Entry, new: c_int, close_on_exec: bool) {
    let Some(copy) = descriptors::entry(new) else {
        warn_of_unwatched(new, b", a duplicate,");
        return;
    };
    entry.set_flag(DUPLICATED, true);
    // The flags of the description are shared, that of the descriptor is not.
    let shared = entry
        .word()
        .flags(NON_BLOCKING | HANDED_OVER | EXPECTED | DUPLICATED | JOURNALLED | UNSEEN);
    copy.copy_from(
        entry,
        shared | if close_on_exec { CLOSE_ON_EXEC } else { 0 },
    );
}

/// `fd` is about to mean something else, or nothing.
pub(crate) fn given_up(fd: c_int) {
    if let Some(entry) = descriptors::find(fd) {
        closed(fd, entry, entry.word());
    }
}

/// `fd` was closed; `word` is what its entry said before.
pub(crate) fn closed(fd: c_int, entry: Entry, word: Word) {
    // Before the first session nobody asks whether this is a child of `vfork`, which
    // closes numbers in its own table and would make its parent's connection unrelated
    // here. Whatever comes under the number will say by its first bytes what it is.
    if !generation::has_had_session() || !generation::is_own_memory() {
        return;
    }
    // What no child would abandon may be forgotten at any moment.
    if word.state() == State::Epoll || word.state() == State::Pending && !word.has(EXPECTED) {
        entry.forget_if(word);
        return;
    }
    let identity = entry.identity();
    if fence::forget(|| entry.forget_if(word)) && word.state() == State::Session {
        sink::say(Level::Debug, |line| {
            line.push(b"session on descriptor ")
                .push_number(i64::from(fd))
                .push(b" closed");
        });
        let goes_on = word.has(DUPLICATED) && is_elsewhere(identity);
        if !word.is_inherited() && !goes_on {
            stats::count(Count::Closed, 1);
        }
    }
}

/// Whether a session has another number, too.
fn is_elsewhere(identity: u64) -> bool {
    let mut found = false;
    descriptors::for_each(|_, entry| {
        found |= entry.word().state() == State::Session && entry.identity() == identity;
    });
    found
}
